"""What a figure could have been with other lesions: 95 % percentile bootstrap (Efron & Tibshirani 1993).

Images of one lesion are not independent, so lesions are drawn, with all of their images. A draw is a weight for every
image (how often its lesion was drawn); most figures are ratios of weighted sums, and a thousand draws are one matrix
product.
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
    """(1 + RESAMPLES, n) weights of n images; the first row is the data itself, all ones."""
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
    """(1 + RESAMPLES,) the weighted mean of `hits` (n,) over the images in `among` (n, default all).

    NaN in draws that hold none of them.
    """
    members = np.ones(len(hits), dtype=np.float32) if among is None else np.asarray(among, dtype=np.float32)
    with np.errstate(invalid="ignore"):
        return np.asarray((weights @ (np.asarray(hits, dtype=np.float32) * members)) / (weights @ members), dtype=float)


def mean_recall(
    weights: NDArray[np.float32], hits: NDArray[np.generic], truth: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(1 + RESAMPLES,) balanced accuracy: the mean of `hits` within each class that occurs, averaged over classes."""
    recalls = np.stack([shares(weights, hits, truth == k) for k in np.unique(truth)])
    return np.asarray(np.nanmean(recalls, axis=0))


def rank_correlation(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Spearman's, of two (n,) series; NaN where one of them is constant."""
    ranks = np.stack([rankdata(one), rankdata(other)])
    if np.any(np.ptp(ranks, axis=1) == 0):
        return float("nan")
    return float(np.corrcoef(ranks)[0, 1])


def interval(values: NDArray[np.float64]) -> list[float] | None:
    """[low, high] that 95 % of the draws lie between; None where hardly a draw defines the figure.

    `values` are of the data itself, then of the draws.
    """
    defined = values[1:][~np.isnan(values[1:])]
    if np.isnan(values[0]) or 2 * len(defined) < len(values):
        return None
    return [float(v) for v in np.percentile(defined, [2.5, 97.5])]


def estimate(values: NDArray[np.float64], lesions: int | None = None) -> tuple[float | None, list[float] | None]:
    """A figure and its interval, for a table or for `metrics.json`.

    `lesions` tells how many stand behind a share. Where all of them agree every draw does too, and the interval would
    be a point: then the other bound is by the rule of three (Hanley & Lippman-Hand, JAMA 249, 1983).
    """
    if np.isnan(values[0]):
        return None, None
    value = float(values[0])
    if lesions and value in (0.0, 1.0):
        return value, rule_of_three(value, lesions)
    return value, interval(values)


def rule_of_three(value: float, lesions: int) -> list[float]:
    """[low, high] of a share that is `value`, 0 or 1, of so many lesions."""
    return sorted((value, abs(value - min(1.0, 3 / lesions))))
