"""Recognises a file's format by its first bytes, never by a name, and reads its header.

The order of work for each format is one `_open_` function: refuse, strip, let Pillow read the rest. Cost: that of the
format's own module; a run-length BMP is limited in reads and pixels.
"""

from __future__ import annotations

import io
import math
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from PIL import BmpImagePlugin, GifImagePlugin, PngImagePlugin, TiffImagePlugin

from model_layer.answers import ImageFacts, ImageRejectedError, RejectionCode
from model_layer.decoding import colour, dicom, exif, gif, heic, jpeg, png, tiff, undecoded, webp
from model_layer.decoding.completeness import is_sound_png, is_sound_raster, is_sound_tiff
from model_layer.decoding.jpeg_scans import JpegFile
from model_layer.decoding.limits import (
    BYTES_A_PIXEL,
    MAX_READS,
    MAX_RUN_LENGTH_PIXELS,
    CountedReads,
    DecodingLimits,
    raise_if_short,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL import Image

_FORMATS: dict[str, Callable[[bytes], object]] = {
    "dicom": dicom.recognised,  # first, since its preamble may begin like a TIFF
    "jpeg": re.compile(rb"\xff\xd8\xff").match,
    "png": re.compile(rb"\x89PNG\r\n\x1a\n").match,
    "webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL).match,
    "tiff": re.compile(rb"II[*+]\0|MM\0[*+]").match,
    "gif": re.compile(rb"GIF8[79]a").match,
    # Two letters are too few to recognise a bitmap, so its header must have one of these lengths.
    "bmp": re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL).match,
    "heic": undecoded.is_heif,
}


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """A file whose header has been read, and nothing decoded."""

    format: str
    """jpeg, png, webp, tiff, bmp, gif, heic or dicom."""
    image: Image.Image
    orientation: int = 1
    """EXIF's, 1 to 8, which `image` does not take into account."""
    profile: bytes | None = None
    """The embedded ICC profile, unverified."""
    space: colour.ColourSpace | None = None
    """The colour space where there is no profile; None: sRGB."""
    scales: bool = False
    """Whether it can be decoded at reduced scale."""
    held_bytes: int = 0
    """What its decoder holds at any scale, beside the pixels."""
    spare_alpha: bool = False
    """Whether transparency that is 0 everywhere means nothing."""

    def decoded_pixels(self, size: int) -> int:
        """What decoding to `size` x `size` costs, in pixels of an image that is decoded whole."""
        width, height = self.image.size
        wanted = covering(width, height, size)
        fraction = min(width // max(1, wanted[0]), height // max(1, wanted[1])) if self.scales else 1
        scale = next((known for known in (8, 4, 2) if fraction >= known), 1)  # what Pillow can ask libjpeg for
        return width * height // scale**2 + self.held_bytes // BYTES_A_PIXEL


def covering(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height of the smallest copy whose shorter side is at least `size`; never more than the image's own."""
    scale = min(1.0, size / max(1, min(width, height)))
    return math.ceil(width * scale), math.ceil(height * scale)


def open_image(data: bytes, limits: DecodingLimits) -> OpenedImage:
    """Reads the header of any file.

    Raises:
        ImageRejectedError: not an image, an unsupported format, or refused by its structure.
        Exception: the header cannot be read; the type depends on the format.
    """
    for name, is_one in _FORMATS.items():
        if is_one(data):
            return _OPENERS[name](data, limits)
    undecoded.refuse_named(data)
    raise ImageRejectedError(RejectionCode.NOT_AN_IMAGE)


def _holed(name: str, image: Image.Image) -> ImageRejectedError:
    return ImageRejectedError(RejectionCode.INCOMPLETE, ImageFacts(name, *image.size))


@contextmanager
def _reserving(name: str, size: tuple[int, int], limits: DecodingLimits) -> Iterator[None]:
    """Guards formats whose header cannot be read without reserving memory for all pixels."""
    width, height = size
    if width * height > limits.max_pixels:
        raise ImageRejectedError(RejectionCode.TOO_MANY_PIXELS, ImageFacts(name, width, height))
    try:
        yield
    except Exception:
        raise_if_short(width * height)
        raise


def _open_jpeg(data: bytes, _: DecodingLimits) -> OpenedImage:
    stripped = jpeg.strip(data)
    image = JpegFile(io.BytesIO(stripped.data))
    space = colour.adobe_rgb() if stripped.adobe_rgb else None
    scales, held = stripped.scales, stripped.coefficient_bytes
    return OpenedImage("jpeg", image, stripped.orientation, stripped.profile, space, scales=scales, held_bytes=held)


def _open_png(data: bytes, _: DecodingLimits) -> OpenedImage:
    undecoded.refuse_optimised_png(data)
    stripped = png.strip(data)
    if not is_sound_png(stripped.data):
        raise _holed("png", PngImagePlugin.PngImageFile(io.BytesIO(stripped.data)))
    image = PngImagePlugin.PngImageFile(io.BytesIO(stripped.data))
    if stripped.colour_key is not None:
        image.info["transparency"] = stripped.colour_key
    return OpenedImage("png", image, stripped.orientation, stripped.profile, stripped.space)


def _open_tiff(data: bytes, limits: DecodingLimits) -> OpenedImage:
    stripped = tiff.strip(data, limits)
    image = TiffImagePlugin.TiffImageFile(io.BytesIO(stripped.data))
    if not is_sound_tiff(data, image):
        raise _holed("tiff", image)
    return OpenedImage("tiff", image, stripped.orientation, image.info.get("icc_profile"))


def _open_webp(data: bytes, limits: DecodingLimits) -> OpenedImage:
    with _reserving("webp", webp.canvas(data), limits):
        image = webp.WebPFile(io.BytesIO(data))
    block = image.info.get("exif")
    space = colour.adobe_rgb() if block and exif.is_adobe_rgb(block) else None
    upright = exif.orientation([block], [image.info.get("xmp")])
    return OpenedImage("webp", image, upright, image.info.get("icc_profile"), space)


def _open_gif(data: bytes, limits: DecodingLimits) -> OpenedImage:
    stripped = gif.strip(data)
    with _reserving("gif", stripped.size, limits):
        return OpenedImage("gif", GifImagePlugin.GifImageFile(io.BytesIO(stripped.data)))


def _open_bmp(data: bytes, _: DecodingLimits) -> OpenedImage:
    undecoded.refuse_bitmap(data)
    try:  # reads are counted, since Pillow unpacks a run-length BMP in Python, byte by byte
        image = BmpImagePlugin.BmpImageFile(CountedReads(data, MAX_READS))
    except OSError as error:
        undecoded.refuse_bitmap_fields(error)
        raise
    if image.tile[0].codec_name == "bmp_rle" and image.width * image.height > MAX_RUN_LENGTH_PIXELS:
        raise ImageRejectedError(RejectionCode.TOO_COSTLY, ImageFacts("bmp", *image.size))
    if not is_sound_raster(data, image):
        raise _holed("bmp", image)
    # Many Windows programs leave the fourth byte at 0, even where the header calls it transparency.
    return OpenedImage("bmp", image, spare_alpha=True)


def _open_heic(data: bytes, limits: DecodingLimits) -> OpenedImage:
    # Imported with the first HEIC file: libheif costs a cold start tens of milliseconds that few uploads need.
    from pillow_heif import HeifImageFile, options  # noqa: PLC0415

    undecoded.refuse_heif_sequence(data)
    heic.check(data, limits)
    options.DECODE_THREADS = 1  # the worker's own pool already fills the cores
    # A preview may be older than the last edit of the image.
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    image: Image.Image = HeifImageFile(io.BytesIO(data))  # type: ignore[no-untyped-call]
    # libheif sets the image upright, but keeps EXIF's orientation as it was.
    return OpenedImage("heic", image, 1, image.info.get("icc_profile"), _heic_space(image))


def _heic_space(image: Image.Image) -> colour.ColourSpace | None:
    """From the code points of nclx, whose matrix and range libheif has applied, else from EXIF."""
    codes, block = image.info.get("nclx_profile"), image.info.get("exif")
    if codes:
        return colour.by_codes(codes["color_primaries"], codes["transfer_characteristics"])
    return colour.adobe_rgb() if block and exif.is_adobe_rgb(block) else None


def _open_dicom(data: bytes, limits: DecodingLimits) -> OpenedImage:
    frame = dicom.read(data, limits)
    if not isinstance(frame.pixels, bytes):
        return OpenedImage("dicom", frame.pixels, profile=frame.profile)
    try:
        opened = _open_jpeg(frame.pixels, limits)
    except ImageRejectedError as error:
        raise (dicom.unusual_jpeg() if error.code is RejectionCode.UNSUPPORTED_FORMAT else error) from None
    marked = dicom.as_rgb(frame.pixels, opened.image) if frame.tagged_rgb else None
    if marked:
        opened = _open_jpeg(marked, limits)
    # DICOM shows pixels as they are stored: a camera's orientation in the JPEG does not apply.
    return replace(opened, format="dicom", orientation=1, profile=frame.profile or opened.profile)


_OPENERS = {
    "jpeg": _open_jpeg,
    "png": _open_png,
    "webp": _open_webp,
    "tiff": _open_tiff,
    "gif": _open_gif,
    "bmp": _open_bmp,
    "heic": _open_heic,
    "dicom": _open_dicom,
}
