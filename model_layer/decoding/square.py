"""From an opened image to the network's pixels: decode, reduce to the centre square, convert to sRGB, set upright.

Cost: one decode, bounded by the limits on pixels; everything else works on the small square, except the conversion of
modes that cannot be resized.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from model_layer.answers import ImageRejectedError, RejectionCode
from model_layer.decoding.colour import to_srgb
from model_layer.decoding.formats import covering

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from model_layer.decoding.formats import OpenedImage

# Largest spread (in levels of 255) of an image that still counts as one even colour; JPEG noise is below it.
BLANK_SPREAD = 6
# Of its spread, a picture keeps more than this in any colour space that pictures have: a gamma of 4 leaves a fifth.
_LEAST_KEPT = 0.1
# 16-bit greys converted at a time: NumPy takes 12 bytes for each.
_BAND_PIXELS = 2**20

# EXIF orientation (CIPA DC-008, tag 0x0112) to the transposition that sets the image upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright_square(opened: OpenedImage, size: int) -> NDArray[np.uint8]:
    """(size, size, 3) of the upright centre square, sRGB, 0..255.

    Raises:
        ImageRejectedError: `blank`.
        Exception: the pixels cannot be decoded; the type depends on the format.
    """
    square = _centre_square(opened, size)
    upright = _on_white(_in_srgb(_opaque(square), opened), square)
    if opened.orientation in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[opened.orientation])
    if _spread(upright) <= BLANK_SPREAD:
        raise ImageRejectedError(RejectionCode.BLANK)
    return np.asarray(upright, dtype=np.uint8)


def _in_srgb(image: Image.Image, opened: OpenedImage) -> Image.Image:
    """By the file's profile or colour space; one that leaves next to nothing of the picture is damaged, and ignored."""
    converted = to_srgb(image, opened.profile, opened.space)
    if not (opened.profile or opened.space):
        return converted
    stored = image.convert("RGB")
    return converted if _spread(converted) > _LEAST_KEPT * _spread(stored) else stored


def _spread(image: Image.Image) -> int:
    """The largest difference between two pixels of an RGB image in one channel, in levels."""
    low, high = np.array(image.getextrema()).T
    return int((high - low).max())


def _centre_square(opened: OpenedImage, size: int) -> Image.Image:
    """The centre square at `size` x `size`, decoded at reduced scale where the format can (JPEG)."""
    image = opened.image
    width, height = image.size
    if opened.scales and min(width, height) > size:
        image.draft(None, covering(width, height, size))
    image.load()  # only now is the size certain: a HEIC may be smaller than its header says
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    if opened.spare_alpha and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        image = image.convert("RGB")
    image = _eight_bits(image)
    # reducing_gap averages whole blocks first where the source is over three times the target: as good, and faster.
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Converts modes that cannot be interpolated to ones that can, and 16-bit greys to 8 bits over their full range."""
    key = image.info.get("transparency")  # the transparent grey or RGB, where the mode itself has no transparency
    match image.mode:
        case "1":
            return _keyed(image.convert("L"), key)
        case "L" | "RGB":
            return _keyed(image, key)
        case "P" | "PA" | "La" | "RGBa":
            return image.convert("RGBA" if image.has_transparency_data else "RGB")
        case "I;16" | "I;16L" | "I;16B" | "I;16N" | "I":
            return _eight_bit_greys(image, key)
        case _:
            return image


def _keyed(image: Image.Image, key: Any) -> Image.Image:
    if key is None:
        return image
    image.info["transparency"] = key
    return image.convert("LA" if image.mode == "L" else "RGBA")


def _eight_bit_greys(image: Image.Image, key: int | None) -> Image.Image:
    greys = Image.new("L" if key is None else "LA", image.size)
    for top, levels in _bands(image):
        band = Image.fromarray(np.clip(levels * (255.0 / 65535.0), 0, 255).astype(np.uint8))
        if key is not None:
            band.putalpha(Image.fromarray(np.where(levels == key, 0, 255).astype(np.uint8)))
        greys.paste(band, (0, top))
    return greys


def _bands(image: Image.Image) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The rows of a grey image in bands, each with the number of its first row."""
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        yield top, np.asarray(band, dtype=np.float32)


def _opaque(image: Image.Image) -> Image.Image:
    return image.convert({"LA": "L", "RGBA": "RGB"}.get(image.mode, image.mode))


def _on_white(opaque: Image.Image, square: Image.Image) -> Image.Image:
    """`opaque` with white where `square` is transparent, as viewers show it."""
    if square.mode not in ("LA", "RGBA"):
        return opaque
    white = Image.new("RGBA", square.size, (255, 255, 255, 255))
    opaque.putalpha(square.getchannel("A"))
    return Image.alpha_composite(white, opaque).convert("RGB")
