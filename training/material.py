"""The images of a training run: read, decoded, and dealt out to the splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from training.calibration import FOLDS
from training.dataset import read_folders
from training.duplicates import near_duplicates
from training.errors import TrainingError
from training.pixels import decoded_squares, pixel_digest
from training.sampling import SQUARE_ROOT, draw
from training.splits import CALIBRATION, TRAIN, VALIDATION, split

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.dataset import LabelledImage


@dataclass(frozen=True)
class Material:
    """n images with their pixels."""

    images: Sequence[LabelledImage]
    squares: NDArray[np.uint8]
    """(n, size, size, 3)"""
    splits: NDArray[np.str_]
    """(n,) which split each image is in."""
    rows: dict[str, NDArray[np.int64]]
    """Indices of each split's images."""
    digest: str
    """Of all names, labels and pixels."""
    joined: dict[str, int]
    """Pairs of images that are near-duplicates although their ids differ, by the two folders they are in."""

    @classmethod
    def read(cls, folders: Sequence[Path], size: int, seed: int, cache: Path) -> Material:
        """Reads and decodes `folders`, and splits them by `seed`.

        Raises:
            TrainingError: the data does not fit.
        """
        images = read_folders(folders)
        squares = decoded_squares(images, size, cache)
        digests = [pixel_digest(square) for square in squares]
        named = [f"{i.source}/{i.image_id} {i.label} {digest}" for i, digest in zip(images, digests, strict=True)]
        digest = hashlib.sha256("\n".join(named).encode()).hexdigest()
        pairs = near_duplicates(squares, cache / f"duplicates-{digest[:16]}.npy").tolist()
        splits = np.array(split(images, digests, pairs, seed))
        rows = {name: np.flatnonzero(splits == name) for name in (TRAIN, CALIBRATION, VALIDATION)}
        lesions = len({images[i].lesion for i in rows[CALIBRATION]})
        if lesions < FOLDS:
            raise TrainingError(
                f"Only {lesions} lesions or patients came to the calibration split, and {FOLDS} are needed to choose "
                "anything by cross-validation: give more of them."
            )
        print(", ".join(f"{name} {len(members):,}" for name, members in rows.items()))
        return cls(images, squares, splits, rows, digest, _joined(images, pairs))

    def labels(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(len(rows),) indices into `training.dataset.LABELS`."""
        return np.array([self.images[i].label for i in rows])

    def sources(self, rows: NDArray[np.int64]) -> NDArray[np.str_]:
        """(len(rows),) names of the data folders."""
        return np.array([self.images[i].source for i in rows])

    def kinds(self, rows: NDArray[np.int64]) -> NDArray[np.str_]:
        """(len(rows),) how the images were taken."""
        return np.array([self.images[i].kind for i in rows])

    def drawn(self, count: int, seed: int, class_power: float = SQUARE_ROOT) -> NDArray[np.int64]:
        """`count` indices of training images, classes and kinds drawn by `training.sampling`'s defaults."""
        return self.rows[TRAIN][draw([self.images[i] for i in self.rows[TRAIN]], count, seed, class_power)]

    def summary(self) -> dict[str, dict[str, int]]:
        """How many images of each data folder each split has."""
        sources = self.sources(np.arange(len(self.images)))
        return {
            source: {name: int(np.sum(sources[members] == source)) for name, members in self.rows.items()}
            for source in np.unique(sources).tolist()
        }


def _joined(images: Sequence[LabelledImage], pairs: Sequence[tuple[int, int]]) -> dict[str, int]:
    counts = Counter(
        " and ".join(sorted({images[i].source, images[j].source}))
        for i, j in pairs
        if not set(images[i].groups) & set(images[j].groups)
    )
    return dict(sorted(counts.items()))
