"""What the model's confidence is worth: reliability, abstention (risk-coverage) and prediction sets.

Reliability: are answers with a confidence of 0.8 right in 80 of 100 cases, before and after temperature scaling? An
answer has only calibrated probabilities; undoing the temperature restores the others (log p * T equals the logits up to
a constant), within the six decimals of an answer. With few images even true confidences show an error: in a bin of ten,
7 or 9 answers may be right instead of 8. To show the size of this error, it is simulated with the given confidences
(consistency resampling: Bröcker & Smith, Weather and Forecasting 22, 2007).

Risk-coverage: accuracy over the share of images that are answered, most confident first (El-Yaniv & Wiener, JMLR 11,
2010).

Prediction sets: a split-conformal set guarantees its coverage over all images together, not for each class; a rare
class may be missed often. So coverage is measured per class, and classes with at least `ENOUGH` lesions should reach
`CLASS_FLOOR`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model_layer.decision import calibrated
from training.data.dataset import CODES
from training.evaluation.bootstrap import RESAMPLES, estimate, lesion_weights, shares
from training.evaluation.metrics import ECE_BINS, expected_calibration_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.evaluation.metrics import Answers

COVERAGES = tuple(k / 50 for k in range(1, 51))
CLASS_FLOOR = 0.90
"""The least coverage of a class with `ENOUGH` lesions."""
ENOUGH = 30
_LEAST = 0.5e-6
"""Half of the last decimal of an answer: a probability that was rounded to 0 has no logarithm."""


def uncalibrated(probabilities: NDArray[np.float64], temperatures: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, labels) probabilities before their logits were divided by (n,) `temperatures`."""
    return calibrated(np.log(np.maximum(probabilities, _LEAST)) * temperatures[:, None], 1.0)


def reliability(answers: Answers) -> dict[str, Any]:
    """The mean `temperature`, and the expected calibration error `ece_before` and `ece_after`, each with `_ci`.

    `ece_by_chance` is the error that true confidences would show with so many images: the mean of the simulations, and
    in `_ci` the middle 95 % of them.
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
    """(draws,) simulated calibration errors: an answer with `confidence` c is right with probability c."""
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    inside = (bins[:, None] == np.arange(ECE_BINS)).astype(float)  # (n, bins)
    right = np.random.default_rng(seed).random((draws, len(confidence))) < confidence
    return np.asarray(np.abs((right - confidence) @ inside).sum(axis=1) / len(confidence))


def _error(
    probabilities: NDArray[np.float64], truth: NDArray[np.int64], weights: NDArray[np.float32]
) -> tuple[float | None, list[float] | None]:
    """The error and its interval, shifted so that its median is the error: see `metrics.intervals`."""
    confidence, right, bins = binned(probabilities, truth)
    inside = (bins[:, None] == np.arange(ECE_BINS)).astype(np.float32)  # (n, bins)
    gaps = weights @ (inside * (right - confidence)[:, None].astype(np.float32))  # (draws, bins)
    errors = np.abs(gaps).sum(axis=1, dtype=np.float64) / weights.sum(axis=1)
    errors[0] = expected_calibration_error(probabilities, truth)
    errors[1:] = np.maximum(errors[1:] + errors[0] - np.median(errors[1:]), 0.0)
    return estimate(errors)


def binned(
    probabilities: NDArray[np.float64], truth: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """(n,) confidence, whether the label is right (0 or 1), and the confidence's bin."""
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == truth).astype(float)
    return confidence, right, np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)


def risk_coverage(answers: Answers) -> dict[str, Any]:
    """`coverage`, `confidence` (the lowest that is answered), `accuracy` and `accuracy_ci`: one entry per point.

    Also `area`, the mean error over all coverages (AURC: Geifman & El-Yaniv 2017; lower is better), and `area_ci`.
    """
    confidence = answers.probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = (answers.probabilities.argmax(axis=1) == answers.truth)[order]
    weights = lesion_weights(answers.lesions)[:, order]  # (1 + draws, n), most confident first
    answered = np.cumsum(weights, axis=1, dtype=np.float64)
    hits = np.cumsum(weights * right, axis=1, dtype=np.float64)
    # The image at which each resample reaches each coverage, rounded to whole images; at least one image is answered.
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


def curve_summary(curve: dict[str, Any]) -> dict[str, Any]:
    """The part of a curve that goes into `metrics.json`: the area and a few points."""
    points = {
        f"{coverage:.1f}": {"least_confidence": confidence, "accuracy": accuracy, "accuracy_ci": ci}
        for coverage, confidence, accuracy, ci in curve_points(curve)
        if coverage in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    }
    return {"area": curve["area"], "area_ci": curve["area_ci"], "at_coverage": points}


def curve_points(curve: dict[str, Any]) -> list[tuple[float, float, float, list[float] | None]]:
    """(coverage, lowest confidence, accuracy, interval) of each point."""
    return list(zip(curve["coverage"], curve["confidence"], curve["accuracy"], curve["accuracy_ci"], strict=True))


def prediction_sets(answers: Answers) -> dict[str, Any]:
    """Coverage and mean size, each with `_ci`, and counts: `overall`, and `per_class` for each class that occurs.

    `held_to_floor`: whether a class has `ENOUGH` lesions; `misses_floor`: whether it then falls short of the floor.
    """
    weights = lesion_weights(answers.lesions)
    covered = answers.in_set[np.arange(len(answers.truth)), answers.truth]
    sizes = answers.in_set.sum(axis=1)
    everything = np.ones(len(covered), dtype=bool)
    members = {"": everything} | {CODES[k]: answers.truth == k for k in np.unique(answers.truth)}
    groups = {}
    for name, among in members.items():
        lesions = len(np.unique(answers.lesions[among]))
        coverage, coverage_ci = estimate(shares(weights, covered, among), lesions)
        size, size_ci = estimate(shares(weights, sizes, among))
        held = lesions >= ENOUGH
        groups[name] = {
            "images": int(among.sum()),
            "lesions": lesions,
            "coverage": coverage,
            "coverage_ci": coverage_ci,
            "size": size,
            "size_ci": size_ci,
        }
        if name:
            groups[name] |= {"held_to_floor": held, "misses_floor": held and (coverage or 0.0) < CLASS_FLOOR}
    return {"overall": groups.pop(""), "class_floor": CLASS_FLOOR, "per_class": groups}
