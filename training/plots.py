"""Pictures of a training and an evaluation; none shows a photograph."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from training.drawing import ACCENT, COLOURS, INK, MUTED, plt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def draw_training(history: Sequence[dict[str, Any]], file: Path) -> None:
    """Loss, and macro AUC and balanced accuracy of each kind of image, over the epochs; phases by shading."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    epochs = np.arange(1, len(history) + 1)
    left.plot(epochs, [row["loss"] for row in history], color=ACCENT, marker="o", markersize=3)
    left.set(xlabel="epoch", ylabel="training loss")
    sources = [name.removesuffix(" AUC") for name in history[0] if name.endswith(" AUC")]
    for source, colour in zip(sources, COLOURS, strict=False):
        for figure_name, style in (("AUC", "--"), ("balanced", "-")):
            values = [row[f"{source} {figure_name}"] for row in history]
            label = f"{source}, {'macro AUC' if figure_name == 'AUC' else 'balanced accuracy'}"
            right.plot(epochs, values, style, color=colour, linewidth=1.4, label=label)
    right.set(xlabel="epoch", ylabel="calibration split", ylim=(None, 1))
    right.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    phases = [str(row["phase"]) for row in history]
    for axis in (left, right):
        for k, phase in enumerate(dict.fromkeys(phases)):
            members = [i for i, p in enumerate(phases) if p == phase]
            axis.axvspan(members[0] + 0.5, members[-1] + 1.5, color=MUTED, alpha=0.12 if k % 2 else 0.3, linewidth=0)
            middle = (members[0] + members[-1]) / 2 + 1
            axis.text(middle, 1.01, str(k + 1), fontsize=8, ha="center", transform=axis.get_xaxis_transform())
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    # Names stand below: above their phases those of short ones run into each other.
    names = "    ".join(f"{k}: {phase}" for k, phase in enumerate(dict.fromkeys(phases), start=1))
    figure.text(0.5, -0.06, textwrap.fill(names, 130), fontsize=8, ha="center", va="top")
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


def draw_estimates(
    rows: Sequence[tuple[str, float | None, Sequence[float] | None]],
    file: Path,
    title: str,
    quantity: str,
    reference: float | None = None,
) -> None:
    """A dot with its interval for each of `rows` (name, value, [low, high]), top to bottom.

    A row without a value shows its name alone: it is there, and nothing can be said of it. `reference` is a line.
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
