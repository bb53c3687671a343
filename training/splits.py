"""Divides labelled images into train, calibration and validation so that nothing leaks from one to another.

Images that share a lesion, a patient or their very pixels form one group and stay together; groups are dealt out so
that every kind of image keeps its share of every class. Validation takes part in nothing that is trained or chosen for
a bundle: the epoch to keep is chosen on calibration, so that the figures quoted on validation are of lesions that it
has not seen.
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
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.dataset import LabelledImage

TRAIN, CALIBRATION, VALIDATION = "train", "calibration", "validation"
# Of 20 folds, 5 % of the images each: 65 % train, 15 % calibration, 20 % validation.
_FOLDS = 20
_SPLIT_OF_FOLD = [VALIDATION] * 4 + [CALIBRATION] * 3 + [TRAIN] * 13


def split(images: Sequence[LabelledImage], digests: Sequence[str], seed: int) -> list[str]:
    """One of TRAIN, CALIBRATION, VALIDATION per image; `digests` are of the images' pixels.

    Raises:
        TrainingError: there are too few images to deal out.
    """
    groups = connected_groups([(*image.groups, digest) for image, digest in zip(images, digests, strict=True)])
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


def refuse_leak(former: dict[tuple[str, str], str], images: Sequence[LabelledImage], splits: Sequence[str]) -> None:
    """Held-out images must be new to weights that learned under `former` splits, and unseen ones to their thresholds.

    Raises:
        TrainingError: some are not, since with other images the splits come out otherwise.
    """
    leaks = {(TRAIN, CALIBRATION), (TRAIN, VALIDATION), (CALIBRATION, VALIDATION)}
    pairs = ((former.get((i.source, i.image_id)), now) for i, now in zip(images, splits, strict=True))
    if count := sum(pair in leaks for pair in pairs):
        raise TrainingError(
            f"{count:,} images that the bundle learned from or was chosen on would be taken for unseen, because other "
            "images are dealt out otherwise: give the data folders that it was trained on, and no others."
        )


def read_splits(file: Path) -> dict[tuple[str, str], str]:
    """(source, image_id) to split; empty when the bundle came without the file."""
    if not file.exists():
        return {}
    with file.open(newline="", encoding="utf-8") as stream:
        return {(row["source"], row["image_id"]): row["split"] for row in csv.DictReader(stream)}
