"""Bytes of any image file in, one square of sRGB pixels out: the same function for training and serving.

Files come from strangers, so four checks run before a decoder sees one, the cheapest first: the size in bytes; the
format, judged by the first bytes (`formats`); the structure, which is walked here and stripped to what the pixels need
(`jpeg`, `png`, `gif`, `tiff`; `webp`, `heic` and `dicom` are walked, but not stripped); and the number of pixels in the
header. Metadata is not decoded beyond orientation and colours. Expensive structures are refused by counting, never by a
clock, so the answer is the same on every machine (`limits`).

Everything that can work on fewer pixels happens after the reduction. A JPEG is decoded at 1/2, 1/4 or 1/8 scale where
that still covers the network's input (the DCT gives those scales at a fraction of the cost), and the colour profile and
the orientation are applied to the small square, not to the photograph.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from model_layer.answers import ImageFacts, ImageRejectedError, RejectionCode
from model_layer.decoding.completeness import has_lost_block
from model_layer.decoding.formats import OpenedImage, open_image
from model_layer.decoding.limits import HEAVY_PIXELS, MIN_SIDE, DecodingLimits, raise_if_short
from model_layer.decoding.square import upright_square

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DecodedImage", "DecodingLimits", "decode"]

_DEFAULT_LIMITS = DecodingLimits()
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_TRUNCATION_SIGNS = ("truncated", "premature", "unexpected end", "end of file", "not enough")
# Several decoders run at once, but only one of them on an image that takes hundreds of megabytes.
_one_heavy_image = threading.Lock()

# Pillow's own pixel limit is a process-wide setting; `DecodingLimits` replaces it, before anything is allocated.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module=r"PIL\..*")  # warnings about odd metadata, which is never read


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """The centre square of an image at the network's size."""

    pixels: NDArray[np.uint8]
    """(size, size, 3), sRGB, 0..255."""
    facts: ImageFacts


def decode(data: bytes, size: int, limits: DecodingLimits = _DEFAULT_LIMITS) -> DecodedImage:
    """Decodes the first frame of `data` to its centre square, resized with antialiasing to `size` x `size`.

    May be called from several threads.

    Raises:
        ImageRejectedError: with a code, for any bytes that are not answered with pixels.
        MemoryError: this process is short of memory, which says nothing about the image. Raises nothing else.
    """
    if not data:
        raise ImageRejectedError(RejectionCode.EMPTY)
    if len(data) > limits.max_bytes:
        raise ImageRejectedError(RejectionCode.TOO_LARGE)
    facts, cost = None, 0
    try:
        opened = open_image(data, limits)
        facts = _facts(opened)
        cost = opened.decoded_pixels(size)
        _guard(facts, cost, limits, scales=opened.scales)
        heavy = cost > HEAVY_PIXELS
        with _one_heavy_image if heavy else nullcontext():
            pixels = upright_square(opened, size)
    except ImageRejectedError as error:
        raise ImageRejectedError(error.code, error.facts or facts, error.detail) from None
    except MemoryError:
        raise  # also for a large image: it is under the limit, and a worker with more memory can decode it
    except Exception as error:  # noqa: BLE001 (decoders raise what they like: struct.error, SyntaxError, ...)
        raise_if_short(cost)
        raise ImageRejectedError(_code(error, data, facts), facts) from None
    return DecodedImage(pixels, facts)


def _guard(facts: ImageFacts, cost: int, limits: DecodingLimits, *, scales: bool) -> None:
    """Refuses by the header, before anything is allocated for pixels; `cost` in pixels that are decoded whole."""
    most = limits.max_scaled_pixels if scales else limits.max_pixels
    if cost > limits.max_pixels or facts.width * facts.height > most:
        raise ImageRejectedError(RejectionCode.TOO_MANY_PIXELS)
    if min(facts.width, facts.height) < MIN_SIDE:
        raise ImageRejectedError(RejectionCode.TOO_SMALL)


def _facts(opened: OpenedImage) -> ImageFacts:
    width, height = opened.image.size
    if opened.orientation in _SIDEWAYS:
        width, height = height, width
    return ImageFacts(opened.format, width, height)


def _code(error: Exception, data: bytes, facts: ImageFacts | None) -> RejectionCode:
    """The code for a decoder's error."""
    sentence = str(error).lower()
    if any(sign in sentence for sign in _TRUNCATION_SIGNS):
        return RejectionCode.TRUNCATED
    return RejectionCode.INCOMPLETE if facts and has_lost_block(data) else RejectionCode.CORRUPT
