"""The two kinds of photograph, through a dermoscope and with a phone: hair, gel bubbles, light, lens, sensor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from demo.lesions.looks import LOOKS, Look, Shape, drawn, shape_of, varied
from demo.lesions.noise import cells, fractal, smooth, smoothstep
from demo.lesions.skin import blended, healthy_skin

if TYPE_CHECKING:
    from demo.lesions.skin import Colours

DERMOSCOPY_SIZE = (600, 450)
"""(width, height), as HAM10000's originals."""
PHONE_SIZE = (640, 480)
SUPERSAMPLING = 3  # Pillow's lines have hard edges, so they are drawn larger and averaged down


def dermoscopy(seed: int, look: str | None = None, fitzpatrick: int | None = None) -> Image.Image:
    """A close-up under polarised light, 600 x 450 pixels; the same seed gives the same picture.

    `look` is a key of `LOOKS`, and `fitzpatrick` a skin type of 1..6. By default the seed chooses both.
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
        colours = _with_bubbles(rng, colours, int(rng.integers(2, 9)))
    if rng.random() < 0.6:
        colours = _with_hair(rng, colours, int(rng.integers(4, 26)), float(rng.uniform(1.3, 2.6)))
    colours = _with_vignette(rng, colours, tube=bool(rng.random() < 0.4))
    return _exposed(rng, colours, cast=0.06, grain=0.012, blur=0.55)


def phone(seed: int, look: str | None = None, fitzpatrick: int | None = None) -> Image.Image:
    """A snapshot from arm's length, 640 x 480 pixels, with relief, shine and uneven light; else as `dermoscopy`."""
    rng = np.random.default_rng([seed, 2])
    width, height = PHONE_SIZE
    size = height, width
    family = LOOKS[look or str(rng.choice(("homogeneous", "variegated", "rosy", "waxy", "patchy")))]
    chosen = _from_afar(varied(rng, family))
    tone = fitzpatrick or int(rng.integers(1, 7))
    shape = shape_of(rng, chosen, size)
    colours = drawn(rng, healthy_skin(rng, size, tone, 7), chosen, shape, 6)
    colours = _in_relief(rng, colours, shape)
    if rng.random() < 0.6:
        colours = _with_hair(rng, colours, int(rng.integers(10, 50)), float(rng.uniform(0.8, 1.4)))
    colours = _focused(rng, colours)
    return _exposed(rng, colours, cast=0.08, grain=0.018, blur=0.5)


def _from_afar(look: Look) -> Look:
    """The same lesion smaller, without the details that only a dermoscope resolves."""
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
    """Sharp in the middle and soft towards the edge, as with a lens close up."""
    size = colours.shape[0], colours.shape[1]
    image = Image.fromarray((np.clip(colours, 0, 1) * 255).astype(np.uint8))
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(float(rng.uniform(2, 4)))), dtype=np.float32) / 255
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j].astype(np.float32)
    weight = smoothstep(0.5, 1.25, np.hypot(x, y))[..., None]
    return np.asarray(colours * (1 - weight) + soft * weight, dtype=np.float32)


