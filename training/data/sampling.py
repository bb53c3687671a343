"""Which images are drawn: for the steps of training, and for checks that are too slow to run on all images.

Training corrects class imbalance by drawing, not by weighting the loss. Two thirds of the dermoscopic images are nevi,
and dermoscopy outnumbers phone photographs 13 to 1. Weighting the loss would give a rare image few but huge gradients;
drawing it more often gives it many small ones, each on a different augmented view. Within a folder a class is drawn in
proportion to the square root of its count, which lifts rare classes and still favours nevi, most of what people upload.
`training.fit.balance` removes the remaining imbalance from the logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.data.dataset import LabelledImage

SQUARE_ROOT, EVEN = 0.5, 0.0
"""A class is drawn in proportion to this power of its count."""
LEAST_SOURCE_SHARE = 0.3
"""A folder is drawn in proportion to the square root of its size too, but gets at least this share of the draws."""


def draw_probabilities(
    images: Sequence[LabelledImage], class_power: float = SQUARE_ROOT, least_share: float = LEAST_SOURCE_SHARE
) -> NDArray[np.float64]:
    """(n,) probability that each image is drawn next; they sum to 1."""
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
    """Each folder's share of the draws; `sources` (n,) has the folder of each image."""
    names, counts = np.unique(sources, return_counts=True)
    least = min(least_share, 1 / len(names))
    roots = np.sqrt(counts)
    lifted = np.zeros(len(names), dtype=bool)
    shares = roots / roots.sum()
    # The larger folders give up what the small ones gain, which may push another folder below the least share.
    while np.any(low := ~lifted & (shares < least)):
        lifted |= low
        shares = np.where(lifted, least, roots * (1 - least * lifted.sum()) / max(roots[~lifted].sum(), 1e-12))
    return dict(zip(names.tolist(), (shares / shares.sum()).tolist(), strict=True))


def draw(images: Sequence[LabelledImage], count: int, seed: int, class_power: float = SQUARE_ROOT) -> NDArray[np.int64]:
    """(count,) indices into `images`, in random order."""
    return systematic(draw_probabilities(images, class_power), count, np.random.default_rng(seed))


def systematic(probabilities: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(count,) indices drawn by `probabilities`, in random order.

    Systematic sampling: each index is drawn its expected number of times, to within one. Independent draws would leave
    some images out by chance.
    """
    order = rng.permutation(len(probabilities))
    edges = np.cumsum(probabilities[order])
    points = (rng.random() + np.arange(count)) / count
    return rng.permutation(order[np.minimum(np.searchsorted(edges, points), len(probabilities) - 1)])


def drawn_by_class(images: Sequence[LabelledImage], lesions: int | None, seed: int) -> list[LabelledImage]:
    """One image each of at most `lesions` lesions of each class and data folder; all images if None.

    Balanced accuracy is a mean over classes: the common ones cost most of the time, the rare ones cause most of the
    uncertainty, so an even draw is nearly as informative as all images. The draw depends only on `images` and `seed`.
    """
    if lesions is None:
        return list(images)
    rng = np.random.default_rng(seed)
    chosen: list[LabelledImage] = []
    shuffled = [images[k] for k in rng.permutation(len(images))]
    counts: dict[tuple[str, int], int] = {}
    seen: set[str] = set()
    for image in shuffled:
        stratum = (image.source, image.label)
        if image.lesion not in seen and counts.get(stratum, 0) < lesions:
            seen.add(image.lesion)
            counts[stratum] = counts.get(stratum, 0) + 1
            chosen.append(image)
    return sorted(chosen, key=lambda image: (image.source, image.image_id))


def drawn_by_folder(images: Sequence[LabelledImage], count: int | None, seed: int) -> list[LabelledImage]:
    """At most `count` images of each data folder, drawn uniformly; all images if None."""
    rng = np.random.default_rng(seed)
    chosen: list[LabelledImage] = []
    for source in sorted({image.source for image in images}):
        own = [image for image in images if image.source == source]
        rows = np.sort(rng.permutation(len(own))[:count])
        chosen += [own[k] for k in rows]
    return chosen
