"""Temperature scaling and thresholds, chosen on the calibration split with the outputs of the served network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import beta
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
CERTAINTY = 0.95
"""That a label's confidence threshold keeps `CLASSIFIED_ACCURACY`, on images like the calibration images."""
SHARES = tuple(k / 10 for k in range(10, 0, -1))
"""Of a label's calibration images: so many may lie above its confidence threshold."""
TRIAGE_SENSITIVITY = 0.95
FEWEST = 40
"""Images of a data folder that a threshold is chosen on. Fewer are strays, or show next to nothing."""


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
    sources: NDArray[np.str_],
    weights: NDArray[np.float64],
    accuracy: float = CLASSIFIED_ACCURACY,
) -> dict[str, dict[str, Any]]:
    """The manifest's thresholds, each with the target that it was chosen for.

    `sources` (n,) are data folders. Sets and triage keep their promise in each of them, not only on average: clinics
    differ as folders do. `weights` (n,) count for the confidence, which other labels of a folder cannot make up for.
    """
    malignant = np.array([label.malignant for label in labels])
    score, positive = probabilities[:, malignant].sum(axis=1), malignant[truth]
    urgent = [sensitivity_threshold(score[own], TRIAGE_SENSITIVITY) for own in _each_folder(sources, positive)]
    everything = np.ones(len(truth), dtype=bool)
    sets = [
        conformal_threshold(probabilities[own], truth[own], SET_COVERAGE) for own in _each_folder(sources, everything)
    ]
    in_each = f"of each data folder with {FEWEST} of them or more"
    return {
        "confidence": {
            "labels": {
                label.code: least
                for label, least in zip(
                    labels, confidence_thresholds(probabilities, truth, accuracy, weights), strict=True
                )
            },
            "target": f"with a certainty of {CERTAINTY:.0%}, {accuracy:.0%} of the images with this label are labelled "
            "right from there on; null: no confidence shows that on the calibration images",
        },
        "malignant": {
            "value": min(urgent),
            "target": f"{TRIAGE_SENSITIVITY:.0%} of the malignant or pre-malignant calibration images are urgent, "
            f"{in_each}",
        },
        "prediction_set": {
            "value": max(sets),
            "target": f"the set holds the true label of {SET_COVERAGE:.0%} of the calibration images, {in_each}",
        },
    }


def _each_folder(sources: NDArray[np.str_], among: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The images `among` (n,) that each folder has, if there are `FEWEST`; all together if no folder has so many."""
    folders = [among & (sources == source) for source in np.unique(sources)]
    return [own for own in folders if own.sum() >= FEWEST] or [among]


def conformal_threshold(probabilities: NDArray[np.float64], truth: NDArray[np.int64], coverage: float) -> float:
    """Split conformal quantile of the adaptive-sets score, with the finite-sample correction (Romano et al. 2020)."""
    scores = np.sort(likelier_mass(probabilities)[np.arange(len(truth)), truth])
    rank = math.ceil((len(truth) + 1) * coverage - 1e-9)
    return min(1.0, float(scores[rank - 1])) if rank <= len(truth) else 1.0  # sums may round above 1


def confidence_thresholds(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.int64],
    accuracy: float,
    weights: NDArray[np.float64] | None = None,
) -> list[float | None]:
    """For each label, a confidence from which on `accuracy` of the images with it are labelled right, or None.

    It holds with `CERTAINTY` for images like these. Of the confidences that keep one of `SHARES`, it is the lowest
    that passes a test, at a level divided by their number (Learn then Test: Angelopoulos et al. 2021); None: none does.
    Each label has its own: at another clinic some labels are mistaken far more often than others, and a common
    confidence hides that.
    """
    confidence, label = probabilities.max(axis=1), probabilities.argmax(axis=1)
    counts = _counts(weights, len(truth))
    return [
        _trusted_from(confidence[own], (truth == k)[own], counts[own], accuracy)
        for k, own in ((k, label == k) for k in range(probabilities.shape[1]))
    ]


def _trusted_from(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], counts: NDArray[np.float64], accuracy: float
) -> float | None:
    order = np.argsort(-confidence, kind="stable")
    for share in SHARES:  # all images first: fewer are surer, and prove less
        kept = order[: math.ceil(share * len(order))]
        if _least_accuracy(right[kept], counts[kept], (1 - CERTAINTY) / len(SHARES)) >= accuracy:
            return float(confidence[kept[-1]])
    return None


def _least_accuracy(right: NDArray[np.bool_], counts: NDArray[np.float64], doubt: float) -> float:
    """The accuracy that is exceeded except with a probability of `doubt` (Clopper & Pearson 1934).

    Unequal `counts` are worth as many equal ones as Kish's effective sample size.
    """
    size = counts.sum() ** 2 / np.sum(counts**2) if len(counts) else 0.0
    hits = size * np.average(right, weights=counts) if size else 0.0
    return float(beta.ppf(doubt, hits, size - hits + 1)) if hits else 0.0


def sensitivity_threshold(scores: NDArray[np.float64], sensitivity: float) -> float:
    """The highest value from which on at least `sensitivity` of the positives' (n,) `scores` lie; 0 if n is 0."""
    if not len(scores):
        return 0.0
    return float(np.sort(scores)[::-1][math.ceil(sensitivity * len(scores) - 1e-9) - 1])


def by_collection(sources: NDArray[np.str_]) -> NDArray[np.float64]:
    """(n,) weights that give every data folder the square root of its number of images, as in training's draws.

    Without weights, the largest collection would set the thresholds, and they would be wrong for other clinics. With
    equal weights, a small unusual collection would set them.
    """
    _, which, counts = np.unique(sources, return_inverse=True, return_counts=True)
    return np.asarray(1 / np.sqrt(counts[which]), dtype=np.float64)


def _counts(weights: NDArray[np.float64] | None, count: int) -> NDArray[np.float64]:
    return np.ones(count) if weights is None else weights * (count / weights.sum())
