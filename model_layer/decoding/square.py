"""An opened image to the network's pixels: decode, reduce to the centre square, set upright, to sRGB."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms

from model_layer.decoding.limits import MAX_PROFILE_BYTES
from model_layer.decoding.memory import raise_if_short
from model_layer.rejections import ImageRejectedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from model_layer.decoding.formats import OpenedImage

# Largest spread (in levels of 255) within an image that still counts as one even colour: JPEG noise stays under.
BLANK_SPREAD = 6
# Greys of 16 bits are converted so many at a time: NumPy takes 12 bytes for each.
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
_SRGB = ImageCms.createProfile("sRGB")


def upright_square(opened: OpenedImage, size: int) -> NDArray[np.uint8]:
    """(size, size, 3) of the upright centre square, sRGB, 0..255.

    Raises:
        ImageRejectedError: `blank`.
        Exception: the pixels cannot be decoded; what exactly, depends on the format.
    """
    upright = _to_srgb(_on_white(_centre_square(opened.image, size)), opened.profile)
    if opened.orientation in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[opened.orientation])
    pixels = np.asarray(upright, dtype=np.uint8)
    if int(np.ptp(pixels.reshape(-1, 3), axis=0).max()) <= BLANK_SPREAD:
        raise ImageRejectedError("blank")
    return pixels


def _centre_square(image: Image.Image, size: int) -> Image.Image:
    """The centre square at `size` x `size`, decoded at reduced scale where the format can (JPEG)."""
    width, height = image.size
    scale = size / min(width, height)
    if scale < 1:
        image.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))
    image.load()  # only now is the size certain: a HEIC may turn out smaller than it said
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    image = _eight_bits(image)
    # reducing_gap averages whole blocks first where the source is over three times the target: as good, and faster.
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Modes that cannot be interpolated, to ones that can; 16-bit greys to 8 bits over their full range."""
    match image.mode:
        case "1":
            return image.convert("L")
        case "P" | "PA" | "LA" | "La" | "RGBa":
            return image.convert("RGBA" if image.has_transparency_data else "RGB")
        case "I;16" | "I;16L" | "I;16B" | "I;16N" | "I":
            return _eight_bit_greys(image)
        case _:
            return image


def _eight_bit_greys(image: Image.Image) -> Image.Image:
    greys = Image.new("L", image.size)
    for top, levels in _bands(image):
        greys.paste(Image.fromarray(np.clip(levels * (255.0 / 65535.0), 0, 255).astype(np.uint8)), (0, top))
    return greys


def _bands(image: Image.Image) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The rows of a grey image, some at a time, each with the first one's number."""
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        yield top, np.asarray(band, dtype=np.float32)


def _on_white(image: Image.Image) -> Image.Image:
    """Transparent parts show white, as a viewer shows them."""
    if image.mode != "RGBA":
        return image
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Colours as the embedded profile means them (an iPhone's Display P3, a scanner's CMYK), in sRGB."""
    if profile and len(profile) <= MAX_PROFILE_BYTES and image.mode in ("RGB", "CMYK", "L"):
        try:
            converted = ImageCms.profileToProfile(
                image, io.BytesIO(profile), _SRGB, ImageCms.Intent.RELATIVE_COLORIMETRIC, outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            raise_if_short()
            converted = None  # a broken profile is ignored, as browsers do
        if converted is not None:
            return converted
    return image.convert("RGB")
