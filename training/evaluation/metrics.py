"""Figures of merit with bootstrap intervals.

Balanced accuracy is the mean recall over the classes that occur. Macro figures skip absent classes too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

from model_layer.decision import calibrated
from training.evaluation.bootstrap import RESAMPLES, rule_of_three

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model_layer import Label

ECE_BINS = 15
COVERAGE = 0.8
HEADLINES = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "macro_auc",
    "ece",
    "brier",
    "accuracy_at_80_coverage",
    "accuracy_of_classified",
    "set_coverage",
    "set_size",
    "triage_sensitivity",
    "triage_specificity",
)


@dataclass(frozen=True)
class Answers:
    """The true labels and the model's answers, one row per image that was classified or referred."""

    truth: NDArray[np.int64]
    """(n,) index of the true label."""
    probabilities: NDArray[np.float64]
    """(n, labels), calibrated."""
    in_set: NDArray[np.bool_]
    """(n, labels): the labels in the prediction set."""
    urgent: NDArray[np.bool_]
    """(n,)"""
    referred: NDArray[np.bool_]
    """(n,)"""
    lesions: NDArray[np.str_]
    """(n,) the units that the bootstrap resamples."""
    temperatures: NDArray[np.float64]
    """(n,) the temperature that each image's logits were divided by."""

    def __getitem__(self, rows: NDArray[Any]) -> Answers:
        return Answers(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def figures(answers: Answers, labels: Sequence[Label]) -> dict[str, float | None]:
    """The headline figures; None where these images do not define one."""
    truth, probabilities = answers.truth, answers.probabilities
    predicted = probabilities.argmax(axis=1)
    recall, precision = recalls_and_precisions(truth, predicted, len(labels))
    present = np.unique(truth)
    f1 = [_f1(recall[k], precision[k]) for k in present]
    malignant = np.array([label.malignant for label in labels])[truth]
    classified = ~answers.referred
    surest = np.argsort(-probabilities.max(axis=1), kind="stable")[: max(1, round(COVERAGE * len(truth)))]
    return {
        "accuracy": float(np.mean(predicted == truth)),
        "balanced_accuracy": float(np.mean(recall[present])),
        "macro_f1": float(np.mean(f1)),
        "macro_auc": macro_auc(truth, probabilities),
        "ece": expected_calibration_error(probabilities, truth),
        "brier": float(np.mean(np.sum((probabilities - np.eye(len(labels))[truth]) ** 2, axis=1))),
        "accuracy_at_80_coverage": float(np.mean(predicted[surest] == truth[surest])),
        "accuracy_of_classified": float(np.mean((predicted == truth)[classified])) if classified.any() else None,
        "set_coverage": float(np.mean(answers.in_set[np.arange(len(truth)), truth])),
        "set_size": float(np.mean(answers.in_set.sum(axis=1))),
        "triage_sensitivity": float(np.mean(answers.urgent[malignant])) if malignant.any() else None,
        "triage_specificity": float(np.mean(~answers.urgent[~malignant])) if not malignant.all() else None,
    }


def intervals(answers: Answers, labels: Sequence[Label], seed: int = 0) -> dict[str, list[float] | None]:
    """95 % percentile bootstrap over lesions: `<figure>_ci` = [low, high].

    A calibration error is a mean of absolute gaps, and the extra noise of a resample widens every gap, so its
    percentiles lie above the figure itself. That interval is shifted so that its median is the figure. A share of 0 or
    1 is the same in every resample; its other bound is by the rule of three (`bootstrap.rule_of_three`).
    """
    rng = np.random.default_rng(seed)
    _, lesion_of = np.unique(answers.lesions, return_inverse=True)
    order = np.argsort(lesion_of, kind="stable")
    starts = np.searchsorted(lesion_of[order], np.arange(lesion_of.max() + 2))
    samples: dict[str, list[float]] = {name: [] for name in HEADLINES}
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, len(starts) - 1, len(starts) - 1)
        rows = np.concatenate([order[starts[k] : starts[k + 1]] for k in drawn])
        for name, value in figures(answers[rows], labels).items():
            if value is not None:
                samples[name].append(value)
    if samples["ece"]:
        shift = expected_calibration_error(answers.probabilities, answers.truth) - float(np.median(samples["ece"]))
        samples["ece"] = [max(0.0, value + shift) for value in samples["ece"]]
    found: dict[str, list[float] | None] = {
        f"{name}_ci": [float(v) for v in np.percentile(values, [2.5, 97.5])] if values else None
        for name, values in samples.items()
    }
    malignant = np.array([label.malignant for label in labels])[answers.truth]
    everything = np.ones(len(malignant), dtype=bool)
    counted = {"accuracy": everything, "set_coverage": everything, "accuracy_of_classified": ~answers.referred}
    counted |= {"triage_sensitivity": malignant, "triage_specificity": ~malignant}
    whole = figures(answers, labels)
    for name, members in counted.items():
        if whole[name] in (0.0, 1.0):
            found[f"{name}_ci"] = rule_of_three(float(whole[name] or 0), len(np.unique(answers.lesions[members])))
    return found


