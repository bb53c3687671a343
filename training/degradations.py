"""What happens to a photograph on its way: other light, other cameras, other files. Real images made worse on purpose.

Each function takes an RGB image of any size and gives one back. `as_file` makes of it what the classifier reads, so
that whatever is measured on the result has gone the same way as an upload.
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


register_heif_opener()  # the worker takes HEIC too, whatever the file is called


def opened(file: Path, side: int) -> Image.Image:
    """The upright image in RGB, its shorter side at most twice `side`, the network's: more would only cost time.

    Raises:
        TrainingError: it is no image, or a damaged one.
    """
    try:
        with Image.open(file) as image:
            image.draft("RGB", (2 * side, 2 * side))
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except OSError as error:
        raise TrainingError(
            f"{file} can't be made worse: {error.strerror or error}. Remove its row or mend it."
        ) from None
    return shrunk(upright, 2 * side)


def as_file(image: Image.Image) -> bytes:
    """A file of exactly these pixels (BMP: nothing is lost, and it costs no time)."""
    stream = io.BytesIO()
    image.save(stream, "BMP")
    return stream.getvalue()


def exposed(image: Image.Image, stops: float) -> Image.Image:
    """As if exposed for `stops` photographic stops more light (less if negative): a factor of 2 each, in linear light.

    Neither a camera's noise in the dark nor its tone curve is imitated.
    """
    levels = np.arange(256) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    light = np.clip(linear * 2.0**stops, 0, 1)
    return _with_levels(image, np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255)


def brightened(image: Image.Image, factor: float) -> Image.Image:
    """Every sRGB value multiplied by `factor`, as an editor's brightness control does."""
    return _with_levels(image, np.arange(256) * factor)


def cast(image: Image.Image, red: float, green: float, blue: float) -> Image.Image:
    """Channels multiplied one by one: the colour cast of another lamp or white balance (von Kries 1902)."""
    return _with_levels(image, np.arange(256) * red, np.arange(256) * green, np.arange(256) * blue)


def blurred(image: Image.Image, share: float) -> Image.Image:
    """Gaussian blur whose standard deviation is `share` of the shorter side."""
    return image.filter(ImageFilter.GaussianBlur(share * min(image.size)))


def shrunk(image: Image.Image, side: int) -> Image.Image:
    """The whole image with its shorter side at `side` pixels, antialiased; smaller ones stay as they are."""
    shorter = min(image.size)
    if shorter <= side:
        return image
    width, height = (max(1, round(length * side / shorter)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)


def compressed(image: Image.Image, quality: int) -> Image.Image:
    """Through JPEG of this quality (Pillow's scale, chroma at half resolution) and back."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    return Image.open(stream).convert("RGB")


def turned(image: Image.Image, quarters: int) -> Image.Image:
    """Turned by quarters of a circle, counter-clockwise; no pixel changes its value."""
    operations = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
    return image.transpose(operations[quarters - 1])


def faded(image: Image.Image, left: float) -> Image.Image:
    """Faded into the image's own mean colour until this share of its contrast is left: what stood out sinks in."""
    mean = np.asarray(image).mean(axis=(0, 1))
    return Image.blend(Image.new("RGB", image.size, tuple(round(c) for c in mean)), image, left)


def _with_levels(image: Image.Image, *curves: NDArray[np.floating]) -> Image.Image:
    """Maps the 256 levels through one curve, or through one for each channel."""
    tables = np.rint(np.clip(np.broadcast_to(curves, (3, 256)), 0, 255)).astype(int)
    return image.point(tables.ravel().tolist())
