"""Reads a pack's images on all cores and makes the spoiled copies that views are taken from."""

from __future__ import annotations

import io
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from training.data.augmentation import spoiled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config

COPIES = 4
"""Spoiled copies of each training image."""
CHUNK = 128


def read_files(part: Path) -> list[bytes]:
    """The image files in one part of a pack."""
    with np.load(part) as values:
        content, ends = values["bytes"].tobytes(), np.cumsum(values["lengths"]).tolist()
    return [content[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def spoiled_copies(files: Sequence[bytes], config: Config) -> list[NDArray[np.uint32]]:
    """`COPIES` arrays (n, side * side) of packed levels."""
    copies = [np.empty((len(files), config.size**2), np.uint32) for _ in range(COPIES)]
    work = [(files[start : start + CHUNK], start, config) for start in range(0, len(files), CHUNK)]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for (some, start, _), found in zip(work, pool.map(_spoiled, work), strict=True):
            for copy, words in zip(copies, found, strict=True):
                copy[start : start + len(some)] = words
    return copies


def _spoiled(work: tuple[Sequence[bytes], int, Config]) -> list[NDArray[np.uint32]]:
    files, start, config = work
    rng = np.random.default_rng((config.seed, 2, start))
    squares = [decoded(content) for content in files]
    return [packed(np.stack([spoiled(square, rng, config.augmentation) for square in squares])) for _ in range(COPIES)]


def decoded(content: bytes) -> NDArray[np.uint8]:
    """The levels (side, side, 3) of an image file."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def packed(squares: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """(n, side, side, 3) levels as (n, side * side) words of red, green and blue: one read for each pixel."""
    words = squares.astype(np.uint32)
    red, green, blue = (words[..., i] << np.uint32(8 * i) for i in range(3))
    flat: NDArray[np.uint32] = (red | green | blue).reshape(len(squares), -1)
    return flat
