"""Asks a bundle's classifier about many files that never lay on a disk: the same images, changed in some way."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from model_layer import BATCH, Prediction
from training.dataset import CODES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from model_layer import Classifier
    from training.dataset import LabelledImage

REFUSED = -1
"""Stands for the label of an image that was rejected."""


def labels_of(classifier: Classifier, contents: Iterable[bytes]) -> NDArray[np.int64]:
    """(n,) the model's label of each file's content, as an index into `CODES`; `REFUSED` where there is none."""
    labels = []
    remaining = iter(contents)
    while batch := list(islice(remaining, BATCH)):
        answers = classifier.classify(batch)
        labels += [CODES.index(a.label) if isinstance(a, Prediction) else REFUSED for a in answers]
    return np.array(labels, dtype=np.int64)


def drawn(images: Sequence[LabelledImage], lesions_per_class: int | None, seed: int) -> list[LabelledImage]:
    """At most so many lesions of each class from each data folder, one image of each; all of the images if None.

    Balanced accuracy is a mean over classes: its cost is in the common ones and its uncertainty in the rare ones, so
    that an even draw tells nearly as much as everything would. The draw depends on nothing but the images and `seed`.
    """
    if lesions_per_class is None:
        return list(images)
    rng = np.random.default_rng(seed)
    chosen: list[LabelledImage] = []
    shuffled = [images[k] for k in rng.permutation(len(images))]
    counts: dict[tuple[str, int], int] = {}
    seen: set[str] = set()
    for image in shuffled:
        stratum = (image.source, image.label)
        if image.lesion not in seen and counts.get(stratum, 0) < lesions_per_class:
            seen.add(image.lesion)
            counts[stratum] = counts.get(stratum, 0) + 1
            chosen.append(image)
    return sorted(chosen, key=lambda image: (image.source, image.image_id))
