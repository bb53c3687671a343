"""Plots of a training run and of an evaluation, drawn without a screen. None of them shows a photograph."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

from training.evaluation.confidence import binned, uncalibrated
from training.evaluation.metrics import ECE_BINS, expected_calibration_error

mpl.use("agg")
from matplotlib import pyplot as plt  # only after the backend is chosen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.evaluation.metrics import Answers

__all__ = [
    "ACCENT",
    "COLOURS",
    "INK",
    "MUTED",
    "draw_confusion",
    "draw_estimates",
    "draw_reliability",
    "draw_risk_coverage",
    "draw_training",
    "plt",
]

INK, ACCENT, MUTED = "#1d2733", "#0b6e8a", "#b9c4cf"
COLOURS = ("#c2603c", "#7a8a2f", "#6a4c93", "#3c6ec2")
"""For series: data folders, mostly."""
plt.rcParams.update(
    {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": MUTED,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "figure.dpi": 120,
        "savefig.bbox": "tight",
    }
)


def draw_training(history: Sequence[dict[str, Any]], file: Path) -> None:
    """Loss, macro AUC and balanced accuracy of each data folder over the views; shading marks the stages."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6))
    views = [row["views"] / 1000 for row in history]
    axes[0].plot(views, [row["loss"] for row in history], color=ACCENT, marker="o", markersize=3)
    sources = [name.removesuffix(" balanced") for name in history[0] if name.endswith(" balanced")]
    for axis, name in zip(axes[1:], ("AUC", "balanced"), strict=True):
        for source, colour in zip(sources, itertools.cycle((ACCENT, *COLOURS)), strict=False):
            values = [row.get(f"{source} {name}", np.nan) for row in history]
            axis.plot(views, values, color=colour, linewidth=1.4, marker="o", markersize=3, label=source)
    for axis, title in zip(axes, ("training loss", "macro AUC, calibration", "balanced accuracy"), strict=True):
        axis.set(xlabel="thousand views", title=title)
        axis.title.set_fontsize(10)
        begun = 0.0
        for k, stage in enumerate(dict.fromkeys(row["stage"] for row in history)):
            ended = max(v for v, row in zip(views, history, strict=True) if row["stage"] == stage)
            axis.axvspan(begun, ended, color=MUTED, alpha=0.3 if k % 2 else 0.12, linewidth=0)
            axis.text((begun + ended) / 2, 0.02, stage, fontsize=7, ha="center", transform=axis.get_xaxis_transform())
            begun = ended
    axes[2].legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(file)
    plt.close(figure)


def draw_confusion(matrix: NDArray[np.int64], codes: Sequence[str], out: Path, name: str) -> None:
    """`confusion-<name>.png`: colours show shares of each true class, numbers are counts."""
    present = np.flatnonzero(matrix.sum(axis=1))
    shares = matrix[present] / matrix[present].sum(axis=1, keepdims=True)
    figure, axis = plt.subplots(figsize=(6.4, 0.55 * len(present) + 1.4))
    axis.imshow(shares, cmap="GnBu", vmin=0, vmax=1, aspect="auto")
    for row, k in enumerate(present):
        for column in range(len(codes)):
            colour = "white" if shares[row, column] > 0.6 else INK
            axis.text(column, row, f"{matrix[k, column]:,}", ha="center", va="center", color=colour, fontsize=8)
    axis.set_xticks(range(len(codes)), codes)
    axis.set_yticks(range(len(present)), [f"{codes[int(k)]} ({matrix[k].sum():,})" for k in present])
    axis.set(xlabel="the model's label", ylabel="truth", title=f"{name}: {matrix.sum():,} images")
    axis.spines[:].set_visible(False)
    figure.savefig(out / f"confusion-{name}.png")
    plt.close(figure)


def draw_reliability(answers: Answers, out: Path, name: str) -> None:
    """`reliability-<name>.png`: how often the label is right at each confidence, and how often that confidence occurs.

    Left: before temperature scaling. Right: as served.
    """
    figure, axes = plt.subplots(2, 2, figsize=(8.4, 5), height_ratios=[3, 1], sharex=True, sharey="row")
    before = uncalibrated(answers.probabilities, answers.temperatures)
    for (top, bottom), probabilities, when in zip(
        axes.T,
        (before, answers.probabilities),
        ("before scaling", f"mean temperature {answers.temperatures.mean():.2f}"),
        strict=True,
    ):
        _, right, bins = binned(probabilities, answers.truth)
        centres = (np.arange(ECE_BINS) + 0.5) / ECE_BINS
        counts = np.bincount(bins, minlength=ECE_BINS)
        filled = counts > 0
        accuracy = np.bincount(bins, weights=right, minlength=ECE_BINS)[filled] / counts[filled]
        top.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
        top.bar(centres[filled], accuracy, width=0.9 / ECE_BINS, color=ACCENT)
        error = expected_calibration_error(probabilities, answers.truth)
        top.set(ylim=(0, 1), title=f"{name}, {when}: error {error:.3f}")
        top.title.set_fontsize(10)
        bottom.bar(centres, counts, width=0.9 / ECE_BINS, color=MUTED)
        bottom.set(xlabel="confidence", xlim=(0, 1))
    axes[0, 0].set(ylabel="share labelled right")
    axes[1, 0].set(ylabel="images")
    figure.savefig(out / f"reliability-{name}.png")
    plt.close(figure)


def draw_risk_coverage(curves: dict[str, dict[str, Any]], out: Path) -> None:
    """`risk_coverage.png`: each data folder's curve with its interval."""
    figure, axis = plt.subplots(figsize=(5.6, 4))
    for (name, curve), colour in zip(curves.items(), (*COLOURS[: len(curves) - 1], INK), strict=False):
        low, high = np.array([ci or (np.nan, np.nan) for ci in curve["accuracy_ci"]]).T
        axis.fill_between(curve["coverage"], low, high, color=colour, alpha=0.15, linewidth=0)
        axis.plot(curve["coverage"], curve["accuracy"], color=colour, label=f"{name}, area {curve['area']:.3f}")
    axis.set(xlabel="share of the images answered, surest first", ylabel="accuracy of the answers", xlim=(0, 1))
    axis.legend(frameon=False, loc="lower left")
    figure.savefig(out / "risk_coverage.png")
    plt.close(figure)


def draw_estimates(
    rows: Sequence[tuple[str, float | None, Sequence[float] | None]],
    file: Path,
    title: str,
    quantity: str,
    reference: float | None = None,
) -> None:
    """A dot with its interval for each of `rows` (name, value, [low, high]), from top to bottom.

    A row without a value has no dot. `reference` is drawn as a vertical line.
    """
    figure, axis = plt.subplots(figsize=(6, 0.28 * len(rows) + 1))
    places = np.arange(len(rows))[::-1]
    if reference is not None:
        axis.axvline(reference, color=MUTED, linewidth=1, linestyle="--")
    for place, (_, value, ci) in zip(places, rows, strict=True):
        if value is not None:
            axis.plot(ci or [value, value], [place, place], color=ACCENT, linewidth=2)
            axis.plot([value], [place], color=INK, marker="o", markersize=5)
    axis.set_yticks(places, [name for name, _, _ in rows])
    axis.set(xlabel=quantity, title=title, ylim=(-0.6, len(rows) - 0.4))
    axis.tick_params(axis="y", length=0)
    figure.savefig(file)
    plt.close(figure)
