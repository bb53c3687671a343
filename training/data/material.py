"""The images of a training run: read, decoded by the function that also serves, cached, and split."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model_layer import ImageRejectedError
from model_layer.decoding import decode
from training.data.dataset import read_folders
from training.data.duplicates import near_duplicates
from training.data.sampling import SQUARE_ROOT, draw
from training.data.splits import CALIBRATION, CROSS_VALIDATION, TRAIN, VALIDATION, grouped, split
from training.errors import TrainingError
from training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.data.dataset import LabelledImage

FEW = 1_000
"""So many images are decoded sooner than other processes have started."""
_CLEAN = multiprocessing.get_context("spawn")
"""Starts processes anew: a copy of this one could wait for ever for a thread of TensorFlow's that it lacks."""


@dataclass(frozen=True)
class Material:
    """n images with their pixels and splits."""

    images: Sequence[LabelledImage]
    squares: NDArray[np.uint8]
    """(n, size, size, 3)"""
    splits: NDArray[np.str_]
    """(n,) the split of each image."""
    rows: dict[str, NDArray[np.int64]]
    """Indices of each split's images."""
    digest: str
    """SHA-256 over all names, labels and pixels."""
    without: tuple[str, ...]
    """Data folders that are in the validation split, with all other images of their lesions and patients."""
    related: Sequence[tuple[str, ...]]
    """For each image, the data folders that have an image of its lesion or patient, its own among them."""
    joined: dict[str, int]
    """How many near-duplicate pairs have different ids, by the folders that they are in."""

    @classmethod
    def read(
        cls, folders: Sequence[Path], size: int, seed: int, cache: Path, without: Collection[str] = ()
    ) -> Material:
        """Reads, decodes and splits the images of `folders`.

        Images of the folders `without` are in the validation split, with all others of their lesions and patients.

        Raises:
            TrainingError: the data cannot be used.
        """
        images = read_folders(folders)
        squares = decoded_squares(images, size, cache)
        digests = [pixel_digest(square) for square in squares]
        named = [f"{i.source}/{i.image_id} {i.label} {digest}" for i, digest in zip(images, digests, strict=True)]
        digest = hashlib.sha256("\n".join(named).encode()).hexdigest()
        pairs = near_duplicates(squares, cache / f"duplicates-{digest[:16]}.npy").tolist()
        groups = grouped(images, digests, pairs)
        related = _related(images, groups)
        splits = np.array(split(images, groups, seed))
        splits[[not set(without).isdisjoint(folders) for folders in related]] = VALIDATION
        rows = {name: np.flatnonzero(splits == name) for name in (TRAIN, CALIBRATION, VALIDATION)}
        lesions = len({images[i].lesion for i in rows[CALIBRATION]})
        if lesions < CROSS_VALIDATION:
            raise TrainingError(
                f"The calibration split has only {lesions} lesions or patients, and cross-validation needs "
                f"{CROSS_VALIDATION}: give more images."
            )
        print(", ".join(f"{name} {len(members):,}" for name, members in rows.items()))
        return cls(images, squares, splits, rows, digest, tuple(without), related, _joined(images, pairs))

    def labels(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(len(rows),) indices into `LABELS`."""
        return np.array([self.images[i].label for i in rows])

    def sources(self, rows: NDArray[np.int64]) -> NDArray[np.str_]:
        """(len(rows),) names of the data folders."""
        return np.array([self.images[i].source for i in rows])

    def kinds(self, rows: NDArray[np.int64]) -> NDArray[np.str_]:
        """(len(rows),) how the images were taken."""
        return np.array([self.images[i].kind for i in rows])

    def drawn(self, count: int, seed: int, class_power: float = SQUARE_ROOT) -> NDArray[np.int64]:
        """(count,) indices of training images, drawn as in `training.data.sampling`."""
        return self.rows[TRAIN][draw([self.images[i] for i in self.rows[TRAIN]], count, seed, class_power)]

    def summary(self) -> dict[str, dict[str, int]]:
        """Data folder to split to number of images."""
        sources = self.sources(np.arange(len(self.images)))
        return {
            source: {name: int(np.sum(sources[members] == source)) for name, members in self.rows.items()}
            for source in np.unique(sources).tolist()
        }


def _related(images: Sequence[LabelledImage], groups: NDArray[np.int64]) -> list[tuple[str, ...]]:
    folders: dict[int, set[str]] = {}
    for image, group in zip(images, groups.tolist(), strict=True):
        folders.setdefault(group, set()).add(image.source)
    return [tuple(sorted(folders[group])) for group in groups.tolist()]


def _joined(images: Sequence[LabelledImage], pairs: Sequence[tuple[int, int]]) -> dict[str, int]:
    counts = Counter(
        " and ".join(sorted({images[i].source, images[j].source}))
        for i, j in pairs
        if not set(images[i].groups) & set(images[j].groups)
    )
    return dict(sorted(counts.items()))


def decoded_squares(images: Sequence[LabelledImage], size: int, cache: Path) -> NDArray[np.uint8]:
    """(n, size, size, 3) sRGB pixels of `images`, memory-mapped from `cache`, which is filled on the first call.

    Raises:
        TrainingError: the worker would reject one of the images.
    """
    key = hashlib.sha256(str(size).encode())
    for image in images:
        key.update(f"{image.path.resolve()}:{image.path.stat().st_size}".encode())
    file = cache / f"pixels-{key.hexdigest()[:16]}.npy"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _decode_all(images, size, file)
    squares: NDArray[np.uint8] = np.load(file, mmap_mode="r")
    return squares


def _decode_all(images: Sequence[LabelledImage], size: int, file: Path) -> None:
    partial = file.with_suffix(".partial.npy")
    shape = (len(images), size, size, 3)
    squares = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    jobs = [(image.path, size) for image in images]
    with Progress("decoding", len(images)) as progress, ProcessPoolExecutor(mp_context=_CLEAN) as pool:
        decoded = pool.map(_decode_file, jobs, chunksize=64) if len(jobs) > FEW else map(_decode_file, jobs)
        for index, square in enumerate(decoded):
            if isinstance(square, str):
                pool.shutdown(wait=False, cancel_futures=True)
                raise TrainingError(f"{images[index].path} cannot be used: {square} Remove its row or repair the file.")
            squares[index] = square
            progress.advance()
    squares.flush()
    partial.replace(file)


def _decode_file(job: tuple[Path, int]) -> NDArray[np.uint8] | str:
    path, size = job
    try:
        return decode(path.read_bytes(), size).pixels
    except ImageRejectedError as error:
        return str(error)


def pixel_digest(square: NDArray[np.uint8]) -> str:
    """The same for two files with the same pixels, whatever their names and formats."""
    return hashlib.sha256(np.ascontiguousarray(square).tobytes()).hexdigest()
