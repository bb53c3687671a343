"""Measures how well a photograph was taken, by four numbers from its decoded square.

The thresholds that mean "take it again" are in the bundle's manifest. `python -m training quality` finds them by
degrading real images until the model's accuracy falls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Rec. 601 luma, in 1024ths: integer sums are exact, and so the same on every processor.
_RED, _GREEN, _BLUE = np.int32(306), np.int32(601), np.int32(117)
# JPEG leaves an overexposed area a level or two under 255.
_FULL = 250
# The blur width of the published method, for photographs viewed at their own size.
_REBLUR = 9
# Smaller steps between neighbours, in levels, are rounding. On a smooth slope they would count as sharp edges, and make
# a hopelessly blurred picture look better.
_ROUNDING = 1
# Blocks along a side: each is 16 pixels of a 224 square, small enough for a lesion of a tenth of the frame.
_BLOCKS = 14
# The blocks that differ most from the others; with fewer, one hair or bubble would count as a lesion.
_STANDING_OUT = 8


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of one decoded square; the file's own width and height are in its `ImageFacts`."""

    brightness: float
    """Mean luma, 0 (black) to 255; falls with underexposure."""
    clipped: float
    """Share of the pixels with a channel at its upper end, 0..1, where detail is lost."""
    blur: float
    """Blur effect (Crete et al. 2007), 0 (sharp) to 1: how little further blurring would change the picture.
    It does not depend on contrast or exposure, so a dark photograph does not count as blurred."""
    detail: float
    """How far the areas that stand out are from the rest in colour, in levels of 255 over the three channels together;
    low when no lesion is visible, or nothing larger than a hair."""


def measure(pixels: NDArray[np.uint8]) -> Quality:
    """Measures `pixels`, a (side, side, 3) sRGB square of at least 32 pixels' side; about 2 ms at 224.

    Raises:
        ValueError: `pixels` has another shape or type.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or min(pixels.shape[:2]) < 32:
        raise ValueError(f"A (side, side, 3) square of bytes is measured, not {pixels.dtype} of shape {pixels.shape}.")
    red, green, blue = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))  # (side, side) each
    luma = red * _RED + green * _GREEN + blue * _BLUE  # (side, side), 0..255 * 1024
    return Quality(
        brightness=float(luma.mean()) / 1024,
        clipped=float(np.mean(np.maximum(np.maximum(red, green), blue) >= _FULL)),
        blur=max(_blur_effect(luma), _blur_effect(np.ascontiguousarray(luma.T))),
        detail=_detail(pixels),
    )


def _blur_effect(luma: NDArray[np.int32]) -> float:
    """Along the rows of `luma`: 1 minus the share of the differences between neighbours that a further blur removes.

    F. Crete, T. Dolmiere, P. Ladret, M. Nicolas, "The blur effect", Proc. SPIE 6492 (2007). Blurring changes a sharp
    picture much and a blurred one little. Unlike the paper, it leaves out steps of rounding. A picture without any
    difference counts as blurred.
    """
    margin = _REBLUR // 2
    sums = np.zeros((luma.shape[0], luma.shape[1] + 1), dtype=np.int32)  # fits up to a side of 8,000
    np.cumsum(luma, axis=1, out=sums[:, 1:])
    reblurred = sums[:, _REBLUR:] - sums[:, :-_REBLUR]  # 9 times the mean of 9 neighbours
    before = np.abs(np.diff(luma[:, margin:-margin])) * np.int32(_REBLUR)
    lost = np.maximum(before - np.abs(np.diff(reblurred)), 0)
    steps = before > _ROUNDING * 1024 * _REBLUR
    total = int(before.sum(where=steps, dtype=np.int64))
    return 1 - int(lost.sum(where=steps, dtype=np.int64)) / total if total else 1.0


def _detail(pixels: NDArray[np.uint8]) -> float:
    """Mean distance in RGB of the 8 of 14 x 14 blocks that are farthest from the median block."""
    rows, columns = (side // _BLOCKS * _BLOCKS for side in pixels.shape[:2])
    blocks = pixels[:rows, :columns].reshape(_BLOCKS, rows // _BLOCKS, _BLOCKS, columns // _BLOCKS, 3)
    sums = blocks.sum(axis=1, dtype=np.uint32).sum(axis=2, dtype=np.uint32)  # one axis at a time: twice as fast
    colours = sums.reshape(-1, 3) / (blocks.shape[1] * blocks.shape[3])  # (196, 3)
    distances = np.sqrt(np.sum((colours - np.median(colours, axis=0)) ** 2, axis=1))
    return float(np.sort(distances)[-_STANDING_OUT:].mean())
