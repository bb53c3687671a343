"""Bytes of any image file in, one square of sRGB pixels out: the same function for training and serving.

Guards come before pixels are allocated: the byte limit before the header is read, the pixel limit after it.
Everything that works on fewer pixels comes after the reduction: a JPEG is decoded at 1/2, 1/4 or 1/8 scale
where that still covers the network's input (the DCT gives those scales at a fraction of the cost), and the
colour profile and the orientation are applied to the small square, not to the photograph.
"""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageCms,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from model_layer.facts import ImageFacts
from model_layer.rejections import ImageRejectedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Importing a decoder registers it. The JPEG one reads MPO too, the format of phones that store two views.
SUPPORTED_FORMATS = tuple(
    decoder.format
    for decoder in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        TiffImagePlugin.TiffImageFile,
        BmpImagePlugin.BmpImageFile,
        GifImagePlugin.GifImageFile,
    )
)
"""Pillow's names of what is decoded; HEIC joins when the first such file arrives."""

# Below this a lesion is a handful of pixels, and the network would look at what the resampling made up.
MIN_SIDE = 48
# Largest spread (in levels of 255) within an image that still counts as one even colour: JPEG noise stays under.
BLANK_SPREAD = 6
# A colour profile is about 3 KB, with lookup tables up to 1 MB; beyond that it is not worth parsing.
MAX_PROFILE_BYTES = 2**21

# Recognised by their first bytes as a picture or document, but not decoded here.
_UNSUPPORTED_SIGNATURES = (
    (0, b"%PDF"),
    (0, b"8BPS"),  # Photoshop
    (0, b"\x00\x00\x00\x0cjP  "),  # JPEG 2000
    (0, b"\xff\x4f\xff\x51"),  # JPEG 2000 code stream
    (0, b"\xff\x0a"),  # JPEG XL
    (0, b"\x00\x00\x00\x0cJXL "),
    (0, b"<svg"),
    (0, b"\x00\x00\x01\x00"),  # Windows icon
    (128, b"DICM"),
    (4, b"ftypavif"),
    (4, b"ftypcrx"),  # Canon raw
)
_SUPPORTED_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

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
_SIDEWAYS = (5, 6, 7, 8)
_SRGB = ImageCms.createProfile("sRGB")

# Pillow's own pixel limit is a process-wide setting; `DecodingLimits` takes its place, right after the header.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module=r"PIL\..*")  # remarks about odd metadata, which is never read


@dataclass(frozen=True, slots=True)
class DecodingLimits:
    """What is refused before anything is allocated for it."""

    max_bytes: int = 2**25
    """Largest file, in bytes."""
    max_pixels: int = 50_000_000
    """Largest width x height, in pixels, as the header states them."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """The centre square of an image at the network's size."""

    pixels: NDArray[np.uint8]
    """(size, size, 3), sRGB, 0..255."""
    facts: ImageFacts


def decode(data: bytes, size: int, limits: DecodingLimits = DecodingLimits()) -> DecodedImage:
    """Decodes the first frame of `data` to its centre square, resized with antialiasing to `size` x `size`.

    Raises:
        ImageRejectedError: with a code, whatever the bytes are; no other exception leaves for any input.
    """
    if not data:
        raise ImageRejectedError("empty")
    if len(data) > limits.max_bytes:
        raise ImageRejectedError("too_large")
    facts = None
    try:
        image = _open(data)
        facts = _facts(image, orientation=1)
        _guard(image, limits)
        orientation = _orientation(image)  # not before the guard: to look for the tag, Pillow decodes a whole PNG
        facts = _facts(image, orientation)
        return DecodedImage(_pixels(image, orientation, size), facts)
    except ImageRejectedError as error:
        raise ImageRejectedError(error.code, facts) from None
    except MemoryError:
        raise ImageRejectedError("too_many_pixels", facts) from None
    except Exception as error:  # noqa: BLE001 (decoders raise what they like: struct.error, SyntaxError, ...)
        raise ImageRejectedError("truncated" if _says_truncated(error) else "corrupt", facts) from None


def _guard(image: Image.Image, limits: DecodingLimits) -> None:
    """Refuses by the header alone, before anything is allocated for pixels."""
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageRejectedError("too_many_pixels")
    if min(width, height) < MIN_SIDE:
        raise ImageRejectedError("too_small")


def _pixels(image: Image.Image, orientation: int, size: int) -> NDArray[np.uint8]:
    """(size, size, 3) of the upright centre square."""
    profile = image.info.get("icc_profile")
    upright = _to_srgb(_on_white(_centre_square(image, size)), profile)
    if orientation in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[orientation])
    pixels = np.asarray(upright, dtype=np.uint8)
    if int(np.ptp(pixels.reshape(-1, 3), axis=0).max()) <= BLANK_SPREAD:
        raise ImageRejectedError("blank")
    return pixels


def _orientation(image: Image.Image) -> int:
    """EXIF's, 1 for upright. libheif has turned a HEIC already, and left the tag as it was."""
    if image.format == "HEIC":
        return 1
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in _UPRIGHT else 1


def _facts(image: Image.Image, orientation: int) -> ImageFacts:
    width, height = image.size
    if orientation in _SIDEWAYS:
        width, height = height, width
    return ImageFacts("jpeg" if image.format == "MPO" else str(image.format).lower(), width, height)


def _open(data: bytes) -> Image.Image:
    """Reads the header alone; the format is told from the content, never from a name."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        return _open_heic(data)
    try:
        return Image.open(io.BytesIO(data), formats=SUPPORTED_FORMATS)
    except UnidentifiedImageError:
        if any(data.startswith(mark, offset) for offset, mark in _UNSUPPORTED_SIGNATURES):
            raise ImageRejectedError("unsupported_format") from None
        if data.startswith(_SUPPORTED_SIGNATURES) or (data.startswith(b"RIFF") and data[8:12] == b"WEBP"):
            raise ImageRejectedError("corrupt") from None  # begins as an image, yet its header cannot be read
        raise ImageRejectedError("not_an_image") from None


def _open_heic(data: bytes) -> Image.Image:
    # Imported with the first HEIC file: libheif costs a cold start tens of milliseconds that few uploads need.
    from pillow_heif import HeifImageFile, options  # noqa: PLC0415

    options.DECODE_THREADS = 1  # the worker's own pool already fills the cores
    image: Image.Image = HeifImageFile(io.BytesIO(data))  # type: ignore[no-untyped-call]
    image.format = "HEIC"
    return image


def _centre_square(image: Image.Image, size: int) -> Image.Image:
    """The centre square at `size` x `size`, decoded at reduced scale where the format can (JPEG)."""
    width, height = image.size
    scale = size / min(width, height)
    if scale < 1:
        image.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))
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
        case "I;16" | "I;16L" | "I;16B" | "I;16N" | "I" | "F":
            levels = np.asarray(image, dtype=np.float32)
            lowest, highest = (0.0, 65535.0) if image.mode.startswith("I") else _finite_range(levels)
            scaled = np.nan_to_num((levels - lowest) * (255.0 / max(highest - lowest, 1e-6)))
            return Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))
        case _:
            return image


def _finite_range(levels: NDArray[np.float32]) -> tuple[float, float]:
    finite = levels[np.isfinite(levels)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


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
            converted = None  # a broken profile is ignored, as browsers do
        if converted is not None:
            return converted
    return image.convert("RGB")


def _says_truncated(error: Exception) -> bool:
    sentence = str(error).lower()
    return any(sign in sentence for sign in ("truncated", "premature", "unexpected end", "end of file", "not enough"))
