"""Balanced accuracy when the same lesions come as a worse file, in other light, or turned.

Each image is its own control: what is compared is the same draw of lesions, changed and unchanged, and the bootstrap
draws both together. A smaller change than the interval of the difference is not to be read as one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training.bootstrap import estimate, lesion_weights, mean_recall
from training.degradations import as_file, blurred, brightened, cast, compressed, opened, shrunk, turned
from training.probe import labels_of
from training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL import Image

    from model_layer import Classifier
    from training.dataset import LabelledImage

LESIONS = 30
"""Of each class and data folder, by default: one image of each, 300 in all, minutes instead of half an hour."""


def changes(size: int) -> dict[str, Callable[[Image.Image], Image.Image]]:
    """What is done to images for a network of `size` pixels, by the name it has in the table."""
    return {
        "as they are": lambda image: image,
        "JPEG quality 30": lambda image: compressed(image, 30),
        # Of what the network sees: half of a photograph that is larger than that would change nothing.
        "half resolution": lambda image: shrunk(image, min(size, *image.size) // 2),
        "20 % brighter": lambda image: brightened(image, 1.2),
        "20 % darker": lambda image: brightened(image, 0.8),
        "warm colour cast": lambda image: cast(image, 1.1, 1.0, 0.85),  # as from daylight to a warm lamp, uncorrected
        "cold colour cast": lambda image: cast(image, 0.85, 1.0, 1.1),
        "turned by 90°": lambda image: turned(image, 1),
        "turned by 180°": lambda image: turned(image, 2),
        "turned by 270°": lambda image: turned(image, 3),
        "light blur": lambda image: blurred(image, 1 / size),  # one pixel of the network's input
    }


def robustness(classifier: Classifier, images: Sequence[LabelledImage]) -> dict[str, dict[str, Any]]:
    """Data folder to its table: `images`, `lesions` and, under `changes`, each change with its figures.

    A change's figures are `balanced_accuracy` and `difference` (from the images as they are), each with `_ci`, and
    `same_label`, the share of images whose label stays. A rejected image counts as wrong.
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
