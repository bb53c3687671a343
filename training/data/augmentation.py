"""Random views of a training image.

A lesion has no upright orientation and no fixed distance, so views are rotated, flipped, zoomed and shifted. Light and
cameras vary, so brightness, contrast, saturation, hue and the light's colour vary too, and some views are corrected for
the light's colour (shades of grey: Finlayson & Trezzi 2004). Each collection was written by one program at one quality
and sharpness. To keep the network from learning that program instead of the lesion, views are blurred, lose resolution,
and are recompressed as JPEG or WebP. Space outside the image is filled by reflection, because a constant border would
mark rotated views. All geometry is done in one resampling step: each step blurs, and classes differ in texture.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

OFF_CENTRE = 0.6
"""Views are shifted by at most this share of the free room, because lesions lie near the centre."""
BLURRED, COARSENED, COMPRESSED, EVENED = 0.2, 0.15, 0.3, 0.15
"""Shares of the views that are blurred, lose resolution, are recompressed, are corrected for the light's colour."""
HUE, SATURATION, LIGHT, TINT, CONTRAST = 0.08, 0.2, 0.15, 0.035, (-0.15, 0.18)
"""Ranges at strength 1: hue in radians, saturation and contrast as shares, light and tint as logarithms."""
MINKOWSKI = 6
"""The norm that shades of grey takes of each channel; 6 is its authors' choice."""
# Luminance and two colour differences (NTSC, as in Foley et al. 1990), where hue is an angle and saturation a radius.
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
FROM_YIQ = np.linalg.inv(TO_YIQ)


def augmented(
    square: NDArray[np.uint8], size: int, field: tuple[float, float], rng: np.random.Generator, strength: float
) -> NDArray[np.uint8]:
    """A random view (size, size, 3) of `square` (side, side, 3).

    `field` has the least and the largest share of the side that it shows. `strength` scales all other ranges; 0 gives
    the whole square, resized.
    """
    if strength <= 0:
        return resized(square, size)
    margin = square.shape[0] // 2
    padded = Image.fromarray(np.pad(square, ((margin, margin), (margin, margin), (0, 0)), mode="reflect"))
    # Pillow takes the view's pixel (x, y) from the source at (ax + by + c, dx + ey + f).
    a, b, c, d, e, f = _geometry(square.shape[0], size, field, rng)
    view = padded.transform(
        (size, size), Image.Transform.AFFINE, (a, b, c + margin, d, e, f + margin), Image.Resampling.BICUBIC
    )
    levels = np.asarray(_worsened(view, rng, strength))
    if rng.random() < EVENED * strength:
        levels = shades_of_grey(levels)
    levels = _recoloured(levels, rng, strength)
    return _compressed(levels, rng) if rng.random() < COMPRESSED * strength else levels


def spoiled(square: NDArray[np.uint8], rng: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    """A copy of `square` after the random changes of `augmented` that keep geometry and colours."""
    levels = np.asarray(_worsened(Image.fromarray(square), rng, strength))
    if rng.random() < EVENED * strength:
        levels = shades_of_grey(levels)
    return _compressed(levels, rng) if rng.random() < COMPRESSED * strength else levels


def resized(square: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The whole `square` (side, side, 3) at (size, size, 3)."""
    if square.shape[0] == size:
        return square
    return np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC))


def shades_of_grey(view: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`view` (rows, columns, 3) as if under white light; the light's colour is estimated from the pixels."""
    light = np.mean((view.reshape(-1, 3) / np.float32(255)) ** MINKOWSKI, axis=0) ** (1 / MINKOWSKI)
    gains = np.minimum(light.mean() / np.maximum(light, 1e-3), 3).astype(np.float32)
    levels: NDArray[np.uint8] = np.clip(np.rint(view * gains), 0, 255).astype(np.uint8)
    return levels


def _worsened(view: Image.Image, rng: np.random.Generator, strength: float) -> Image.Image:
    """Blurs some views and lowers the resolution of others."""
    chance = rng.random() / strength
    if chance < BLURRED:
        return view.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.2)))
    if chance < BLURRED + COARSENED:
        side = round(view.width * rng.uniform(0.4, 0.9))
        return view.resize((side, side), Image.Resampling.BILINEAR).resize(view.size, Image.Resampling.BICUBIC)
    return view


def _compressed(view: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    stream = io.BytesIO()
    quality = int(rng.integers(40, 91))
    if rng.random() < 0.7:
        Image.fromarray(view).save(stream, "JPEG", quality=quality, subsampling=int(rng.choice([0, 2])))
    else:
        Image.fromarray(view).save(stream, "WEBP", quality=quality, method=0)
    return np.asarray(Image.open(stream).convert("RGB"))


def _geometry(side: int, size: int, field: tuple[float, float], rng: np.random.Generator) -> tuple[float, ...]:
    """The affine map of a random rotation, flip, zoom and shift."""
    shown = side * rng.uniform(*field)
    scale = size / shown
    angle, flip = rng.uniform(0, 2 * math.pi), 1 if rng.random() < 0.5 else -1
    room = max(0.0, side - shown) / 2 * OFF_CENTRE
    middle_x, middle_y = side / 2 + rng.uniform(-room, room), side / 2 + rng.uniform(-room, room)
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    a, b, d, e = flip * cos, -sin, flip * sin, cos
    half = size / 2
    return a, b, middle_x - a * half - b * half, d, e, middle_y - d * half - e * half


def _recoloured(view: NDArray[np.uint8], rng: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    """Changes brightness, contrast, saturation, hue and the light's colour by one matrix and one offset."""
    hue, saturation = rng.uniform(-HUE, HUE) * strength, 1 + rng.uniform(-SATURATION, SATURATION) * strength
    turn = saturation * np.array([[math.cos(hue), -math.sin(hue)], [math.sin(hue), math.cos(hue)]])
    chroma = np.eye(3)
    chroma[1:, 1:] = turn
    light = np.exp(rng.normal(0, TINT, 3) * strength + rng.uniform(-LIGHT, LIGHT) * strength)
    contrast = 1 + rng.uniform(*CONTRAST) * strength
    matrix = (contrast * light[:, None] * (FROM_YIQ @ chroma @ TO_YIQ)).astype(np.float32)
    pixels = view.reshape(-1, 3).astype(np.float32)
    offset = (1 - contrast) * light.astype(np.float32) * pixels.mean()
    recoloured = np.rint(pixels @ matrix.T + offset.astype(np.float32))
    levels: NDArray[np.uint8] = np.clip(recoloured, 0, 255).astype(np.uint8)
    return levels.reshape(view.shape)
