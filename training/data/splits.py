"""Splits labelled images into train, calibration and validation without leaks, and remembers a bundle's split.

Images that share a lesion, a patient or their pixels, or are near-duplicates, form one group. A group stays in one
split, even when its images come from several folders. Every folder keeps its share of every class: a tenth of the
images goes to calibration, a tenth to validation. Nothing is trained or chosen on the validation split, so the figures
quoted on it are of lesions that the bundle has not seen.
"""

from __future__ import annotations

import csv
import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from training.data.dataset import CODES
from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.data.dataset import LabelledImage

TRAIN, CALIBRATION, VALIDATION = "train", "calibration", "validation"
_SPLIT_OF_FOLD = [VALIDATION, CALIBRATION] + [TRAIN] * 8
_FOLDS = len(_SPLIT_OF_FOLD)
CROSS_VALIDATION = 5
"""Folds over the lesions of the calibration split, wherever something is chosen on it by cross-validation."""


def grouped(
    images: Sequence[LabelledImage], digests: Sequence[str], duplicates: Iterable[tuple[int, int]]
) -> NDArray[np.int64]:
    """(n,) the number of each image's group.

    `digests` has one digest of pixels per image; `duplicates` are pairs of positions of images of the same lesion.
    """
    keys = [[*image.groups, digest] for image, digest in zip(images, digests, strict=True)]
    for first, second in duplicates:
        keys[first].append(f"duplicate/{first}/{second}")
        keys[second].append(f"duplicate/{first}/{second}")
    return connected_groups(keys)


def split(images: Sequence[LabelledImage], groups: NDArray[np.int64], seed: int) -> list[str]:
    """One of TRAIN, CALIBRATION, VALIDATION per image; `groups` are those of `grouped`.

    Raises:
        TrainingError: there are too few images to split.
    """
    return [_SPLIT_OF_FOLD[fold] for fold in _folds(images, groups, _FOLDS, seed)]


def halves(images: Sequence[LabelledImage], groups: NDArray[np.int64], seed: int = 0) -> list[str]:
    """CALIBRATION or VALIDATION per image; `groups` are those of `grouped`.

    Raises:
        TrainingError: there are too few images to split.
    """
    return [(CALIBRATION, VALIDATION)[fold] for fold in _folds(images, groups, 2, seed)]


def _folds(images: Sequence[LabelledImage], groups: NDArray[np.int64], count: int, seed: int) -> list[int]:
    """The fold of each image; every folder keeps its share of every class in each fold, as far as groups allow."""
    strata = [f"{image.source}/{CODES[image.label]}" for image in images]
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    fold_of = np.zeros(len(images), dtype=int)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns of classes with fewer images than folds
            for fold, (_, members) in enumerate(folds.split(strata, strata, groups)):
                fold_of[members] = fold
    except ValueError as error:
        raise TrainingError(f"The images cannot be split: {str(error).rstrip('.')}.") from None
    return [int(fold) for fold in fold_of]


def connected_groups(keys: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """One group number per item; items that are linked by a chain of shared keys get the same number."""
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
    write_rows(file, {(image.source, image.image_id): s for image, s in zip(images, splits, strict=True)})


def write_rows(file: Path, splits: dict[tuple[str, str], str]) -> None:
    """Writes what `read_splits` reads."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["source", "image_id", "split"])
        writer.writerows([*image, split] for image, split in splits.items())


def read_splits(file: Path) -> dict[tuple[str, str], str]:
    """Maps (source, image_id) to a split; empty when the bundle has no such file."""
    if not file.exists():
        return {}
    with file.open(newline="", encoding="utf-8") as stream:
        return {(row["source"], row["image_id"]): row["split"] for row in csv.DictReader(stream)}


def unseen(images: Sequence[LabelledImage], bundle: Path) -> list[LabelledImage]:
    """The images that the bundle was neither trained nor calibrated on, according to its `splits.csv`.

    Raises:
        TrainingError: there are none.
    """
    splits = read_splits(bundle / "splits.csv")
    left = [i for i in images if splits.get((i.source, i.image_id), VALIDATION) == VALIDATION]
    if left_out := len(images) - len(left):
        print(f"{left_out:,} images that this bundle was trained or calibrated on are left out.")
    if not left:
        raise TrainingError("The bundle was trained or calibrated on every one of these images; give other images.")
    return left


def for_choosing(images: Sequence[LabelledImage], bundle: Path) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Images that thresholds may be chosen on: the calibration split, and everything outside the validation split.

    Images that the bundle's `splits.csv` does not name are in both.
    """
    splits = read_splits(bundle / "splits.csv")
    known = [splits.get((i.source, i.image_id), CALIBRATION) for i in images]
    held = [image for image, split in zip(images, known, strict=True) if split == CALIBRATION]
    return held, [image for image, split in zip(images, known, strict=True) if split != VALIDATION]
