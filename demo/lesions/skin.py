"""The colours of skin, from the absorbers in it.

Skin is a pale ground under two absorbers, melanin (brown) and blood (red), with exponential (Beer-Lambert) attenuation.
So every mixture looks like skin, from Fitzpatrick type I to VI, and a lesion is just more of the same melanin. Amounts
are relative: melanin 0.1 is type I, 1.6 is type VI, and 2 a dark mole on pale skin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.lesions.noise import Field, cells, fractal, ridges

Colours = NDArray[np.float32]
"""(height, width, 3), sRGB display values 0..1."""

# Attenuation of display red, green and blue per unit, fitted by eye: melanin takes blue first, blood spares red.
MELANIN = np.array([0.60, 0.98, 1.38], dtype=np.float32)
BLOOD = np.array([0.10, 0.85, 0.62], dtype=np.float32)
GROUND = np.array([0.97, 0.93, 0.90], dtype=np.float32)
# The surface's own reflection, which remains where everything is absorbed.
FLOOR = np.array([0.075, 0.055, 0.055], dtype=np.float32)

FITZPATRICK_MELANIN = (0.10, 0.20, 0.36, 0.62, 1.00, 1.45)
"""Melanin of skin types I to VI."""


@dataclass(frozen=True, slots=True)
class Skin:
    """The absorbers of healthy skin, each a field."""

    melanin: Field
    blood: Field


def healthy_skin(rng: np.random.Generator, shape: tuple[int, int], fitzpatrick: int, pitch: float) -> Skin:
    """Skin of type 1..6; its fine pattern has cells of `pitch` pixels."""
    tone = FITZPATRICK_MELANIN[fitzpatrick - 1] * float(rng.uniform(0.85, 1.2))
    # Much melanin hides the red of the blood.
    flush = float(rng.uniform(0.08, 0.46)) / (1 + 0.9 * tone)
    pattern = cells(rng, shape, pitch)
    # A brown mesh around paler openings, clearer on darker skin.
    mesh = (np.exp(-((pattern.wall / 0.3) ** 2)) - 0.3) * (1 + 0.6 * fractal(rng, shape, 40, 3))
    mottle = fractal(rng, shape, 90, 6, 0.7)
    freckles = np.clip(fractal(rng, shape, 34, 4, 0.75) - 0.5, 0, None)
    melanin = tone * (1 + 0.11 * mottle + 0.08 * mesh) + float(rng.uniform(0.02, 0.12)) * freckles
    vessels = ridges(rng, shape, 110, 0.06) * np.clip(fractal(rng, shape, 160, 2), 0, None)
    blood = flush * (1 + 0.26 * fractal(rng, shape, 120, 6, 0.7) + 0.13 * fractal(rng, shape, 8, 3, 0.85))
    blood = blood + float(rng.uniform(0.0, 0.16)) * vessels
    return Skin(np.asarray(melanin, dtype=np.float32), np.asarray(np.clip(blood, 0, None), dtype=np.float32))


def colour(melanin: Field, blood: Field) -> Colours:
    """The colours of the two absorbers' amounts."""
    absorbed = melanin[..., None] * MELANIN + blood[..., None] * BLOOD
    return np.asarray(FLOOR + (GROUND - FLOOR) * np.exp(-absorbed), dtype=np.float32)


def blended(colours: Colours, over: tuple[float, float, float], amount: Field) -> Colours:
    """`colours` with `over` laid on, `amount` (0..1) of it."""
    weight = amount[..., None]
    return np.asarray(colours * (1 - weight) + np.array(over, dtype=np.float32) * weight, dtype=np.float32)
