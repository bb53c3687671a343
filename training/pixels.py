"""Decodes labelled images once, through the very function that serves, and keeps the squares on disk."""

from __future__ import annotations

import hashlib
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from model_layer import ImageRejectedError, decode
from training.errors import TrainingError
from training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.dataset import LabelledImage


def decoded_squares(images: Sequence[LabelledImage], size: int, cache: Path) -> NDArray[np.uint8]:
    """(n, size, size, 3) sRGB pixels of `images`, memory-mapped from `cache`, decoded first where they are not there.

    Raises:
        TrainingError: an image is one that the worker would reject.
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
    with Progress("decoding", len(images)) as progress, ProcessPoolExecutor() as pool:
        for index, square in enumerate(pool.map(_decode_file, jobs, chunksize=64)):
            if isinstance(square, str):
                pool.shutdown(wait=False, cancel_futures=True)
                raise TrainingError(f"{images[index].path} cannot be used: {square} Remove its row or mend the file.")
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
    """The same for two files that show the same pixels, however they are called or encoded."""
    return hashlib.sha256(np.ascontiguousarray(square).tobytes()).hexdigest()
