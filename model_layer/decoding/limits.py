"""The numbers above which a file is refused, and how reads and memory are held to them.

Every limit is a count, never a clock, so that an image gets the same answer on every machine.
"""

from __future__ import annotations

import io
import mmap
from dataclasses import dataclass

from model_layer.answers import ImageRejectedError, RejectionCode

MIN_SIDE = 48
"""Pixels. Below this a lesion is a handful of pixels, and the network would see the resampling's inventions."""

HEAVY_PIXELS = 2**24
"""Above this (16.8 megapixels), images that cannot be decoded at reduced scale are decoded one at a time.

Measured peaks are 1 to 16 bytes a pixel (WebP, the worst, holds two canvases, a copy, and Pillow's image).
"""

BYTES_A_PIXEL = 16
_ANY_IMAGE = 32 * 2**20  # bytes: the file, buffers, the decoder's own

MAX_SCANS = 64
"""Scans of a JPEG. Progressive photographs have 6 to 12; each scan is a pass over all coefficients."""

MAX_SCAN_PIXELS = 64 * 51_000_000
"""Scans x pixels of a JPEG: seconds of passes over coefficients. It allows 16 scans of 200 megapixels."""

MAX_SEGMENTS = 10_000
"""Segments of a JPEG before its first scan: a hundred for ordinary ones, 512 for 32 MB of metadata."""

MAX_CHUNKS = 100_000
"""Chunks of a PNG: the usual 8 KB make 4,096 of 32 MB. Blocks of a GIF before its first frame: a handful."""

MAX_STRIPS = 2**16
"""Strips or tiles of a TIFF: one for each row of the tallest ordinary image, 1 second of work for Pillow."""

MAX_DIRECTORY_ENTRIES = 2**18
"""Entries of all directories of a TIFF together: 10,000 pages of 25; a fifth of a second of work."""

MAX_READS = 1_000_000
"""Reads of a run-length BMP, which Pillow unpacks byte by byte: about a second of them."""

MAX_RUN_LENGTH_PIXELS = 2**23
"""Pixels of a run-length BMP, which Pillow unpacks in Python, up to a second for each 8 megapixels."""

MAX_DICOM_READS = 20_000
"""Reads of a DICOM header, which pydicom parses element by element: a photograph has some hundreds of elements."""

MAX_FRAGMENTS = 10_000
"""Fragments of a DICOM's frame: most writers make one, some one for each 64 KB."""

MAX_BOXES = 20_000
"""Boxes of a HEIC: libheif reads a thousand items at most, each with a few."""

MAX_PROFILE_BYTES = 2**21
"""Longest colour profile that is parsed. Usual ones have 3 KB, or up to 1 MB with lookup tables."""

MAX_METADATA_BYTES = 2**20
"""Most bytes that are inflated of compressed metadata, which may state the orientation."""


@dataclass(frozen=True, slots=True)
class DecodingLimits:
    """What is refused before anything is allocated for pixels."""

    max_bytes: int = 2**25
    """Largest file, in bytes."""
    max_pixels: int = 51_000_000
    """Most pixels that are decoded whole; at 16 bytes each, this bounds the memory for one image.

    The 50 megapixels of a phone are up to 8,192 x 6,144.
    """

    @property
    def max_scaled_pixels(self) -> int:
        """The limit for a JPEG, which is decoded at reduced scale at a fraction of the cost: 204 million for 51.

        The 200 megapixels of a phone are up to 16,384 x 12,288.
        """
        return 4 * self.max_pixels


class CountedReads(io.BytesIO):
    """A file in memory that may be read only so often: for parsers in Python whose work nothing else bounds."""

    def __init__(self, data: bytes, most: int) -> None:
        """The first read beyond `most` raises `ImageRejectedError` (`too_costly`)."""
        super().__init__(data)
        self._left = most

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ImageRejectedError(RejectionCode.TOO_COSTLY)
        return super().read(size)


def raise_if_short(pixels: int = 0) -> None:
    """Distinguishes a worker that is short of memory from a damaged image, after a decoder has failed on `pixels`.

    Decoders report both alike. The shortage passes, so the image must be retried; damage is a final answer. This
    reserves what such an image takes, without touching it.

    Raises:
        MemoryError: the process cannot get that much memory.
    """
    try:
        # Not a bytearray, which would write zeros to all of it.
        mmap.mmap(-1, _ANY_IMAGE + BYTES_A_PIXEL * pixels).close()
    except OSError:
        raise MemoryError from None
