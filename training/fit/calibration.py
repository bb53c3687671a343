"""Temperature scaling and thresholds, chosen on the calibration split with the outputs of the served network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from sklearn.model_selection import GroupKFold

from model_layer.decision import calibrated, likelier_mass
from training.data.splits import CROSS_VALIDATION
from training.evaluation.metrics import expected_calibration_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model_layer import Label

SET_COVERAGE = 0.95
CLASSIFIED_ACCURACY = 0.90
TRIAGE_SENSITIVITY = 0.95


def temperature(
    logits: NDArray[np.float64], truth: NDArray[np.int64], weights: NDArray[np.float64] | None = None
) -> float:
    """The temperature with the highest likelihood for (n, labels) logits (Guo et al. 2017); `weights` (n,)."""
    counts = _counts(weights, len(truth))

    def negative_log_likelihood(log_temperature: float) -> float:
        probabilities = calibrated(logits, float(np.exp(log_temperature)))
        return float(-np.mean(counts * np.log(probabilities[np.arange(len(truth)), truth] + 1e-12)))

    return float(np.exp(minimize_scalar(negative_log_likelihood, bounds=(-2.0, 2.0), method="bounded").x))


def vector_scaling(
    logits: NDArray[np.float64], truth: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factors and offsets (labels,) with the highest likelihood (vector scaling, Guo et al. 2017)."""
    labels = logits.shape[1]

    def negative_log_likelihood(parameters: NDArray[np.float64]) -> float:
        probabilities = calibrated(logits * parameters[:labels] + parameters[labels:], 1.0)
        return float(-np.mean(np.log(probabilities[np.arange(len(truth)), truth] + 1e-12)))

    start = np.concatenate([np.full(labels, 1 / temperature(logits, truth)), np.zeros(labels)])
    found = minimize(negative_log_likelihood, start, method="L-BFGS-B").x
    return found[:labels], found[labels:]


def compare_scalings(
    logits: NDArray[np.float64], truth: NDArray[np.int64], lesions: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Calibration error and log likelihood without scaling, with temperature and with vector scaling.

    Cross-validated over lesions.
    """
    probabilities = {name: np.empty_like(logits) for name in ("none", "temperature", "vector")}
    for rest, fold in GroupKFold(CROSS_VALIDATION).split(logits, truth, list(lesions)):
        factor, offset = vector_scaling(logits[rest], truth[rest])
        probabilities["none"][fold] = calibrated(logits[fold], 1.0)
        probabilities["temperature"][fold] = calibrated(logits[fold], temperature(logits[rest], truth[rest]))
        probabilities["vector"][fold] = calibrated(logits[fold] * factor + offset, 1.0)
    return {
        name: {
            "ece": expected_calibration_error(p, truth),
            "negative_log_likelihood": float(-np.mean(np.log(p[np.arange(len(truth)), truth] + 1e-12))),
        }
        for name, p in probabilities.items()
    }


def thresholds(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.int64],
    labels: Sequence[Label],
    weights: NDArray[np.float64] | None = None,
    accuracy: float = CLASSIFIED_ACCURACY,
) -> dict[str, dict[str, Any]]:
    """The manifest's thresholds, each with the target that it was chosen for, with image `weights` (n,)."""
    malignant = np.array([label.malignant for label in labels])
    return {
        "confidence": {
            "value": confidence_threshold(probabilities, truth, accuracy, weights),
            "target": f"the lowest above which {accuracy:.0%} of the calibration images are labelled right",
        },
        "malignant": {
            "value": sensitivity_threshold(
                probabilities[:, malignant].sum(axis=1), malignant[truth], TRIAGE_SENSITIVITY, weights
            ),
            "target": f"{TRIAGE_SENSITIVITY:.0%} of the malignant or pre-malignant calibration images are urgent",
        },
        "prediction_set": {
            "value": conformal_threshold(probabilities, truth, SET_COVERAGE, weights),
            "target": f"the set holds the true label of {SET_COVERAGE:.0%} of images like the calibration images",
        },
    }


def conformal_threshold(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.int64],
    coverage: float,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Split conformal quantile of the adaptive-sets score, with the finite-sample correction (Romano et al. 2020).

    Images may have `weights` (n,) (Tibshirani et al. 2019), which are scaled to a mean of 1.
    """
    scores = likelier_mass(probabilities)[np.arange(len(truth)), truth]
    order = np.argsort(scores, kind="stable")
    counted = np.cumsum(_counts(weights, len(truth))[order])
    enough = np.flatnonzero(counted >= (len(truth) + 1) * coverage - 1e-9)
    return min(1.0, float(scores[order][enough[0]])) if enough.size else 1.0  # sums may round above 1


def confidence_threshold(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.int64],
    accuracy: float,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """The lowest confidence from which on at least `accuracy` of the labels are right; 1 if there is none."""
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    counts = _counts(weights, len(truth))[order]
    right = (probabilities.argmax(axis=1) == truth)[order]
    kept = np.cumsum(counts)
    # At least a twentieth of the images must lie above: luck among the few most confident ones must not decide.
    fits = np.flatnonzero((np.cumsum(right * counts) >= accuracy * kept - 1e-9) & (kept > len(truth) / 20))
    return float(confidence[order][fits[-1]]) if fits.size else 1.0


def sensitivity_threshold(
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    sensitivity: float,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """The highest score from which on at least `sensitivity` of the positives lie; 0 if there are no positives."""
    own = scores[positive]
    if not own.size:
        return 0.0
    order = np.argsort(-own, kind="stable")
    counts = _counts(weights, len(scores))[positive][order]
    found = np.cumsum(counts) >= sensitivity * counts.sum() - 1e-9
    return float(own[order][np.flatnonzero(found)[0]])


def by_collection(sources: NDArray[np.str_]) -> NDArray[np.float64]:
    """(n,) weights that give every data folder the square root of its number of images, as in training's draws.

    Without weights, the largest collection would set the thresholds, and they would be wrong for other clinics. With
    equal weights, a small unusual collection would set them.
    """
    _, which, counts = np.unique(sources, return_inverse=True, return_counts=True)
    return np.asarray(1 / np.sqrt(counts[which]), dtype=np.float64)


def _counts(weights: NDArray[np.float64] | None, count: int) -> NDArray[np.float64]:
    return np.ones(count) if weights is None else weights * (count / weights.sum())
