"""What is refused, in numbers. All of them count; none is a clock, so that an image has one answer for good."""

from __future__ import annotations

from dataclasses import dataclass

MIN_SIDE = 48
"""Pixels. Below this a lesion is a handful of them, and the network would look at what the resampling made up."""

HEAVY_PIXELS = 2**24
"""Above this (16.8 megapixels), images that cannot be decoded at reduced scale are decoded one at a time.

Measured peaks are 1 to 16 bytes a pixel (WebP, the worst, holds two canvases, a copy, and Pillow's image).
"""

BYTES_A_PIXEL = 16

MAX_SCANS = 64
"""Scans of a JPEG. Progressive photographs have 6 to 12; every further one passes over all coefficients again."""

MAX_SCAN_PIXELS = 64 * 51_000_000
"""Scans x pixels of a JPEG: seconds of passing over coefficients. It leaves 16 scans of 200 megapixels."""

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
"""A colour profile is about 3 KB, with lookup tables up to 1 MB; beyond that it is not worth parsing."""

MAX_METADATA_BYTES = 2**20
"""What is unpacked at most of compressed metadata that may tell the orientation."""


@dataclass(frozen=True, slots=True)
class DecodingLimits:
    """What is refused before anything is allocated for it."""

    max_bytes: int = 2**25
    """Largest file, in bytes."""
    max_pixels: int = 51_000_000
    """Most pixels that are decoded whole: at 16 bytes each, all that decoding one image may take.

    The 50 megapixels of a phone are up to 8,192 x 6,144.
    """

    @property
    def max_scaled_pixels(self) -> int:
        """Of a JPEG, which is decoded at reduced scale and costs a fraction: 204 million for 51.

        The 200 megapixels of a phone are up to 16,384 x 12,288.
        """
        return 4 * self.max_pixels
