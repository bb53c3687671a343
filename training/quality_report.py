"""Runs the study of image quality and writes what it found: tables, a plot, and the thresholds it proposes."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from model_layer import Classifier
from training.bootstrap import estimate
from training.dataset import read_folders
from training.drawing import ACCENT, COLOURS, INK, MUTED, plt
from training.errors import TrainingError
from training.probe import drawn
from training.quality_study import (
    FALL,
    FLAGGED,
    MEASURES,
    SERIES,
    Step,
    Threshold,
    degrade,
    threshold,
    undegraded,
)
from training.subgroups import NOT_RECORDED, skin_type
from training.unseen import for_choosing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.dataset import LabelledImage

_QUANTILES = (0.001, 0.005, 0.01, 0.05, 0.5, 0.95, 0.99, 0.995, 0.999)


def study(folders: Sequence[Path], bundle: Path, out: Path, lesions: int | None, seed: int) -> list[Threshold]:
    """Degrades `lesions` of each class of each folder, measures all images as they are, writes to `out`.

    Writes `quality.csv` (a row for each step), `quality_distribution.csv`, `quality_flagged.csv`,
    `quality_thresholds.json` and `quality.png`.

    Raises:
        TrainingError: a folder cannot be used, or no lesion is to be degraded.
        BundleError: the bundle cannot be used.
    """
    classifier = Classifier.load(bundle)
    held, images = for_choosing(read_folders(folders), bundle)
    chosen = drawn(held, lesions, seed)
    if not held:
        raise TrainingError(
            f"None of these images is in the calibration split of {bundle}: nothing may be chosen on them."
        )
    if not chosen:
        raise TrainingError("No lesions were asked for: there is nothing to degrade.")
    out.mkdir(parents=True, exist_ok=True)
    natural = undegraded(classifier, images)
    studied = degrade(classifier, chosen)
    sources = np.array([image.source for image in images])
    proposed = [
        threshold(own, steps, natural[own.measure], sources) for own, steps in zip(SERIES, studied, strict=True)
    ]
    _write_steps(out / "quality.csv", studied, proposed)
    _write_distribution(out / "quality_distribution.csv", natural, sources)
    flagged = _flagged(images, natural, proposed)
    _write_flagged(out / "quality_flagged.csv", flagged)
    text = json.dumps(limits(proposed), indent=2) + "\n"
    (out / "quality_thresholds.json").write_text(text, encoding="utf-8")
    _draw(out / "quality.png", studied, proposed, natural, sources)
    for own in proposed:
        print(_sentence(own, flagged))
    return proposed


def _write_steps(file: Path, studied: Sequence[Sequence[Step]], proposed: Sequence[Threshold]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        head = ["measure", "unit", "step", "images", "accuracy", "low_95", "high_95", "relative", "low_95", "high_95"]
        writer.writerow([*head, "measure_5", "measure_50", "measure_95", "flagged"])
        for own, steps in zip(proposed, studied, strict=True):
            for step in steps:
                figures = [*_numbers(step.accuracy), *_numbers(step.relative)]
                known = np.isfinite(step.measures)
                spread = np.percentile(step.measures[known], (5, 50, 95)) if known.any() else [np.nan] * 3
                # What is rejected for it is flagged all the more.
                caught = float(np.mean(own.beyond(step.measures) | ~known))
                name = "undegraded" if step.step is None else f"{step.step:g}"
                cells = [f"{v:.4f}" for v in (*figures, *spread, caught)]
                writer.writerow([own.series.measure, own.series.unit, name, len(step.measures), *cells])


def _write_distribution(file: Path, natural: dict[str, NDArray[np.float64]], sources: NDArray[np.str_]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["measure", "data", "images", *(f"q{100 * q:g}" for q in _QUANTILES)])
        for measure in MEASURES:
            for source in np.unique(sources):
                values = natural[measure][sources == source]
                quantiles = np.nanquantile(values, _QUANTILES)
                writer.writerow([measure, source, len(values), *(f"{v:.4f}" for v in quantiles)])


def _flagged(
    images: Sequence[LabelledImage], natural: dict[str, NDArray[np.float64]], proposed: Sequence[Threshold]
) -> list[tuple[str, str, int, float]]:
    """(measure, group, images, share beyond the threshold) of undegraded images: each folder, each skin type in it."""
    groups: dict[str, list[int]] = {}
    for k, image in enumerate(images):
        groups.setdefault(image.source, []).append(k)
        if (kind := skin_type(image)) != NOT_RECORDED:
            groups.setdefault(f"{image.source}, skin type {kind}", []).append(k)
    return [
        (
            own.series.measure,
            name,
            len(groups[name]),
            float(np.mean(own.beyond(natural[own.series.measure])[groups[name]])),
        )
        for own in proposed
        for name in sorted(groups)
    ]


def _write_flagged(file: Path, flagged: Sequence[tuple[str, str, int, float]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["measure", "undegraded images of", "images", "beyond the threshold"])
        writer.writerows([measure, group, count, f"{share:.4f}"] for measure, group, count, share in flagged)


def limits(proposed: Sequence[Threshold]) -> dict[str, dict[str, Any]]:
    """The proposals as a manifest's `quality` holds them: each measure that has one, with `value` and `target`."""
    return {
        own.series.measure: {"value": own.value, "target": target(own)} for own in proposed if own.value is not None
    }


def target(own: Threshold) -> str:
    """What the threshold was chosen for, as a manifest states it."""
    few = f"at most {FLAGGED:.0%} of the undegraded images of each data folder lie beyond it"
    if own.from_accuracy is None:
        return f"none: the model's accuracy never falls by {FALL:.0%} of its value"
    if own.value == own.from_accuracy:
        return f"accuracy on degraded images has fallen by {FALL:.0%} of its value; {few}"
    return f"{few}; accuracy has fallen by {FALL:.0%} of its value only at {own.from_accuracy:.4g}, among them"


def _sentence(own: Threshold, flagged: Sequence[tuple[str, str, int, float]]) -> str:
    if own.value is None:
        return f"{own.series.reason}: no threshold of {own.series.measure} ({target(own).removeprefix('none: ')})."
    side = "above" if own.series.worse > 0 else "below"
    shares = ", ".join(f"{group} {share:.1%}" for measure, group, _, share in flagged if measure == own.series.measure)
    return f"{own.series.reason}: {own.series.measure} {side} {own.value:.4g} ({target(own)}). Beyond it: {shares}."


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
    """Above, accuracy relative to undegraded over the measure; below, where undegraded images lie."""
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
