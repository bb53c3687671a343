"""Pictures of a training and an evaluation; none shows a photograph."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from training.drawing import ACCENT, COLOURS, INK, MUTED, plt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def draw_training(history: Sequence[dict[str, Any]], file: Path) -> None:
    """Loss, macro AUC and balanced accuracy of each data folder over the views; stages by shading."""
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
