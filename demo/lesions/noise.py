"""Seeded random fields over an image, from which everything is drawn.

All fields are float32 of shape (height, width); lengths are in pixels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float32]


def smooth(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> Field:
    """Band-limited noise with bumps about `cell` wide: mean 0, most values within -1..1."""
    height, width = shape
    rows, columns = math.ceil(height / cell) + 3, math.ceil(width / cell) + 3
    coarse = Image.fromarray(rng.standard_normal((rows, columns), dtype=np.float32))
    left, top = (float(x) for x in rng.uniform(0.5, 1.5, 2))  # off the grid, so that no two fields line up
    box = (left, top, left + width / cell, top + height / cell)
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC, box=box), dtype=np.float32) * 0.8


def fractal(
    rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 4, gain: float = 0.55
) -> Field:
    """Sum of `octaves` of `smooth`, each half as wide and `gain` times as high as the last; about -1..1."""
    total = np.zeros(shape, dtype=np.float32)
    weight, power = 1.0, 0.0
    for _ in range(octaves):
        total += np.float32(weight) * smooth(rng, shape, cell)
        power += weight**2
        weight *= gain
        cell = max(cell / 2, 1.0)
    return total / np.float32(math.sqrt(power))


def ridges(rng: np.random.Generator, shape: tuple[int, int], cell: float, width: float) -> Field:
    """Thin winding lines, like vessels or creases, where a noise crosses zero: 1 on the line, 0 off it."""
    return np.asarray(np.exp(-((fractal(rng, shape, cell, 3, 0.4) / np.float32(width)) ** 2)), dtype=np.float32)


def smoothstep(low: float, high: float, values: Field) -> Field:
    """0 up to `low`, 1 from `high` on, a smooth rise between; a fall if low > high."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


class Cells(NamedTuple):
    """A field divided into irregular cells, like cobblestones (Worley 1996). Distances are in pitches."""

    nearest: Field
    """Distance to the cell's own centre, about 0..0.8."""
    wall: Field
    """Second smallest distance minus the smallest: 0 on the wall between two cells."""
    chance: Field
    """A random number 0..1, constant within a cell."""


def cells(
    rng: np.random.Generator, shape: tuple[int, int], pitch: float, *, jitter: float = 0.75, stretch: float = 1.0
) -> Cells:
    """Cells `pitch` wide and `stretch` times as high, bent so that no grid is visible."""
    height, width = shape
    bend = 0.5
    x = np.arange(width, dtype=np.float32)[None, :] / pitch + bend * smooth(rng, shape, pitch * 3)
    y = np.arange(height, dtype=np.float32)[:, None] / (pitch * stretch) + bend * smooth(rng, shape, pitch * 3)
    margin = 4  # the bending and the neighbours may look this many cells over the edge
    rows, columns = math.ceil(height / (pitch * stretch)) + 2 * margin, math.ceil(width / pitch) + 2 * margin
    centre_x = rng.uniform(0.5 - jitter / 2, 0.5 + jitter / 2, rows * columns).astype(np.float32)
    centre_y = rng.uniform(0.5 - jitter / 2, 0.5 + jitter / 2, rows * columns).astype(np.float32)
    chance = rng.random(rows * columns, dtype=np.float32)

    column, row = np.floor(x), np.floor(y)
    inner_x, inner_y = x - column, y - row
    home = (np.clip(row, 1 - margin, rows - margin - 2).astype(np.int32) + margin) * columns + (
        np.clip(column, 1 - margin, columns - margin - 2).astype(np.int32) + margin
    )
    first = np.full(shape, 9.0, dtype=np.float32)
    second = first.copy()
    owner = home
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            index = home + (down * columns + right)
            dx = centre_x[index] + np.float32(right) - inner_x
            dy = centre_y[index] + np.float32(down) - inner_y
            distance = np.sqrt(dx * dx + dy * dy)
            closer = distance < first
            second = np.where(closer, first, np.minimum(second, distance))
            owner = np.where(closer, index, owner)
            first = np.where(closer, distance, first)
    return Cells(first, second - first, chance[owner])
