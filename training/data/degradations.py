"""Degrades photographs on purpose, as other light, other cameras and other files would.

Each function takes and returns an RGB image of any size. `as_file` encodes the result, so that it passes through the
classifier exactly as an upload does.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter, ImageOps
from pillow_heif import register_heif_opener

from training.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


register_heif_opener()  # the worker accepts HEIC too, whatever the file's name


def opened(file: Path, side: int) -> Image.Image:
    """The upright RGB image, reduced to twice the network's `side`: more pixels would only cost time.

    Raises:
        TrainingError: the file is not an image, or is damaged.
    """
    try:
        with Image.open(file) as image:
            image.draft("RGB", (2 * side, 2 * side))
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except OSError as error:
        raise TrainingError(
            f"{file} cannot be degraded: {error.strerror or error}. Remove its row or repair it."
        ) from None
    return shrunk(upright, 2 * side)


def as_file(image: Image.Image) -> bytes:
    """The image as a BMP file: lossless and fast."""
    stream = io.BytesIO()
    image.save(stream, "BMP")
    return stream.getvalue()


def exposed(image: Image.Image, stops: float) -> Image.Image:
    """As if exposed by `stops` photographic stops more (or less): each is a factor of 2 in linear light.

    A camera's noise in the dark and its tone curve are not simulated.
    """
    levels = np.arange(256) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    light = np.clip(linear * 2.0**stops, 0, 1)
    return _with_levels(image, np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255)


def brightened(image: Image.Image, factor: float) -> Image.Image:
    """Multiplies every sRGB value by `factor`, as an editor's brightness control does."""
    return _with_levels(image, np.arange(256) * factor)


def cast(image: Image.Image, red: float, green: float, blue: float) -> Image.Image:
    """Multiplies each channel: the colour cast of another lamp or white balance (von Kries 1902)."""
    return _with_levels(image, np.arange(256) * red, np.arange(256) * green, np.arange(256) * blue)


def blurred(image: Image.Image, share: float) -> Image.Image:
    """Gaussian blur with a standard deviation of `share` times the shorter side."""
    return image.filter(ImageFilter.GaussianBlur(share * min(image.size)))


def shrunk(image: Image.Image, side: int) -> Image.Image:
    """Reduces the shorter side to `side` pixels, antialiased; smaller images are returned unchanged."""
    shorter = min(image.size)
    if shorter <= side:
        return image
    width, height = (max(1, round(length * side / shorter)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)


def compressed(image: Image.Image, quality: int) -> Image.Image:
    """Saved as JPEG of this quality (Pillow's scale, chroma at half resolution) and opened again."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    return Image.open(stream).convert("RGB")


def turned(image: Image.Image, quarters: int) -> Image.Image:
    """Rotated counter-clockwise by quarter turns; no pixel changes its value."""
    operations = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
    return image.transpose(operations[quarters - 1])


def faded(image: Image.Image, left: float) -> Image.Image:
    """Blended with the image's mean colour until the share `left` of its contrast remains."""
    mean = np.asarray(image).mean(axis=(0, 1))
    return Image.blend(Image.new("RGB", image.size, tuple(round(c) for c in mean)), image, left)


def _with_levels(image: Image.Image, *curves: NDArray[np.floating]) -> Image.Image:
    """Maps the 256 levels through one curve for all channels, or one for each."""
    tables = np.rint(np.clip(np.broadcast_to(curves, (3, 256)), 0, 255)).astype(int)
    return image.point(tables.ravel().tolist())
