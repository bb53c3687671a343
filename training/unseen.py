"""Which images a bundle has not seen: only on those do figures tell how good it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.errors import TrainingError
from training.splits import CALIBRATION, VALIDATION, read_splits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from training.dataset import LabelledImage


def unseen(images: Sequence[LabelledImage], bundle: Path) -> list[LabelledImage]:
    """Leaves out the images that the bundle's `splits.csv` says it was trained or calibrated on.

    Raises:
        TrainingError: none is left.
    """
    splits = read_splits(bundle / "splits.csv")
    left = [i for i in images if splits.get((i.source, i.image_id), VALIDATION) == VALIDATION]
    if left_out := len(images) - len(left):
        print(f"{left_out:,} images that this bundle was trained or calibrated on are left out (SPLIT=all keeps them).")
    if not left:
        raise TrainingError("The bundle was trained or calibrated on every one of these images; give it others.")
    return left


def for_choosing(images: Sequence[LabelledImage], bundle: Path) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """What thresholds may be chosen on: images that the network has not learned from, and all but the validation split.

    Both are all of `images` where the bundle says nothing of them.
    """
    splits = read_splits(bundle / "splits.csv")
    known = [splits.get((i.source, i.image_id), CALIBRATION) for i in images]
    held = [image for image, split in zip(images, known, strict=True) if split == CALIBRATION]
    return held, [image for image, split in zip(images, known, strict=True) if split != VALIDATION]
