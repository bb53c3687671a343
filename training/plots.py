"""Pictures of a training and an evaluation; none shows a photograph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

from training.metrics import ECE_BINS, expected_calibration_error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

mpl.use("agg")
from matplotlib import pyplot as plt  # the backend is chosen first: no screen is needed
from matplotlib.ticker import MaxNLocator

INK, ACCENT, MUTED = "#1d2733", "#0b6e8a", "#b9c4cf"
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
    """Loss and balanced accuracy over the epochs, phases told apart by shading."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    epochs = np.arange(1, len(history) + 1)
    left.plot(epochs, [row["loss"] for row in history], color=ACCENT, marker="o", markersize=3)
    left.set(xlabel="epoch", ylabel="training loss")
    colours = iter(("#c2603c", "#7a8a2f", "#6a4c93", "#3c6ec2"))
    for name in (k for k in history[0] if k not in ("phase", "epoch", "loss")):
        mean = name == "balanced_accuracy"
        values = [row[name] for row in history]
        label = "mean over kinds of image" if mean else name
        right.plot(epochs, values, color=INK if mean else next(colours), linewidth=2 if mean else 1.2, label=label)
    right.set(xlabel="epoch", ylabel="balanced accuracy, calibration split")
    right.legend(frameon=False)
    phases = [str(row["phase"]) for row in history]
    for axis in (left, right):
        for k, phase in enumerate(dict.fromkeys(phases)):
            members = [i for i, p in enumerate(phases) if p == phase]
            axis.axvspan(members[0] + 0.5, members[-1] + 1.5, color=MUTED, alpha=0.12 if k % 2 else 0.3, linewidth=0)
            # Neighbours' names at two heights, or those of short phases run into each other.
            place = (members[0] + 0.6, 1.06 if k % 2 else 1.01)
            axis.text(*place, phase, fontsize=8, va="bottom", transform=axis.get_xaxis_transform())
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(file)
    plt.close(figure)


def draw_confusion(matrix: NDArray[np.int64], codes: Sequence[str], out: Path, name: str) -> None:
    """`confusion-<name>.png`: shares of each true class, with the counts written in."""
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


def draw_reliability(probabilities: NDArray[np.float64], truth: NDArray[np.int64], out: Path, name: str) -> None:
    """`reliability-<name>.png`: how often the label is right at each confidence, over how often that occurs."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    centres = (np.arange(ECE_BINS) + 0.5) / ECE_BINS
    counts = np.bincount(bins, minlength=ECE_BINS)
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(4.6, 5), height_ratios=[3, 1], sharex=True)
    top.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
    filled = counts > 0
    accuracy = np.bincount(bins, weights=right, minlength=ECE_BINS)[filled] / counts[filled]
    top.bar(centres[filled], accuracy, width=0.9 / ECE_BINS, color=ACCENT)
    error = expected_calibration_error(probabilities, truth)
    top.set(ylabel="share labelled right", ylim=(0, 1), title=f"{name}: expected calibration error {error:.3f}")
    bottom.bar(centres, counts, width=0.9 / ECE_BINS, color=MUTED)
    bottom.set(xlabel="confidence", ylabel="images", xlim=(0, 1))
    figure.savefig(out / f"reliability-{name}.png")
    plt.close(figure)