def _with_hair(rng: np.random.Generator, colours: Colours, count: int, width: float) -> Colours:
    """`count` bent, tapering hairs about `width` pixels thick, mostly combed one way, with a faint shadow each."""
    if not count:
        return colours
    size = colours.shape[0], colours.shape[1]
    layer = Image.new("L", (size[1] * SUPERSAMPLING, size[0] * SUPERSAMPLING))
    draw = ImageDraw.Draw(layer)
    combed = float(rng.uniform(0, 2 * math.pi))
    dark = bool(rng.random() < 0.75)
    for _ in range(count):
        x, y = (float(v) for v in rng.uniform(-0.1, 1.1, 2) * (size[1], size[0]))
        heading = combed + float(rng.normal(0, 0.45))
        bend = float(rng.normal(0, 0.9))
        length = float(rng.uniform(0.25, 1.0)) * size[0]
        steps = 40
        points = []
        for step in range(steps + 1):
            points.append((x * SUPERSAMPLING, y * SUPERSAMPLING))
            angle = heading + bend * step / steps
            x, y = x + math.cos(angle) * length / steps, y + math.sin(angle) * length / steps
        thickness = width * float(rng.uniform(0.6, 1.25)) * SUPERSAMPLING
        for step in range(steps):
            taper = 1 - 0.75 * (step / steps) ** 2
            draw.line(points[step : step + 2], fill=255, width=max(1, round(thickness * taper)), joint="curve")
    strands = layer.reduce(SUPERSAMPLING)
    hair, blurred = (
        np.asarray(strands.filter(ImageFilter.GaussianBlur(blur)), dtype=np.float32) / np.float32(255)
        for blur in (0.5, 2.5)
    )
    shadow = np.roll(blurred, (2, 2), (0, 1))
    tint = (0.10, 0.065, 0.05) if dark else (0.80, 0.70, 0.58)
    colours = np.asarray(colours * (1 - 0.22 * shadow[..., None]), dtype=np.float32)
    return blended(colours, tint, hair * (0.88 if dark else 0.55))


def _with_bubbles(rng: np.random.Generator, colours: Colours, count: int) -> Colours:
    """Bubbles of the contact gel: a bright crescent, a dark rim, the flash's reflection."""
    height, width = colours.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    for _ in range(count):
        radius = float(rng.uniform(3, 11))
        cx, cy = float(rng.uniform(0, width)), float(rng.uniform(0, height))
        near = np.hypot(x - cx, y - cy) / radius
        lit = ((cx - x) + (cy - y)) / (radius * 1.6)  # light from the upper left
        rim = np.exp(-(((near - 0.92) / 0.13) ** 2))
        colours = blended(colours, (0.12, 0.09, 0.09), 0.40 * rim * smoothstep(0.3, -0.7, lit))
        colours = blended(colours, (1.0, 0.99, 0.98), 0.60 * rim * smoothstep(-0.1, 0.8, lit))
        glint = np.hypot(x - cx + radius * 0.35, y - cy + radius * 0.35) / (radius * 0.24)
        colours = blended(colours, (1.0, 1.0, 1.0), 0.95 * smoothstep(1.3, 0.5, glint))
    return colours


def _with_vignette(rng: np.random.Generator, colours: Colours, *, tube: bool) -> Colours:
    """The lens darkens towards its corners; with `tube` the dermoscope's round black edge is visible."""
    height, width = colours.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    dx, dy = (float(v) for v in rng.normal(0, 0.02, 2) * width)
    away = np.hypot(x - width / 2 - dx, y - height / 2 - dy) / (width / 2)
    colours = colours * (1 - float(rng.uniform(0.05, 0.22)) * away[..., None] ** 2)
    if tube:
        edge = float(rng.uniform(0.90, 1.05))
        colours = blended(colours, (0.015, 0.012, 0.015), smoothstep(edge - 0.07, edge + 0.035, away))
    return colours


def _exposed(rng: np.random.Generator, colours: Colours, *, cast: float, grain: float, blur: float) -> Image.Image:
    """The sensor: white balance off by up to `cast`, exposure, noise of `grain` (of 1), `blur` pixels of softness."""
    balance = 1 + rng.uniform(-cast, cast, 3).astype(np.float32)
    # The camera meters the scene, so dark skin comes out lighter than it would beside pale skin.
    metered = (0.72 / max(float(np.percentile(colours, 70)), 0.1)) ** 0.55
    exposed = colours * balance * np.float32(metered * rng.uniform(0.95, 1.05))
    image = Image.fromarray((np.clip(exposed, 0, 1) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(blur))
    noisy = np.asarray(image, dtype=np.float32) + grain * 255 * rng.standard_normal(colours.shape, dtype=np.float32)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
