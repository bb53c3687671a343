"""Estimated skin tone of a photograph: the individual typology angle (ITA) of the skin around the lesion.

ITA = arctan((L* - 50) / b*) in degrees, in CIE L*a*b* under D65 (Chardon, Cretois, Hourseau, Int J Cosmet Sci 13,
1991); higher is lighter. Its use on HAM10000 and its bands are those of Kinyanjui et al., "Fairness of classifiers
across skin tones in dermatology", MICCAI 2020. There the skin is what a segmentation leaves; here it is a ring along
the border of the centre square, cleared of what is not evenly lit skin, and its median.

An uncalibrated photograph's colours are those of the lamp and the camera as much as of the skin: the estimate sorts
photographs, not people. Where a skin type was recorded too, `training.subgroups` says how far the two agree.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RING = 0.12
"""Width of the ring as a share of the side: lesions lie near the centre, and the outer 12 % are 42 % of the area."""
# Darker than any skin that a camera exposed for: the black frame of a dermatoscope, deep shadow.
_BLACK = 12.0
# So many robust standard deviations from the ring's median lightness lie hair, a lesion's rim, a vignette, a highlight.
_SPREAD = 1.5
# With fewer pixels left the ring is mostly frame or lesion.
_LEAST_LEFT = 0.2

BANDS = ((55.0, "very light"), (41.0, "light"), (28.0, "intermediate"), (10.0, "tan"), (-30.0, "brown"))
"""An ITA above the number is in that band, or else in `DARK`."""
DARK = "dark"
TONES = (*(name for _, name in BANDS), DARK)

# sRGB to CIE XYZ (IEC 61966-2-1), rows divided by the D65 white.
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = np.array([0.9505, 1.0, 1.089])


def typology_angle(pixels: NDArray[np.uint8]) -> float | None:
    """ITA in degrees of (side, side, 3) sRGB `pixels`; None where no skin is left to judge by."""
    ring = pixels[_ring(pixels.shape[0], pixels.shape[1])]  # (n, 3)
    lightness, _, yellow = lab(ring).T
    kept = (lightness > _BLACK) & (ring.max(axis=1) < 250)
    if kept.mean() < _LEAST_LEFT:
        return None
    centre = np.median(lightness[kept])
    spread = 1.4826 * np.median(np.abs(lightness[kept] - centre))  # the standard deviation, were it normal
    kept &= np.abs(lightness - centre) <= _SPREAD * max(spread, 1.0)
    if kept.mean() < _LEAST_LEFT:
        return None
    # atan2 goes on where b* reaches 0: pale skin in bluish light passes 90 degrees and stays at the light end, where
    # the arctangent of the quotient would throw it to the dark one.
    return math.degrees(math.atan2(float(np.median(lightness[kept])) - 50, float(np.median(yellow[kept]))))


def tone(angle: float) -> str:
    """The band of an angle, one of `TONES`."""
    return next((name for least, name in BANDS if angle > least), DARK)


def tinted(angles: Sequence[float | None]) -> float | None:
    """Share of the estimated angles that are of skin bluer than grey, which no skin is: it is the light's colour."""
    known = [angle for angle in angles if angle is not None]
    return float(np.mean(np.abs(known) > 90)) if known else None


def lab(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, 3) sRGB bytes to CIE L*a*b* under D65 (CIE 15:2004)."""
    levels = colours / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _XYZ.T / _WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def _ring(rows: int, columns: int) -> NDArray[np.bool_]:
    width = max(1, round(RING * min(rows, columns)))
    mask = np.ones((rows, columns), dtype=bool)
    mask[width:-width, width:-width] = False
    return mask
