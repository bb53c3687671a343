"""Random views of a training image.

A lesion has no upright and no fixed distance, so it is turned by any angle, flipped, zoomed and moved; light and camera
vary, so brightness, contrast, saturation, hue and the colour of the light do too; a quarter of the views is blurred, as
40 % of the images at hand are small ones enlarged. What leaves the frame is filled by reflection: a constant border
would teach the network that turned images are special. One resampling does all the geometry, since each one blurs, and
texture is what tells classes apart.

Views may be smaller than the square they are cut from: at the scale that is served, a part of the field. A network that
ends in an average over its cells does not mind, and learns at a third of the price (Touvron et al. 2019 show why small
training views do well at full size).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALES = (0.7, 1.25)
"""How much larger than served a view may show things, least and most."""
LARGEST_FIELD = 1.09
"""Of the square's side: a view shows little more than there is."""
OFF_CENTRE = 0.6
"""Of the room that there is: lesions lie near the centre."""
BLURRED = 0.25
"""Share of views that are blurred, by up to a pixel's radius."""
# Luminance and two colour differences (NTSC, as in Foley et al. 1990): hue is an angle there, saturation a radius.
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


def augmented(square: NDArray[np.uint8], size: int, rng: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    """A view (size, size, 3) of `square` (side, side, 3); `strength` scales all ranges, 0 cuts out the centre."""
    if strength <= 0:
        return centre(square, size)
    geometry = _geometry(square.shape[0], size, rng, strength)
    margin = square.shape[0] // 2
    padded = Image.fromarray(np.pad(square, ((margin, margin), (margin, margin), (0, 0)), mode="reflect"))
    # Pillow maps a view's pixel (x, y) to the source at (ax + by + c, dx + ey + f).
    a, b, c, d, e, f = geometry
    view = padded.transform(
        (size, size), Image.Transform.AFFINE, (a, b, c + margin, d, e, f + margin), Image.Resampling.BICUBIC
    )
    if rng.random() < BLURRED * strength:
        view = view.filter(ImageFilter.GaussianBlur(rng.uniform(0.0, 1.0)))
    return _recoloured(np.asarray(view), rng, strength)


def centre(squares: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The middle (..., size, size, 3) of `squares` (..., side, side, 3)."""
    start = (squares.shape[-2] - size) // 2
    return squares[..., start : start + size, start : start + size, :]


def _geometry(side: int, size: int, rng: np.random.Generator, strength: float) -> tuple[float, ...]:
    """The affine map of a turn by any angle, a flip, a zoom and a shift."""
    smallest = max(1 - (1 - SCALES[0]) * strength, size / (side * LARGEST_FIELD))
    scale = rng.uniform(smallest, max(smallest, 1 + (SCALES[1] - 1) * strength))
    angle, flip = rng.uniform(0, 2 * math.pi), 1 if rng.random() < 0.5 else -1
    room = max(0.0, side - size / scale) / 2 * OFF_CENTRE
    middle_x, middle_y = side / 2 + rng.uniform(-room, room), side / 2 + rng.uniform(-room, room)
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    a, b, d, e = flip * cos, -sin, flip * sin, cos
    half = size / 2
    return a, b, middle_x - a * half - b * half, d, e, middle_y - d * half - e * half


def _recoloured(view: NDArray[np.uint8], rng: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    """Brightness, contrast, saturation, hue and the light's colour, as one matrix and one offset."""
    hue, saturation = rng.uniform(-0.08, 0.08) * strength, 1 + rng.uniform(-0.2, 0.2) * strength
    turn = saturation * np.array([[math.cos(hue), -math.sin(hue)], [math.sin(hue), math.cos(hue)]])
    chroma = np.eye(3)
    chroma[1:, 1:] = turn
    light = np.exp(rng.normal(0, 0.035, 3) * strength + rng.uniform(-0.15, 0.15) * strength)
    contrast = 1 + rng.uniform(-0.15, 0.18) * strength
    matrix = (contrast * light[:, None] * (_FROM_YIQ @ chroma @ _TO_YIQ)).astype(np.float32)
    pixels = view.reshape(-1, 3).astype(np.float32)
    offset = (1 - contrast) * light.astype(np.float32) * pixels.mean()
    recoloured = np.rint(pixels @ matrix.T + offset.astype(np.float32))
    levels: NDArray[np.uint8] = np.clip(recoloured, 0, 255).astype(np.uint8)
    return levels.reshape(view.shape)
