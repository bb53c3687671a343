"""How good the answers are when the model may keep silent: accuracy over the share of images that it answers.

The curve of El-Yaniv & Wiener, "On the foundations of noise-free selective classification" (JMLR 11, 2010), by the
calibrated confidence: at a coverage of 0.8 only the surest 80 % are answered.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np

from training.bootstrap import estimate, lesion_weights
from training.drawing import COLOURS, INK, plt

if TYPE_CHECKING:
    from pathlib import Path

    from training.metrics import Answers

COVERAGES = tuple(k / 50 for k in range(1, 51))


def risk_coverage(answers: Answers) -> dict[str, Any]:
    """`coverage`, `confidence` (the least that is answered), `accuracy` and `accuracy_ci`, one entry each per point.

    Beside them `area`, the mean error over all coverages (Geifman & El-Yaniv 2017: AURC), lower is better, with its
    `area_ci`.
    """
    confidence = answers.probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = (answers.probabilities.argmax(axis=1) == answers.truth)[order]
    weights = lesion_weights(answers.lesions)[:, order]  # (draws, n), surest first
    answered = np.cumsum(weights, axis=1, dtype=np.float64)
    hits = np.cumsum(weights * right, axis=1, dtype=np.float64)
    # The image at which a draw reaches each coverage; half an image less, so that the data itself is rounded. Of few
    # images the smallest shares are less than one, and one is answered.
    reached = np.array([np.searchsorted(row, np.maximum(np.array(COVERAGES) * row[-1] - 0.5, 0.5)) for row in answered])
    reached = np.minimum(reached, len(right) - 1)  # (draws, coverages)
    accuracy = np.take_along_axis(hits, reached, 1) / np.maximum(np.take_along_axis(answered, reached, 1), 1)
    estimates = [estimate(column) for column in accuracy.T]
    with np.errstate(invalid="ignore"):
        errors = np.where(weights > 0, 1 - hits / answered, 0.0)
    area, area_ci = estimate(np.sum(errors * weights, axis=1) / answered[:, -1])
    return {
        "coverage": list(COVERAGES),
        "confidence": [float(confidence[order][k]) for k in reached[0]],
        "accuracy": [value for value, _ in estimates],
        "accuracy_ci": [ci for _, ci in estimates],
        "area": area,
        "area_ci": area_ci,
    }


def summary(curve: dict[str, Any]) -> dict[str, Any]:
    """What `metrics.json` holds of a curve: the area, and a few points; the rest is in the table."""
    points = {
        f"{coverage:.1f}": {"least_confidence": confidence, "accuracy": accuracy, "accuracy_ci": ci}
        for coverage, confidence, accuracy, ci in _points(curve)
        if coverage in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    }
    return {"area": curve["area"], "area_ci": curve["area_ci"], "at_coverage": points}


def write_risk_coverage(out: Path, curves: dict[str, dict[str, Any]]) -> None:
    """`risk_coverage.csv` and `risk_coverage.png` of each data folder's curve."""
    with (out / "risk_coverage.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["data", "coverage", "least_confidence", "accuracy", "low_95", "high_95"])
        for name, curve in curves.items():
            for coverage, confidence, accuracy, ci in _points(curve):
                cells = (f"{v:.4f}" for v in (confidence, accuracy, *(ci or (np.nan, np.nan))))
                writer.writerow([name, f"{coverage:.2f}", *cells])
    figure, axis = plt.subplots(figsize=(5.6, 4))
    for (name, curve), colour in zip(curves.items(), (*COLOURS[: len(curves) - 1], INK), strict=False):
        low, high = np.array([ci or (np.nan, np.nan) for ci in curve["accuracy_ci"]]).T
        axis.fill_between(curve["coverage"], low, high, color=colour, alpha=0.15, linewidth=0)
        axis.plot(curve["coverage"], curve["accuracy"], color=colour, label=f"{name}, area {curve['area']:.3f}")
    axis.set(xlabel="share of the images answered, surest first", ylabel="accuracy of the answers", xlim=(0, 1))
    axis.legend(frameon=False, loc="lower left")
    figure.savefig(out / "risk_coverage.png")
    plt.close(figure)


def _points(curve: dict[str, Any]) -> list[tuple[float, float, float, list[float] | None]]:
    return list(zip(curve["coverage"], curve["confidence"], curve["accuracy"], curve["accuracy_ci"], strict=True))
