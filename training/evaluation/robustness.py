"""Balanced accuracy on the same lesions after degrading their images: worse files, other light, rotations.

Each image is its own control: the same lesions are compared before and after, and the bootstrap resamples both
together. A difference whose interval contains 0 is no evidence of a change.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from model_layer import BATCH, Prediction
from training.data.dataset import CODES
from training.data.degradations import as_file, blurred, brightened, cast, compressed, opened, shrunk, turned
from training.evaluation.bootstrap import estimate, lesion_weights, mean_recall
from training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from model_layer import Classifier
    from training.data.dataset import LabelledImage

LESIONS = 30
"""Default number per class and data folder, one image of each: minutes instead of half an hour."""
REFUSED = -1
"""The label of an image that was rejected."""


def changes(size: int) -> dict[str, Callable[[Image.Image], Image.Image]]:
    """The changes, by their names in the table, for a network of `size` pixels."""
    return {
        "as they are": lambda image: image,
        "JPEG quality 30": lambda image: compressed(image, 30),
        # Half of the network's input: half of a larger photograph would change nothing.
        "half resolution": lambda image: shrunk(image, min(size, *image.size) // 2),
        "20 % brighter": lambda image: brightened(image, 1.2),
        "20 % darker": lambda image: brightened(image, 0.8),
        "warm colour cast": lambda image: cast(image, 1.1, 1.0, 0.85),  # from daylight to a warm lamp, uncorrected
        "cold colour cast": lambda image: cast(image, 0.85, 1.0, 1.1),
        "turned by 90°": lambda image: turned(image, 1),
        "turned by 180°": lambda image: turned(image, 2),
        "turned by 270°": lambda image: turned(image, 3),
        "light blur": lambda image: blurred(image, 1 / size),  # one pixel of the network's input
    }


def robustness(classifier: Classifier, images: Sequence[LabelledImage]) -> dict[str, dict[str, Any]]:
    """Data folder to `images`, `lesions` and, under `changes`, the figures of each change.

    These are `balanced_accuracy` and `difference` (to the unchanged images), each with `_ci`, and `same_label`, the
    share of images whose label does not change. A rejected image counts as wrong.
    """
    size = classifier.bundle.input_size
    ways = changes(size)
    labels = {}
    with Progress("changing images", len(ways) * len(images)) as progress:
        for name, change in ways.items():
            labels[name] = labels_of(classifier, (as_file(change(opened(image.path, size))) for image in images))
            progress.advance(len(images))
    first = next(iter(ways))
    tables: dict[str, dict[str, Any]] = {}
    for source in sorted({image.source for image in images}):
        rows = np.array([k for k, image in enumerate(images) if image.source == source])
        own = [images[k] for k in rows]
        truth = np.array([image.label for image in own])
        weights = lesion_weights([image.lesion for image in own])
        reference = mean_recall(weights, labels[first][rows] == truth, truth)
        table = {}
        for name in ways:
            changed = mean_recall(weights, labels[name][rows] == truth, truth)
            value, ci = estimate(changed)
            difference, difference_ci = estimate(changed - reference)
            same = float(np.mean(labels[name][rows] == labels[first][rows]))
            table[name] = {
                "balanced_accuracy": value,
                "balanced_accuracy_ci": ci,
                "difference": difference,
                "difference_ci": difference_ci,
                "same_label": same,
            }
        lesions = len({image.lesion for image in own})
        tables[source] = {"images": len(own), "lesions": lesions, "changes": table}
    return tables


def labels_of(classifier: Classifier, contents: Iterable[bytes]) -> NDArray[np.int64]:
    """(n,) the model's label of each file, as an index into `CODES`, or `REFUSED`."""
    labels = []
    remaining = iter(contents)
    while batch := list(islice(remaining, BATCH)):
        answers = classifier.classify(batch)
        labels += [CODES.index(a.label) if isinstance(a, Prediction) else REFUSED for a in answers]
    return np.array(labels, dtype=np.int64)
