"""How a synthetic lesion looks: its shape, and the pigment and blood inside it.

The looks are named after what one sees. None represents a disease.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from demo.lesions.noise import Field, cells, fractal, ridges, smooth, smoothstep
from demo.lesions.skin import Colours, Skin, blended, colour

BLUE_GREY = (0.40, 0.42, 0.49)
WHITE = (0.93, 0.88, 0.86)


@dataclass(frozen=True, slots=True)
class Look:
    """Amounts are in the units of `demo.lesions.skin`; 0 leaves a feature out."""

    radius: float = 0.27
    """Mean radius as a share of the image's height."""
    elongation: float = 1.25
    lobes: int = 1
    irregularity: float = 0.12
    """How far the border wanders, as a share of the radius."""
    softness: float = 0.09
    """Width of the border's fade, as a share of the radius."""
    pigment: float = 1.0
    core: float = 0.3
    """How much more pigment the centre has than the rim."""
    variegation: float = 0.3
    network: float = 0.0
    globules: float = 0.0
    dots: float = 0.0
    blood: float = 0.15
    vessels: float = 0.0
    lacunae: float = 0.0
    veil: float = 0.0
    """Blue-grey film over part of it."""
    regression: float = 0.0
    """Whitish patches where pigment is gone."""
    pearls: float = 0.0
    """Small white spots."""


LOOKS: dict[str, Look] = {
    "reticular": Look(network=0.85, pigment=0.75, core=0.55, radius=0.31, softness=0.16, irregularity=0.14),
    "globular": Look(globules=0.9, pigment=0.8, core=0.1, softness=0.07, irregularity=0.08, elongation=1.35),
    "homogeneous": Look(pigment=1.15, core=0.7, softness=0.15, variegation=0.2, network=0.25, radius=0.22),
    "ink": Look(pigment=2.3, core=0.5, softness=0.05, irregularity=0.16, network=0.5, radius=0.19, elongation=1.1),
    "variegated": Look(
        lobes=3, irregularity=0.24, softness=0.06, pigment=1.35, variegation=0.75, network=0.45, dots=1.1,
        veil=0.8, regression=0.55, radius=0.31, blood=0.3,
    ),
    "patchy": Look(
        lobes=4, irregularity=0.32, softness=0.2, pigment=0.9, variegation=1.0, network=0.3, dots=0.8, radius=0.26
    ),
    "rosy": Look(
        pigment=0.16, blood=0.75, vessels=0.9, softness=0.22, irregularity=0.17, variegation=0.5, regression=0.35,
        dots=0.35, radius=0.28,
    ),
    "cherry": Look(pigment=0.3, blood=1.9, lacunae=1.3, softness=0.05, irregularity=0.07, radius=0.2, veil=0.25),
    "waxy": Look(
        pigment=0.8, variegation=0.45, softness=0.035, irregularity=0.10, pearls=0.85, dots=0.9, globules=0.35,
        elongation=1.45, radius=0.32, core=-0.1,
    ),
    "scar-centred": Look(pigment=0.6, core=-0.75, network=0.6, softness=0.25, blood=0.25, regression=0.3, radius=0.24),
}  # fmt: skip
"""Families of looks; `varied` draws members."""


def varied(rng: np.random.Generator, look: Look) -> Look:
    """A member of the family, with each amount a little higher or lower."""

    def some(value: float, spread: float = 0.25) -> float:
        return value * float(rng.uniform(1 - spread, 1 + spread))

    return replace(
        look,
        radius=some(look.radius),
        elongation=max(1.0, some(look.elongation, 0.2)),
        irregularity=some(look.irregularity, 0.35),
        softness=some(look.softness, 0.4),
        pigment=some(look.pigment),
        variegation=some(look.variegation, 0.4),
        network=some(look.network),
        veil=some(look.veil, 0.4),
        regression=some(look.regression, 0.5),
    )


@dataclass(frozen=True, slots=True)
class Shape:
    """Where the lesion is."""

    inside: Field
    """1 inside, 0 outside, and a fade at the border."""
    reach: Field
    """Distance from the centre, 1 on the (irregular) border."""
    radius: float
    """Pixels."""


