"""Conversion of a file's colours to sRGB.

littleCMS applies an embedded ICC profile. Some files describe their colours by a few numbers instead (code points of
ITU-T H.273 in PNG's cICP and HEIC's nclx, gamma and chromaticities of a PNG, EXIF's Adobe RGB); those are computed
here. Cost: all of it works on the small square, and a profile has at most `MAX_PROFILE_BYTES` and no pipelines.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageCms

from model_layer.answers import ImageRejectedError, RejectionCode
from model_layer.decoding.limits import MAX_PROFILE_BYTES, raise_if_short

if TYPE_CHECKING:
    from numpy.typing import NDArray

Floats = np.ndarray[Any, np.dtype[np.float64]]
Curve = Callable[[Floats], Floats]
Primaries = tuple[float, float, float, float, float, float, float, float]
"""x and y of red, green, blue and white (CIE 1931)."""

_SRGB_PROFILE = ImageCms.createProfile("sRGB")
_D65 = (0.3127, 0.3290)
_BT709: Primaries = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *_D65)
_ADOBE: Primaries = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *_D65)
_ADOBE_GAMMA = 563 / 256
# H.273, table 2. Unspecified and reserved codes count as sRGB's, as in viewers.
_PRIMARIES: dict[int, Primaries] = {
    **dict.fromkeys((0, 1, 2, 3), _BT709),
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65),
    **dict.fromkeys((6, 7), (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65)),
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, 0.310, 0.316),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65),
}
_LINEAR, _PQ, _HLG = 8, 16, 18
_REFERENCE_WHITE = 203.0  # cd/m2, ITU-R BT.2408: paper white in HDR, which becomes sRGB's white
_HLG_PEAK = 1000.0  # cd/m2 of the nominal display
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_PROFILE_HEADER, _PROFILE_ENTRY = 128, 12  # bytes, ICC.1
_MAX_PROFILE_TAGS = 100  # littleCMS refuses a profile with more
_LUMINANCE_BT2020 = np.array([0.2627, 0.6780, 0.0593])


@dataclass(frozen=True, slots=True)
class ColourSpace:
    """Colours described by numbers instead of a profile."""

    primaries: Primaries
    to_light: Curve
    """Signal, 0..1 in the last axis's three channels, to light; 1.0 is the white of sRGB."""
    high_range: bool = False
    """Whether light may exceed 1.0 and is to be tone-mapped."""
    full_range: bool = True
    """False: black is at 16 and white at 235, as in video."""

    def to_srgb(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Converts (h, w, 3) values, 0..255, to sRGB; colours outside sRGB are clipped, as littleCMS does."""
        signal = pixels / 255.0 if self.full_range else (pixels - 16.0) / 219.0
        light = self.to_light(np.clip(signal, 0.0, 1.0))
        if self.high_range:
            light = _tone_mapped(light)
        light = np.clip(light @ _to_bt709(self.primaries).T, 0.0, 1.0)
        encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        return np.asarray(np.rint(encoded * 255.0), dtype=np.uint8)


def adobe_rgb() -> ColourSpace:
    """Adobe RGB (1998)."""
    return ColourSpace(_ADOBE, _power(_ADOBE_GAMMA))


def by_codes(primaries: int, transfer: int, *, full_range: bool = True) -> ColourSpace | None:
    """By code points of ITU-T H.273; None is sRGB.

    Camera curves (BT.709 and its relatives) count as sRGB's, which lies between them and the display curve of BT.1886.

    Raises:
        ImageRejectedError: `unsupported_format`, since the colours would be wrong without a conversion.
    """
    curve = _CURVES.get(transfer)
    if primaries not in _PRIMARIES or curve is None:
        raise ImageRejectedError(RejectionCode.UNSUPPORTED_FORMAT)
    if full_range and curve is _srgb and _PRIMARIES[primaries] == _BT709:
        return None
    return ColourSpace(_PRIMARIES[primaries], curve, transfer in (_PQ, _HLG), full_range)


def by_gamma(gamma: float, chromaticities: Primaries | None) -> ColourSpace | None:
    """By the exponent that a PNG was encoded with, and its primaries where it states them; None is sRGB.

    Programs write 1/2.2 for sRGB's own curve (PNG specification, 13.13).
    """
    primaries = _BT709
    if chromaticities is not None and not np.allclose(chromaticities, _BT709, atol=0.002):
        primaries = chromaticities if _is_sound(chromaticities) else _BT709
    curve = _srgb if abs(gamma - 1 / 2.2) < 0.005 else _power(1 / gamma)
    return None if curve is _srgb and primaries == _BT709 else ColourSpace(primaries, curve)


def to_srgb(image: Image.Image, profile: bytes | None, space: ColourSpace | None) -> Image.Image:
    """An `image` of greys, RGB or CMYK in sRGB: by its `profile` if that is sound and fits, else by `space`."""
    if profile and len(profile) <= MAX_PROFILE_BYTES:
        converted = _by_profile(image, profile)
        if converted is not None:
            return converted
    rgb = image.convert("RGB")
    return Image.fromarray(space.to_srgb(np.asarray(rgb))) if space and image.mode != "CMYK" else rgb


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    """None where the profile is broken or for another kind of image; such a profile is ignored, as in browsers."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(_without_pipelines(profile)))
        fitting = _fitting(image, source.profile.xcolor_space.strip())
        if fitting is None:
            return None
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        return ImageCms.profileToProfile(fitting, source, _SRGB_PROFILE, intent, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        raise_if_short()
        return None


def _without_pipelines(profile: bytes) -> bytes:
    """`profile` with its D2B tags renamed, so that no reader finds them.

    Floating-point pipelines (tags D2B0 to D2B3, type `mpet`) are lists of places inside the profile, and littleCMS
    reads and keeps the table at each place again however often it is named: 270 KB took 36 seconds and 1.4 GB. The
    standard (ICC.1:2022, 8.4) puts them beside tables (A2B0 to A2B2) or a matrix that every reader knows.
    """
    first = _PROFILE_HEADER + 4
    if len(profile) < first:
        return profile
    (tags,) = struct.unpack_from(">L", profile, _PROFILE_HEADER)
    changed = bytearray(profile)
    for at in range(first, min(first + _PROFILE_ENTRY * min(tags, _MAX_PROFILE_TAGS), len(profile)), _PROFILE_ENTRY):
        if changed.startswith(b"D2B", at):
            changed[at : at + 3] = b"d2b"
    return bytes(changed)


def _fitting(image: Image.Image, space: str) -> Image.Image | None:
    """The image in the profile's space where that is lossless: greys are also RGB, and some RGB is all grey."""
    match image.mode, space:
        case ("L", "GRAY") | ("RGB", "RGB") | ("CMYK", "CMYK"):
            return image
        case ("L", "RGB"):
            return image.convert("RGB")
        case ("RGB", "GRAY") if not np.ptp(np.asarray(image), axis=2).any():
            return image.convert("L")
    return None


def _is_sound(primaries: Primaries) -> bool:
    """Whether the triangle of primaries can be computed with; damaged files contain any numbers."""
    x, y = np.array(primaries).reshape(4, 2).T
    if (x < 0).any() or (y <= 0).any() or (x + y > 1.001).any():
        return False
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    return bool(abs(area) > 1e-3 and (_scales(primaries)[1] > 0).all())


def _scales(primaries: Primaries) -> tuple[Floats, Floats, Floats]:
    """XYZ of the three primaries as columns, how much of each makes white, and white's XYZ."""
    x, y = np.array(primaries).reshape(4, 2).T
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    return xyz[:, :3], np.linalg.solve(xyz[:, :3], xyz[:, 3]), xyz[:, 3]


def _to_bt709(primaries: Primaries) -> Floats:
    """(3, 3): linear light to linear light of sRGB, whites adapted by Bradford's matrix (ICC.1, annex E)."""
    columns, scales, white = _scales(primaries)
    own_columns, own_scales, own_white = _scales(_BT709)
    cones = np.diag((_BRADFORD @ own_white) / (_BRADFORD @ white))
    adapted = np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD
    return np.asarray(np.linalg.inv(own_columns * own_scales) @ adapted @ (columns * scales))


def _srgb(signal: Floats) -> Floats:
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def _power(exponent: float) -> Curve:
    return lambda signal: signal**exponent


def _pq(signal: Floats) -> Floats:
    """ITU-R BT.2100, table 4: PQ's signal to display light."""
    root = signal ** (1 / 78.84375)
    light = (np.maximum(root - 0.8359375, 0.0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    return np.asarray(10_000.0 / _REFERENCE_WHITE * light)


def _to_pq(light: Floats) -> Floats:
    power = (light * _REFERENCE_WHITE / 10_000.0) ** 0.1593017578125
    return np.asarray(((0.8359375 + 18.8515625 * power) / (1.0 + 18.6875 * power)) ** 78.84375)


def _hlg(signal: Floats) -> Floats:
    """ITU-R BT.2100, table 5: HLG's signal to the light of the nominal display."""
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    luminance = (scene @ _LUMINANCE_BT2020)[..., None]
    return np.asarray(_HLG_PEAK / _REFERENCE_WHITE * scene * luminance**0.2)


def _tone_mapped(light: Floats) -> Floats:
    """ITU-R BT.2390, 5.4.1: from the image's own peak to sRGB's white; an image without highlights is unchanged.

    Applied to the largest of the three channels, which preserves hues.
    """
    brightest = light.max(axis=-1, keepdims=True)
    peak = float(brightest.max())
    if peak <= 1.0:
        return light
    in_pq, peak_in_pq, white_in_pq = _to_pq(brightest), float(_to_pq(np.array(peak))), float(_to_pq(np.array(1.0)))
    white = white_in_pq / peak_in_pq
    knee = 1.5 * white - 0.5
    level = in_pq / peak_in_pq
    t = np.clip((level - knee) / (1 - knee), 0.0, 1.0)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * white
    mapped = _pq(np.where(level < knee, level, spline) * peak_in_pq)
    return np.asarray(light * (mapped / np.maximum(brightest, 1e-9)))


# H.273, table 3, without the logarithmic and cinema curves, which no photograph has.
_CURVES: dict[int, Curve] = {
    **dict.fromkeys((0, 1, 2, 3, 6, 7, 11, 12, 13, 14, 15), _srgb),
    4: _power(2.2),
    5: _power(2.8),
    _LINEAR: _power(1.0),
    _PQ: _pq,
    _HLG: _hlg,
}
