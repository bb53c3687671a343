"""The heat map over an image: where the evidence for the model's label lies. The only way of drawing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

# From violet through red to pale yellow, ever lighter, so the order is visible without colour vision too.
_STOPS = (
    (0.00, (48, 18, 90)),
    (0.30, (126, 32, 122)),
    (0.55, (205, 58, 88)),
    (0.78, (248, 138, 62)),
    (1.00, (253, 231, 132)),
)
_OPACITY = 0.84  # of the strongest evidence, so that the skin stays visible below it


def palette(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(...) levels 0..1 to (..., 3) colours 0..255."""
    positions = [position for position, _ in _STOPS]
    channels = [np.interp(levels, positions, [stop[k] for _, stop in _STOPS]) for k in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def overlay(square: Image.Image, heatmap: Mapping[str, Any]) -> Image.Image:
    """The image in grey under its heat map, which is interpolated smoothly.

    `heatmap` is the record's: `rows`, `columns` and `values` (0..100, row by row). It covers exactly what `square`
    shows, the part of the image that the network saw.
    """
    rows, columns = int(heatmap["rows"]), int(heatmap["columns"])
    grid = np.array([float(v) for v in heatmap["values"]], dtype=np.float32).reshape(rows, columns) / 100
    spread = Image.fromarray(grid).resize(square.size, Image.Resampling.BICUBIC)
    levels = np.clip(np.asarray(spread, dtype=np.float32), 0, 1)  # (side, side)
    grey = np.asarray(square.convert("L"), dtype=np.float32)[..., None]
    # Only the colours carry evidence; the image is dimmed to a grey that is just recognisable.
    calm = 46 + grey * 0.72
    opacity = (_OPACITY * levels**0.8)[..., None]
    mixed = calm * (1 - opacity) + palette(levels) * opacity * (0.80 + 0.28 * grey / 255)
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))


def legend(width: int, height: int) -> Image.Image:
    """The palette as a strip, from no evidence to the image's strongest."""
    ramp = np.linspace(0, 1, width, dtype=np.float32)[None, :].repeat(height, axis=0)
    opacity = (_OPACITY * ramp**0.8)[..., None]
    return Image.fromarray((150 * (1 - opacity) + palette(ramp) * opacity).clip(0, 255).astype(np.uint8))
