"""95 % confidence intervals by the percentile bootstrap over lesions (Efron & Tibshirani 1993).

Images of the same lesion are not independent, so lesions are resampled with all of their images. A resample is a weight
for every image: how often its lesion was drawn. Most figures are ratios of weighted sums, so that a thousand resamples
are one matrix product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RESAMPLES = 1000


def lesion_weights(lesions: Sequence[str] | NDArray[np.str_], seed: int = 0) -> NDArray[np.float32]:
    """(1 + RESAMPLES, n) weights of n images; the first row is the data itself: all ones."""
    _, lesion_of = np.unique(np.asarray(lesions), return_inverse=True)
    count = int(lesion_of.max()) + 1
    rng = np.random.default_rng(seed)
    weights = np.ones((1 + RESAMPLES, len(lesion_of)), dtype=np.float32)
    for row in weights[1:]:
        row[:] = np.bincount(rng.integers(0, count, count), minlength=count)[lesion_of]
    return weights


def shares(
    weights: NDArray[np.float32], hits: NDArray[np.generic], among: NDArray[np.generic] | None = None
) -> NDArray[np.float64]:
    """(1 + RESAMPLES,) weighted means of `hits` (n,) over the images in `among` (n, default all).

    NaN for resamples that contain none of these images.
    """
    members = np.ones(len(hits), dtype=np.float32) if among is None else np.asarray(among, dtype=np.float32)
    with np.errstate(invalid="ignore"):
        return np.asarray((weights @ (np.asarray(hits, dtype=np.float32) * members)) / (weights @ members), dtype=float)


def mean_recall(
    weights: NDArray[np.float32], hits: NDArray[np.generic], truth: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(1 + RESAMPLES,) balanced accuracy: the mean of `hits` in each class, averaged over the classes that occur."""
    recalls = np.stack([shares(weights, hits, truth == k) for k in np.unique(truth)])
    return np.asarray(np.nanmean(recalls, axis=0))


def rank_correlation(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Spearman's rank correlation of two (n,) series; NaN if one of them is constant."""
    ranks = np.stack([rankdata(one), rankdata(other)])
    if np.any(np.ptp(ranks, axis=1) == 0):
        return float("nan")
    return float(np.corrcoef(ranks)[0, 1])


def interval(values: NDArray[np.float64]) -> list[float] | None:
    """[low, high] of the middle 95 % of the resamples; None if the figure is undefined in most of them.

    `values` holds the figure of the data itself, then of the resamples.
    """
    defined = values[1:][~np.isnan(values[1:])]
    if np.isnan(values[0]) or 2 * len(defined) < len(values):
        return None
    return [float(v) for v in np.percentile(defined, [2.5, 97.5])]


def estimate(values: NDArray[np.float64], lesions: int | None = None) -> tuple[float | None, list[float] | None]:
    """A figure and its interval, for a table or for `metrics.json`.

    For a share, give the number of `lesions`. If all of them agree, the bootstrap gives a zero-width interval, so the
    rule of three gives the other bound (Hanley & Lippman-Hand, JAMA 249, 1983).
    """
    if np.isnan(values[0]):
        return None, None
    value = float(values[0])
    if lesions and value in (0.0, 1.0):
        return value, rule_of_three(value, lesions)
    return value, interval(values)


def rule_of_three(value: float, lesions: int) -> list[float]:
    """[low, high] of a share of 0 or 1 (`value`) among so many lesions."""
    return sorted((value, abs(value - min(1.0, 3 / lesions))))
