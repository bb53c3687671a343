"""Divides labelled images into train, calibration and validation so that nothing leaks from one to another.

Images that share a lesion, a patient or their pixels, or are near-duplicates, form one group and stay together, from
whatever folder they come. Groups are dealt out so that every folder keeps its share of every class: a tenth of the
images to calibration, a tenth to validation. Validation takes part in nothing that is trained or chosen for a bundle,
so that the figures quoted on it are of lesions that the bundle has not seen.
"""

from __future__ import annotations

import csv
import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from training.dataset import CODES
from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.dataset import LabelledImage

TRAIN, CALIBRATION, VALIDATION = "train", "calibration", "validation"
_SPLIT_OF_FOLD = [VALIDATION, CALIBRATION] + [TRAIN] * 8
_FOLDS = len(_SPLIT_OF_FOLD)


def split(
    images: Sequence[LabelledImage], digests: Sequence[str], duplicates: Iterable[tuple[int, int]], seed: int
) -> list[str]:
    """One of TRAIN, CALIBRATION, VALIDATION per image.

    `digests` are of the images' pixels, `duplicates` pairs of positions of images that show one lesion.

    Raises:
        TrainingError: there are too few images to deal out.
    """
    keys = [[*image.groups, digest] for image, digest in zip(images, digests, strict=True)]
    for first, second in duplicates:
        keys[first].append(f"duplicate/{first}/{second}")
        keys[second].append(f"duplicate/{first}/{second}")
    groups = connected_groups(keys)
    strata = [f"{image.source}/{CODES[image.label]}" for image in images]
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    fold_of = np.zeros(len(images), dtype=int)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a rare class has fewer images than there are folds
            for fold, (_, members) in enumerate(folds.split(strata, strata, groups)):
                fold_of[members] = fold
    except ValueError as error:
        raise TrainingError(f"The images cannot be split: {str(error).rstrip('.')}.") from None
    return [_SPLIT_OF_FOLD[fold] for fold in fold_of]


def connected_groups(keys: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """One group number per item: items are in one group when a chain of shared keys joins them."""
    parent = list(range(len(keys)))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    first_with: dict[str, int] = {}
    for item, its_keys in enumerate(keys):
        for key in its_keys:
            parent[root(item)] = root(first_with.setdefault(key, item))
    return np.array([root(item) for item in range(len(keys))])


def write_splits(file: Path, images: Sequence[LabelledImage], splits: Sequence[str]) -> None:
    """Writes one row per image: source, image_id, split."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["source", "image_id", "split"])
        writer.writerows([image.source, image.image_id, s] for image, s in zip(images, splits, strict=True))


def read_splits(file: Path) -> dict[tuple[str, str], str]:
    """(source, image_id) to split; empty when the bundle came without the file."""
    if not file.exists():
        return {}
    with file.open(newline="", encoding="utf-8") as stream:
        return {(row["source"], row["image_id"]): row["split"] for row in csv.DictReader(stream)}
