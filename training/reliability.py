"""Whether a confidence of 0.8 means right in 80 of 100: before temperature scaling and after it.

An answer holds calibrated probabilities alone. The uncalibrated ones come back by undoing the temperature (log p * T
are the logits up to a constant), to within the six decimals that an answer is rounded to.

Of few images even perfect confidences seem wrong: in a bin of ten, 7 or 9 are right where 8 should be. How large an
error comes of that alone is shown by drawing, for the very confidences at hand, which images would be right if every
one of them were true (consistency resampling: Bröcker & Smith, Weather and Forecasting 22, 2007).
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np

from model_layer.decision import calibrated
from training.bootstrap import RESAMPLES, estimate, lesion_weights
from training.drawing import ACCENT, MUTED, plt
from training.metrics import ECE_BINS, expected_calibration_error

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.metrics import Answers

# Half of the last decimal that an answer gives: what was rounded to 0 has no logarithm.
_LEAST = 0.5e-6


def uncalibrated(probabilities: NDArray[np.float64], temperatures: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, labels) probabilities as they were before their logits were divided by (n,) `temperatures`."""
    return calibrated(np.log(np.maximum(probabilities, _LEAST)) * temperatures[:, None], 1.0)


def reliability(answers: Answers) -> dict[str, Any]:
    """The mean `temperature`, and the expected calibration error `ece_before` and `ece_after`, each with `_ci`.

    `ece_by_chance` is the error that true confidences would show on so many images: its mean, and in `_ci` where 95 %
    of the draws lie.
    """
    weights = lesion_weights(answers.lesions)
    before, before_ci = _error(uncalibrated(answers.probabilities, answers.temperatures), answers.truth, weights)
    after, after_ci = _error(answers.probabilities, answers.truth, weights)
    chance = errors_by_chance(answers.probabilities.max(axis=1))
    return {
        "temperature": float(answers.temperatures.mean()),
        "ece_before": before,
        "ece_before_ci": before_ci,
        "ece_after": after,
        "ece_after_ci": after_ci,
        "ece_by_chance": float(chance.mean()),
        "ece_by_chance_ci": [float(v) for v in np.percentile(chance, [2.5, 97.5])],
    }


def errors_by_chance(confidence: NDArray[np.float64], draws: int = RESAMPLES, seed: int = 0) -> NDArray[np.float64]:
    """(draws,) calibration errors where an answer of confidence (n,) c is right with probability c."""
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    inside = (bins[:, None] == np.arange(ECE_BINS)).astype(float)  # (n, bins)
    right = np.random.default_rng(seed).random((draws, len(confidence))) < confidence
    return np.asarray(np.abs((right - confidence) @ inside).sum(axis=1) / len(confidence))


def _error(
    probabilities: NDArray[np.float64], truth: NDArray[np.int64], weights: NDArray[np.float32]
) -> tuple[float | None, list[float] | None]:
    """The error and its interval, moved to have its median on the error: see `training.metrics.intervals`."""
    confidence, right, bins = _binned(probabilities, truth)
    inside = (bins[:, None] == np.arange(ECE_BINS)).astype(np.float32)  # (n, bins)
    gaps = weights @ (inside * (right - confidence)[:, None].astype(np.float32))  # (draws, bins)
    errors = np.abs(gaps).sum(axis=1, dtype=np.float64) / weights.sum(axis=1)
    errors[0] = expected_calibration_error(probabilities, truth)
    errors[1:] = np.maximum(errors[1:] + errors[0] - np.median(errors[1:]), 0.0)
    return estimate(errors)


def write_reliability(file: Path, tables: dict[str, dict[str, Any]]) -> None:
    """Rows for each data folder: before, after, and what true confidences would show."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["data", "temperature_scaling", "temperature", "ece", "low_95", "high_95"])
        for data, own in tables.items():
            for when in ("before", "after"):
                low, high = own[f"ece_{when}_ci"]
                temperature = 1.0 if when == "before" else own["temperature"]
                writer.writerow([data, when, *(f"{v:.4f}" for v in (temperature, own[f"ece_{when}"], low, high))])
            by_chance = (own["ece_by_chance"], *own["ece_by_chance_ci"])
            writer.writerow([data, "true confidences", "", *(f"{v:.4f}" for v in by_chance)])


def draw_reliability(answers: Answers, out: Path, name: str) -> None:
    """`reliability-<name>.png`: how often the label is right at each confidence, over how often that occurs.

    On the left before temperature scaling, on the right as served.
    """
    figure, axes = plt.subplots(2, 2, figsize=(8.4, 5), height_ratios=[3, 1], sharex=True, sharey="row")
    before = uncalibrated(answers.probabilities, answers.temperatures)
    for (top, bottom), probabilities, when in zip(
        axes.T,
        (before, answers.probabilities),
        ("before scaling", f"mean temperature {answers.temperatures.mean():.2f}"),
        strict=True,
    ):
        _, right, bins = _binned(probabilities, answers.truth)
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


def _binned(
    probabilities: NDArray[np.float64], truth: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """(n,) confidence, whether the label is right (0 or 1), and the bin of the confidence."""
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == truth).astype(float)
    return confidence, right, np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
