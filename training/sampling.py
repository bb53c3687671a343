"""Which image each training step sees: an imbalance answered by drawing, not by weighting the loss.

Two thirds of dermoscopy are nevi, and dermoscopy outnumbers phone photographs 13 to 1. Weighting the loss would give a
rare image rare but huge gradients; drawing it more often gives it many small ones, each on another augmented view.
Within a kind of image a class is drawn in proportion to the square root of its count: rare classes are lifted, and the
nevi, which make up most of what people upload, are not forgotten. Between folders the shares are set outright. What
imbalance is left, `training.balance` takes out of the logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.dataset import LabelledImage

SQUARE_ROOT, EVEN = 0.5, 0.0
"""Powers of a class's count that it is drawn by."""
# A kind of image counts by the square root of its size too, but never less than this share of the draws.
LEAST_SOURCE_SHARE = 0.3


def draw_probabilities(
    images: Sequence[LabelledImage], class_power: float = SQUARE_ROOT, least_share: float = LEAST_SOURCE_SHARE
) -> NDArray[np.float64]:
    """(n,) probability of each image to be the next one drawn; they sum to 1."""
    sources = np.array([image.source for image in images])
    labels = np.array([image.label for image in images])
    probabilities = np.zeros(len(images))
    for source, share in source_shares(sources, least_share).items():
        inside = sources == source
        classes, counts = np.unique(labels[inside], return_counts=True)
        weights = counts**class_power
        for label, count, weight in zip(classes, counts, weights / weights.sum(), strict=True):
            probabilities[inside & (labels == label)] = share * weight / count
    return probabilities


def source_shares(sources: NDArray[np.str_], least_share: float = LEAST_SOURCE_SHARE) -> dict[str, float]:
    """The share of the draws that each kind of image gets."""
    names, counts = np.unique(sources, return_counts=True)
    least = min(least_share, 1 / len(names))
    roots = np.sqrt(counts)
    lifted = np.zeros(len(names), dtype=bool)
    shares = roots / roots.sum()
    # What the smaller kinds are lifted by, the larger ones give, of whom one may thereby become a smaller one.
    while np.any(low := ~lifted & (shares < least)):
        lifted |= low
        shares = np.where(lifted, least, roots * (1 - least * lifted.sum()) / max(roots[~lifted].sum(), 1e-12))
    return dict(zip(names.tolist(), (shares / shares.sum()).tolist(), strict=True))


def draw(images: Sequence[LabelledImage], count: int, seed: int, class_power: float = SQUARE_ROOT) -> NDArray[np.int64]:
    """(count,) indices into `images`, in random order."""
    return systematic(draw_probabilities(images, class_power), count, np.random.default_rng(seed))


def systematic(probabilities: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(count,) indices drawn by `probabilities`, in random order.

    Systematic rather than independent: each index comes up its expected number of times, to within one, so that none is
    left out by chance where it is expected at least once.
    """
    order = rng.permutation(len(probabilities))
    edges = np.cumsum(probabilities[order])
    points = (rng.random() + np.arange(count)) / count
    return rng.permutation(order[np.minimum(np.searchsorted(edges, points), len(probabilities) - 1)])
