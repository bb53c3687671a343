"""Tables and a plot of the study of image quality."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.evaluation.bootstrap import estimate
from training.evaluation.quality_study import FALL, MEASURES, Step, Threshold
from training.report.plots import ACCENT, COLOURS, INK, MUTED, plt
from training.report.tables import write_csv

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_QUANTILES = (0.001, 0.005, 0.01, 0.05, 0.5, 0.95, 0.99, 0.995, 0.999)


def write_quality(
    out: Path,
    studied: Sequence[Sequence[Step]],
    proposed: Sequence[Threshold],
    natural: dict[str, NDArray[np.float64]],
    sources: NDArray[np.str_],
) -> None:
    """Writes `quality.csv` (a row per step), `quality_distribution.csv` and `quality.png` to `out`.

    `natural` maps each measure to its values (n,) for undegraded images of the folders `sources` (n,).
    """
    _write_steps(out / "quality.csv", studied, proposed)
    _write_distribution(out / "quality_distribution.csv", natural, sources)
    _draw(out / "quality.png", studied, proposed, natural, sources)


def write_flagged(file: Path, flagged: Sequence[tuple[str, str, int, float]]) -> None:
    """A row for each (measure, group, images, share beyond the threshold)."""
    head = ["measure", "undegraded images of", "images", "beyond the threshold"]
    write_csv(file, head, ([measure, group, count, f"{share:.4f}"] for measure, group, count, share in flagged))


def _write_steps(file: Path, studied: Sequence[Sequence[Step]], proposed: Sequence[Threshold]) -> None:
    rows: list[list[str | int]] = []
    for own, steps in zip(proposed, studied, strict=True):
        for step in steps:
            figures = [*_numbers(step.accuracy), *_numbers(step.relative)]
            known = np.isfinite(step.measures)
            spread = np.percentile(step.measures[known], (5, 50, 95)) if known.any() else [np.nan] * 3
            caught = float(np.mean(own.beyond(step.measures) | ~known))  # rejected images count as flagged
            name = "undegraded" if step.step is None else f"{step.step:g}"
            cells = [f"{v:.4f}" for v in (*figures, *spread, caught)]
            rows.append([own.series.measure, own.series.unit, name, len(step.measures), *cells])
    head = ["measure", "unit", "step", "images", "accuracy", "low_95", "high_95", "relative", "low_95", "high_95"]
    write_csv(file, [*head, "measure_5", "measure_50", "measure_95", "flagged"], rows)


def _write_distribution(file: Path, natural: dict[str, NDArray[np.float64]], sources: NDArray[np.str_]) -> None:
    rows = []
    for measure in MEASURES:
        for source in np.unique(sources).tolist():
            values = natural[measure][sources == source]
            quantiles = np.nanquantile(values, _QUANTILES)
            rows.append([measure, source, len(values), *(f"{v:.4f}" for v in quantiles)])
    write_csv(file, ["measure", "data", "images", *(f"q{100 * q:g}" for q in _QUANTILES)], rows)


def _numbers(values: NDArray[np.float64]) -> list[float]:
    value, ci = estimate(values)
    return [np.nan if value is None else value, *(ci or [np.nan, np.nan])]


def _draw(
    file: Path,
    studied: Sequence[Sequence[Step]],
    proposed: Sequence[Threshold],
    natural: dict[str, NDArray[np.float64]],
    sources: NDArray[np.str_],
) -> None:
    """Top: relative accuracy over the measure. Bottom: the distribution of undegraded images."""
    figure, axes = plt.subplots(2, len(proposed), figsize=(3.1 * len(proposed), 5), height_ratios=[3, 1], sharex="col")
    for (top, bottom), own, steps in zip(axes.T, proposed, studied, strict=True):
        shown = [step for step in steps if np.isfinite(step.measures).any()]
        places = [np.nanmedian(step.measures) for step in shown]
        relative = np.array([_numbers(step.relative) for step in shown])
        top.fill_between(places, relative[:, 1], relative[:, 2], color=ACCENT, alpha=0.2, linewidth=0)
        top.plot(places, relative[:, 0], color=ACCENT, marker="o", markersize=4)
        top.axhline(1 - FALL, color=MUTED, linewidth=1, linestyle="--")
        bins = np.linspace(*_range(natural[own.series.measure], places), 60)
        for source, colour in zip(np.unique(sources), (INK, *COLOURS[1:]), strict=False):
            values = natural[own.series.measure][sources == source]
            bottom.hist(values, bins, density=True, histtype="step", color=colour, label=str(source))
        for axis in (top, bottom) if own.value is not None else ():
            axis.axvline(own.value, color=COLOURS[0], linewidth=1.2)
        value = "none" if own.value is None else f"{own.value:.3g}"
        top.set(title=f"{own.series.reason}: {value}", ylim=(0, 1.15))
        bottom.set(xlabel=own.series.measure.replace("_", " "), yticks=[])
    axes[0, 0].set(ylabel="accuracy, relative to undegraded")
    axes[1, 0].set(ylabel="undegraded")
    axes[1, 0].legend(frameon=False, fontsize=7)
    figure.savefig(file)
    plt.close(figure)


def _range(values: NDArray[np.float64], places: Sequence[float]) -> tuple[float, float]:
    return float(min(np.nanmin(values), *places)), float(max(np.nanmax(values), *places))
