"""Which format a file has, told from its first bytes and never from a name, and its header read."""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import BmpImagePlugin, GifImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from model_layer.decoding import gif, heic, jpeg, png, tiff, webp
from model_layer.decoding.completeness import is_sound_png, is_sound_raster, is_sound_tiff, is_sound_webp
from model_layer.decoding.jpeg_scans import JpegFile
from model_layer.decoding.limits import MAX_READS, MAX_RUN_LENGTH_PIXELS, DecodingLimits
from model_layer.decoding.memory import raise_if_short
from model_layer.decoding.orientation import orientation
from model_layer.facts import ImageFacts
from model_layer.rejections import ImageRejectedError, incomplete

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

# Two letters would be too little to tell a bitmap: its header is of one of these lengths.
_FORMATS = {
    "jpeg": re.compile(rb"\xff\xd8\xff"),
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "tiff": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "gif": re.compile(rb"GIF8[79]a"),
    "bmp": re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
    "heic": re.compile(rb".{4}ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)", re.DOTALL),
}
# Recognised by their first bytes as a picture or document, but not decoded here.
_UNSUPPORTED = (
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


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """A file whose header has been read, and nothing decoded."""

    format: str
    """jpeg, png, webp, tiff, bmp, gif or heic."""
    image: Image.Image
    orientation: int = 1
    """EXIF's, 1 to 8, which `image` does not take into account."""
    profile: bytes | None = None
    """The embedded ICC profile, unverified."""
    scales: bool = False
    """Whether decoding at reduced scale takes memory for the reduced image alone."""


def open_image(data: bytes, limits: DecodingLimits) -> OpenedImage:
    """Reads the header of any file.

    Raises:
        ImageRejectedError: it is no image, one of an unsupported format, or one that is refused by its structure.
        Exception: the header cannot be read; what exactly, depends on the format.
    """
    for name, signature in _FORMATS.items():
        if signature.match(data):
            return _OPENERS[name](data, limits)
    unsupported = any(data.startswith(mark, offset) for offset, mark in _UNSUPPORTED)
    raise ImageRejectedError("unsupported_format" if unsupported else "not_an_image")


class _CountedReads(io.BytesIO):
    """For the run-length BMP, which is unpacked in Python byte by byte: nothing else bounds how long it takes."""

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > MAX_READS:
            raise ImageRejectedError("too_costly")
        return super().read(size)


class _WebPFile(WebPImagePlugin.WebPImageFile):
    """Pillow's WebP, which has no hole once it is loaded."""

    _is_checked = False

    def load(self) -> Any:
        if not self._is_checked:
            file: Any = self.fp
            data = file.getvalue()
            super().load()
            self._is_checked = True
            if not is_sound_webp(data, self):
                raise incomplete()
        return super().load()


def _holed(name: str, image: Image.Image) -> ImageRejectedError:
    return ImageRejectedError("incomplete", ImageFacts(name, *image.size))


@contextmanager
def _reserving(name: str, size: tuple[int, int], limits: DecodingLimits) -> Iterator[None]:
    """For formats that reserve memory for pixels while their header is read: not for too many, nor without memory."""
    width, height = size
    if width * height > limits.max_pixels:
        raise ImageRejectedError("too_many_pixels", ImageFacts(name, width, height))
    try:
        yield
    except Exception:
        raise_if_short(width * height)
        raise


def _open_jpeg(data: bytes, _: DecodingLimits) -> OpenedImage:
    stripped = jpeg.strip(data)
    image = JpegFile(io.BytesIO(stripped.data))
    profile = image.info.get("icc_profile")
    return OpenedImage("jpeg", image, stripped.orientation, profile, scales=not stripped.progressive)


def _open_png(data: bytes, _: DecodingLimits) -> OpenedImage:
    stripped = png.strip(data)
    if not is_sound_png(stripped.data):
        raise _holed("png", PngImagePlugin.PngImageFile(io.BytesIO(stripped.data)))
    image = PngImagePlugin.PngImageFile(io.BytesIO(stripped.data))
    return OpenedImage("png", image, stripped.orientation, stripped.profile)


def _open_tiff(data: bytes, limits: DecodingLimits) -> OpenedImage:
    stripped = tiff.strip(data, limits)
    image = TiffImagePlugin.TiffImageFile(io.BytesIO(stripped.data))
    if not is_sound_tiff(data, image):
        raise _holed("tiff", image)
    return OpenedImage("tiff", image, stripped.orientation, image.info.get("icc_profile"))


def _open_webp(data: bytes, limits: DecodingLimits) -> OpenedImage:
    with _reserving("webp", webp.canvas(data), limits):
        image = _WebPFile(io.BytesIO(data))
    upright = orientation(image.info.get("exif"), image.info.get("xmp"))
    return OpenedImage("webp", image, upright, image.info.get("icc_profile"))


def _open_gif(data: bytes, limits: DecodingLimits) -> OpenedImage:
    stripped = gif.strip(data)
    with _reserving("gif", stripped.size, limits):
        return OpenedImage("gif", GifImagePlugin.GifImageFile(io.BytesIO(stripped.data)))


def _open_bmp(data: bytes, _: DecodingLimits) -> OpenedImage:
    image = BmpImagePlugin.BmpImageFile(_CountedReads(data))
    if image.tile[0].codec_name == "bmp_rle" and image.width * image.height > MAX_RUN_LENGTH_PIXELS:
        raise ImageRejectedError("too_costly", ImageFacts("bmp", *image.size))
    if not is_sound_raster(data, image):
        raise _holed("bmp", image)
    return OpenedImage("bmp", image)


def _open_heic(data: bytes, limits: DecodingLimits) -> OpenedImage:
    # Imported with the first HEIC file: libheif costs a cold start tens of milliseconds that few uploads need.
    from pillow_heif import HeifImageFile, options  # noqa: PLC0415

    heic.check(data, limits)
    options.DECODE_THREADS = 1  # the worker's own pool already fills the cores
    # A preview is another image than the one that was taken: it may be older than the last edit.
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    image: Image.Image = HeifImageFile(io.BytesIO(data))  # type: ignore[no-untyped-call]
    # libheif sets the image upright, and leaves EXIF's orientation as it was.
    return OpenedImage("heic", image, 1, image.info.get("icc_profile"))


_OPENERS = {
    "jpeg": _open_jpeg,
    "png": _open_png,
    "webp": _open_webp,
    "tiff": _open_tiff,
    "gif": _open_gif,
    "bmp": _open_bmp,
    "heic": _open_heic,
}
