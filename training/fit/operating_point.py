"""A bundle's operating point, for all images or for one kind of image: its temperature and thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model_layer.decision import calibrated
from training.data.data_sets import CLINICAL
from training.data.dataset import LABELS
from training.fit import calibration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

UNLIKE_SHARE = 0.05
"""At most this share of a kind's calibration images is referred as unlike the training data."""
ACCURACY_OF_KIND = {CLINICAL: 0.80}
"""Target for the labels of classified images. A camera shows less than a dermatoscope: with a target of 90 % nearly all
clinical photographs would be referred."""
METHOD = "temperature scaling on the calibration split, data folders counting by the square root of their images"
FEWEST_LESIONS = 60
"""In the calibration split; a kind of image with fewer uses the operating point of all images."""


@dataclass(frozen=True)
class HeldOut:
    """The served network's outputs for n calibration images, and the truth."""

    logits: NDArray[np.float64]
    """(n, labels)"""
    truth: NDArray[np.int64]
    sources: NDArray[np.str_]
    lesions: Sequence[str]
    unlikeness: NDArray[np.float64]


def operating_point(held: HeldOut, among: NDArray[np.bool_], kind: str = "") -> dict[str, Any]:
    """The manifest's `calibration` and `thresholds`, chosen on the images `among` (n,), or on all if they are too few.

    For the temperature and the confidence, images are weighted by `calibration.by_collection` over all kinds: the few
    of a collection that are mistaken for another kind must not count there like a collection of that kind.
    """
    if len({lesion for lesion, one in zip(held.lesions, among, strict=True) if one}) < FEWEST_LESIONS:
        among = np.ones(len(among), dtype=bool)
    logits, truth, sources = held.logits[among], held.truth[among], held.sources[among]
    lesions = [lesion for lesion, one in zip(held.lesions, among, strict=True) if one]
    weights = calibration.by_collection(held.sources)[among]
    temperature = calibration.temperature(logits, truth, weights)
    accuracy = ACCURACY_OF_KIND.get(kind, calibration.CLASSIFIED_ACCURACY)
    thresholds = calibration.thresholds(calibrated(logits, temperature), truth, LABELS, sources, weights, accuracy)
    thresholds["unlikeness"] = {
        "value": unlike_threshold(held.unlikeness[among]),
        "target": f"at most {UNLIKE_SHARE:.0%} of the calibration images of the kind are referred for it",
        "score": "1 less the cosine to the 10th nearest training image, in evened features of blocks 4 and 5",
    }
    return {
        "calibration": {
            "temperature": temperature,
            "images": len(truth),
            "method": METHOD,
            "compared": calibration.compare_scalings(logits, truth, lesions),
        },
        "thresholds": thresholds,
    }


def unlike_threshold(unlikeness: NDArray[np.float64]) -> float:
    """The least of (n,) scores with at most `UNLIKE_SHARE` of them above it.

    It is the score of an actual image, not interpolated, so that at most 5 of 116 images lie above.
    """
    return float(np.quantile(unlikeness, 1 - UNLIKE_SHARE, method="higher"))
