"""Estimates the skin tone of a photograph: the individual typology angle (ITA) of the skin around the lesion.

ITA = arctan((L* - 50) / b*) in degrees, in CIE L*a*b* under D65 (Chardon, Cretois, Hourseau, Int J Cosmet Sci 13,
1991); higher is lighter. Its bands, and its use on HAM10000, follow Kinyanjui et al., "Fairness of classifiers across
skin tones in dermatology", MICCAI 2020. They find the skin by segmentation; here it is the median of a ring along the
border of the centre square, without the pixels that are not evenly lit skin.

The colours of an uncalibrated photograph depend on lamp and camera as much as on skin: the estimate sorts photographs,
not people. `training.evaluation.subgroups` measures how well it agrees with recorded skin types.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RING = 0.12
"""Width of the ring as a share of the side. Lesions lie near the centre, and the outer 12 % are 42 % of the area."""
_BLACK = 12.0
"""L* up to here is not skin: the black frame of a dermatoscope, or deep shadow."""
_SPREAD = 1.5
"""Pixels further from the median L* than this many robust standard deviations are hair, lesion or highlight."""
_LEAST_LEFT = 0.2
"""If a smaller share of the ring is left, it is mostly frame or lesion."""

BANDS = ((55.0, "very light"), (41.0, "light"), (28.0, "intermediate"), (10.0, "tan"), (-30.0, "brown"))
"""Bands by their lower bounds in degrees; an ITA below all of them is `DARK`."""
DARK = "dark"
TONES = (*(name for _, name in BANDS), DARK)

# sRGB to CIE XYZ (IEC 61966-2-1), rows divided by the D65 white.
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = np.array([0.9505, 1.0, 1.089])


def typology_angle(pixels: NDArray[np.uint8]) -> float | None:
    """ITA in degrees of (side, side, 3) sRGB `pixels`; None if too little skin is visible."""
    ring = pixels[_ring(pixels.shape[0], pixels.shape[1])]  # (n, 3)
    lightness, _, yellow = lab(ring).T
    kept = (lightness > _BLACK) & (ring.max(axis=1) < 250)
    if kept.mean() < _LEAST_LEFT:
        return None
    centre = np.median(lightness[kept])
    spread = 1.4826 * np.median(np.abs(lightness[kept] - centre))  # estimates a normal standard deviation
    kept &= np.abs(lightness - centre) <= _SPREAD * max(spread, 1.0)
    if kept.mean() < _LEAST_LEFT:
        return None
    # Pale skin in bluish light has b* < 0. atan2 then gives more than 90 degrees, still at the light end; the
    # arctangent of the quotient would jump to the dark end.
    return math.degrees(math.atan2(float(np.median(lightness[kept])) - 50, float(np.median(yellow[kept]))))


def tone(angle: float) -> str:
    """The band of an angle: one of `TONES`."""
    return next((name for least, name in BANDS if angle > least), DARK)


def tinted(angles: Sequence[float | None]) -> float | None:
    """Share of the angles that are of skin bluer than grey: no skin is, so the light was coloured."""
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