def shape_of(rng: np.random.Generator, look: Look, size: tuple[int, int]) -> Shape:
    """Draws the outline: one ellipse a lobe, melted together and bent by smooth noise."""
    height, width = size
    radius = look.radius * height
    x = np.arange(width, dtype=np.float32)[None, :] - width / 2 - float(rng.normal(0, 0.035)) * height
    y = np.arange(height, dtype=np.float32)[:, None] - height / 2 - float(rng.normal(0, 0.035)) * height
    wander = look.irregularity * radius
    x = x + wander * fractal(rng, size, radius * 1.1, 4, 0.42)
    y = y + wander * fractal(rng, size, radius * 1.1, 4, 0.42)
    reach = np.full(size, np.inf, dtype=np.float32)
    for lobe in range(look.lobes):
        share = 1.0 if look.lobes == 1 else float(rng.uniform(0.45, 0.75))
        away = 0.0 if lobe == 0 else radius * float(rng.uniform(0.45, 0.75))
        towards, turn = (float(a) for a in rng.uniform(0, 2 * math.pi, 2))
        dx, dy = x - away * math.cos(towards), y - away * math.sin(towards)
        along = dx * math.cos(turn) + dy * math.sin(turn)
        across = dy * math.cos(turn) - dx * math.sin(turn)
        stretch = math.sqrt(look.elongation)
        own = np.hypot(along / stretch, across * stretch) / (radius * share)
        reach = np.minimum(reach, own) - 0.12 * np.exp(-4 * np.abs(np.minimum(reach, 9) - own))  # melts lobes together
    reach = reach * (1 + 0.55 * look.irregularity * fractal(rng, size, radius * 0.4, 4, 0.6))  # the jagged part
    softness = look.softness * np.exp(0.7 * smooth(rng, size, radius))  # sharp here, fading there
    inside = 1 / (1 + np.exp(np.clip((reach - 1) / softness * 2.2, -30, 30)))
    return Shape(inside.astype(np.float32), reach.astype(np.float32), radius)


def drawn(rng: np.random.Generator, skin: Skin, look: Look, shape: Shape, pitch: float) -> Colours:
    """The colours of the skin with the lesion; the pigment mesh has cells of `pitch` pixels."""
    size, inside = shape.inside.shape, shape.inside
    centre = np.clip(1 - shape.reach**2, 0, 1)
    pigment = look.pigment * (1 + look.core * (2 * centre - 1) * 0.6)
    pigment = pigment * np.exp(look.variegation * fractal(rng, size, shape.radius * 0.55, 5, 0.6))
    pigment = pigment * (1 + 0.2 * fractal(rng, size, 8, 3, 0.85))
    blood = look.blood * (1 + 0.4 * fractal(rng, size, shape.radius * 0.4, 4))

    if look.network:
        mesh = cells(rng, size, pitch)
        thickness = 0.26 * np.exp(0.35 * smooth(rng, size, pitch * 4))
        lines = np.exp(-((mesh.wall / thickness) ** 2)) * (1 + 0.35 * smooth(rng, size, pitch * 1.5))
        # Clear at the rim, hidden by the pigment in the centre, and uneven everywhere.
        where = smoothstep(0.1, 0.8, shape.reach) * smoothstep(-0.9, 0.7, fractal(rng, size, shape.radius * 0.5, 3))
        pigment = pigment * (1 + look.network * where * (1.5 * lines - 0.7))
    if look.globules:
        stones = smoothstep(0.62, 0.25, cells(rng, size, pitch * 1.25).nearest)
        pigment = pigment * (1 + look.globules * (stones - 0.55))
    if look.dots:
        spots = cells(rng, size, pitch * 1.6)
        strength = smoothstep(0.24, 0.12, spots.nearest) * (spots.chance > 0.62)
        pigment = pigment + look.dots * strength * np.clip(smooth(rng, size, shape.radius * 0.6) + 0.2, 0, 1)
    if look.vessels:
        blood = blood + look.vessels * ridges(rng, size, shape.radius * 0.35, 0.07)
    if look.lacunae:
        lumps = cells(rng, size, shape.radius * 0.3)
        blood = blood + look.lacunae * (smoothstep(0.75, 0.15, lumps.nearest) - 0.4) * (0.7 + 0.6 * lumps.chance)
        pigment = pigment + 0.5 * look.lacunae * smoothstep(0.6, 0.2, lumps.nearest) * lumps.chance
    pale = look.regression * smoothstep(0.25, 1.0, fractal(rng, size, shape.radius * 0.7, 3))
    pigment = pigment * (1 - np.clip(pale, 0, 1))

    melanin = skin.melanin + inside * np.clip(pigment, 0, None)
    colours = colour(np.asarray(melanin, dtype=np.float32), skin.blood + inside * np.clip(blood, 0, None))
    colours = blended(colours, WHITE, 0.28 * inside * np.clip(pale, 0, 1))
    if look.veil:
        film = smoothstep(-0.1, 0.9, fractal(rng, size, shape.radius * 0.8, 3)) * smoothstep(1.05, 0.6, shape.reach)
        colours = blended(colours, BLUE_GREY, np.clip(look.veil, 0, 1) * 0.62 * film)
    if look.pearls:
        beads = cells(rng, size, pitch * 2.4)
        bead = smoothstep(0.22, 0.10, beads.nearest) * (beads.chance > 0.72) * inside
        colours = blended(colours, (0.95, 0.88, 0.76), 0.75 * look.pearls * bead)
    return colours
