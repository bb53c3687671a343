"""The two kinds of photograph: through a dermoscope, and with a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from demo.lesions.foreground import with_bubbles, with_hair, with_pen_mark, with_ruler, with_vignette
from demo.lesions.looks import LOOKS, Look, Shape, drawn, shape_of, varied
from demo.lesions.noise import cells, fractal, smooth, smoothstep
from demo.lesions.skin import blended, healthy_skin

if TYPE_CHECKING:
    from demo.lesions.skin import Colours

DERMOSCOPY_SIZE = (600, 450)
"""(width, height), as HAM10000's originals."""
PHONE_SIZE = (640, 480)


def dermoscopy(seed: int, look: str | None = None, fitzpatrick: int | None = None) -> Image.Image:
    """A close-up under polarised light, 600 x 450 pixels; the same seed gives the same picture.

    `look` is a key of `demo.lesions.looks.LOOKS` and `fitzpatrick` a skin type of 1..6; by default the seed chooses.
    """
    rng = np.random.default_rng([seed, 1])
    width, height = DERMOSCOPY_SIZE
    size = height, width
    chosen = varied(rng, LOOKS[look or str(rng.choice(sorted(LOOKS)))])
    tone = fitzpatrick or int(rng.integers(1, 7))
    pitch = float(rng.uniform(7.0, 10.5))
    skin = healthy_skin(rng, size, tone, pitch * 1.3)
    colours = drawn(rng, skin, chosen, shape_of(rng, chosen, size), pitch)
    if rng.random() < 0.45:
        colours = with_bubbles(rng, colours, int(rng.integers(2, 9)))
    if rng.random() < 0.6:
        colours = with_hair(rng, colours, int(rng.integers(4, 26)), float(rng.uniform(1.3, 2.6)))
    if rng.random() < 0.3:
        colours = with_ruler(rng, colours, float(rng.uniform(24, 34)))
    colours = with_vignette(rng, colours, tube=bool(rng.random() < 0.25))
    return _exposed(rng, colours, cast=0.06, grain=0.012, blur=0.55)


def phone(seed: int, look: str | None = None, fitzpatrick: int | None = None) -> Image.Image:
    """A snapshot from arm's length, 640 x 480 pixels: relief, shine, uneven light; otherwise as `dermoscopy`."""
    rng = np.random.default_rng([seed, 2])
    width, height = PHONE_SIZE
    size = height, width
    family = LOOKS[look or str(rng.choice(("homogeneous", "variegated", "rosy", "waxy", "patchy")))]
    chosen = _from_afar(varied(rng, family))
    tone = fitzpatrick or int(rng.integers(1, 7))
    shape = shape_of(rng, chosen, size)
    colours = drawn(rng, healthy_skin(rng, size, tone, 7), chosen, shape, 6)
    if rng.random() < 0.35:
        colours = with_pen_mark(rng, colours, shape.radius * 1.9)
    colours = _in_relief(rng, colours, shape)
    if rng.random() < 0.6:
        colours = with_hair(rng, colours, int(rng.integers(10, 50)), float(rng.uniform(0.8, 1.4)))
    colours = _focused(rng, colours)
    return _exposed(rng, colours, cast=0.08, grain=0.018, blur=0.5)


def _from_afar(look: Look) -> Look:
    """The same lesion smaller; what only a dermoscope resolves is gone."""
    return Look(
        radius=look.radius * 0.62,
        elongation=look.elongation,
        lobes=min(look.lobes, 2),
        irregularity=look.irregularity * 0.75,
        softness=look.softness * 1.2,
        pigment=look.pigment * 1.1,
        core=look.core,
        variegation=look.variegation,
        blood=look.blood + 0.1,
        regression=look.regression,
        globules=look.globules * 0.5,
        dots=look.dots * 0.4,
    )


def _in_relief(rng: np.random.Generator, colours: Colours, shape: Shape) -> Colours:
    """Light from one side over the skin's creases and the raised lesion, and the shine of its surface."""
    size = colours.shape[0], colours.shape[1]
    creases = cells(rng, size, float(rng.uniform(9, 14)), stretch=float(rng.uniform(0.7, 1.5)))
    bumps = cells(rng, size, shape.radius * 0.25)
    height = 1.1 * np.clip(creases.wall * 2.2, 0, 1) + 1.6 * fractal(rng, size, 45, 4, 0.5)
    height = height + shape.inside * (float(rng.uniform(3, 14)) + 2.5 * smoothstep(0.7, 0.2, bumps.nearest))
    slope_y, slope_x = np.gradient(height)
    angle = float(rng.uniform(0, 2 * np.pi))
    towards = slope_x * np.cos(angle) + slope_y * np.sin(angle)
    light = np.clip(1 + 0.17 * np.tanh(towards * 1.4), 0.5, 1.5)
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    falloff = 1 + float(rng.uniform(0.12, 0.3)) * (x * np.cos(angle) + y * np.sin(angle)) * -1
    colours = colours * (light * falloff)[..., None].astype(np.float32)
    shine = smoothstep(0.55, 1.5, np.asarray(towards + 0.35 * smooth(rng, size, 5), dtype=np.float32))
    patch = smoothstep(-0.2, 1.0, fractal(rng, size, 120, 2))
    return blended(colours, (1.0, 0.97, 0.94), np.asarray(0.32 * shine * patch, dtype=np.float32))


def _focused(rng: np.random.Generator, colours: Colours) -> Colours:
    """Sharp about the middle, soft towards the edge, as a lens close up."""
    size = colours.shape[0], colours.shape[1]
    image = Image.fromarray((np.clip(colours, 0, 1) * 255).astype(np.uint8))
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(float(rng.uniform(2, 4)))), dtype=np.float32) / 255
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j].astype(np.float32)
    weight = smoothstep(0.5, 1.25, np.hypot(x, y))[..., None]
    return np.asarray(colours * (1 - weight) + soft * weight, dtype=np.float32)


def _exposed(rng: np.random.Generator, colours: Colours, *, cast: float, grain: float, blur: float) -> Image.Image:
    """The sensor: white balance off by up to `cast`, exposure, noise of `grain` (of 1), `blur` pixels of softness."""
    balance = 1 + rng.uniform(-cast, cast, 3).astype(np.float32)
    # The camera meters the scene, so that dark skin is not as dark in the picture as beside pale skin.
    metered = (0.72 / max(float(np.percentile(colours, 70)), 0.1)) ** 0.55
    exposed = colours * balance * np.float32(metered * rng.uniform(0.95, 1.05))
    image = Image.fromarray((np.clip(exposed, 0, 1) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(blur))
    noisy = np.asarray(image, dtype=np.float32) + grain * 255 * rng.standard_normal(colours.shape, dtype=np.float32)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