def per_class(answers: Answers, labels: Sequence[Label]) -> dict[str, dict[str, float | int | None]]:
    """Label code to count, recall, precision, F1 and one-vs-rest AUC, for every class that occurs."""
    recall, precision = recalls_and_precisions(answers.truth, answers.probabilities.argmax(axis=1), len(labels))
    aucs = one_vs_rest_aucs(answers.truth, answers.probabilities)
    return {
        label.code: {
            "n": int(np.sum(answers.truth == k)),
            "recall": float(recall[k]),
            "precision": None if np.isnan(precision[k]) else float(precision[k]),
            "f1": _f1(recall[k], precision[k]),
            "auc": aucs[k],
        }
        for k, label in enumerate(labels)
        if np.any(answers.truth == k)
    }


def by_folder(
    logits: NDArray[np.float64], truth: NDArray[np.int64], sources: NDArray[np.str_]
) -> dict[str, dict[str, float | int | None]]:
    """`logit_figures` of n images for each data folder in `sources` (n,)."""
    return {s: logit_figures(logits[sources == s], truth[sources == s]) for s in np.unique(sources).tolist()}


def logit_figures(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> dict[str, float | int | None]:
    """The figures that need no operating point, from (n, labels) logits."""
    predicted = logits.argmax(axis=1)
    return {
        "n": len(truth),
        "accuracy": float(np.mean(predicted == truth)),
        "balanced_accuracy": balanced_accuracy(truth, predicted),
        "macro_auc": macro_auc(truth, calibrated(logits, 1.0)),
    }


def balanced_accuracy(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean recall of the classes that occur in `truth`."""
    return float(np.mean([np.mean(predicted[truth == k] == k) for k in np.unique(truth)]))


def recalls_and_precisions(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(classes,) each; NaN for a class that is never true or never predicted."""
    matrix = confusion(truth, predicted, classes).astype(float)
    hits = np.diag(matrix)
    with np.errstate(invalid="ignore"):
        return hits / matrix.sum(axis=1), hits / matrix.sum(axis=0)


def confusion(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """(classes, classes) counts: rows are the truth, columns the predictions."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def macro_auc(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float | None:
    """The mean of `one_vs_rest_aucs`; None if `truth` has only one class."""
    areas = [area for area in one_vs_rest_aucs(truth, probabilities) if area is not None]
    return float(np.mean(areas)) if areas else None


def one_vs_rest_aucs(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> list[float | None]:
    """Area under the ROC curve of each class against all others; None if one side is empty.

    Computed from ranks (Mann & Whitney 1947), because the bootstrap needs it thousands of times.
    """
    ranks = rankdata(probabilities, axis=0)  # (n, labels)
    aucs: list[float | None] = []
    for k in range(probabilities.shape[1]):
        own = truth == k
        positives, negatives = int(own.sum()), int((~own).sum())
        above = ranks[own, k].sum() - positives * (positives + 1) / 2
        aucs.append(float(above / (positives * negatives)) if positives and negatives else None)
    return aucs


def expected_calibration_error(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Mean gap between confidence and accuracy over 15 equal bins of confidence (Naeini et al. 2015)."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = [abs(np.sum(right[bins == b]) - np.sum(confidence[bins == b])) for b in np.unique(bins)]
    return float(np.sum(gaps) / len(truth))


def _f1(recall: float, precision: float) -> float:
    if np.isnan(precision) or recall + precision == 0:
        return 0.0
    return float(2 * recall * precision / (recall + precision))
