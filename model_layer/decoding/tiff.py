"""Finds the page of a TIFF that is its image, and rebuilds its directory from the tags that its pixels need.

Everything else (EXIF, GPS, previews, further pages) is behind tags that the rebuilt directory lacks, so neither Pillow
nor libtiff finds it. Tags are those of TIFF 6.0. Cost: that of `tiff_directory`, and strips or tiles that together are
at most twice the file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_layer.answers import ImageRejectedError, RejectionCode, unsupported
from model_layer.decoding import exif, jpeg
from model_layer.decoding.limits import MAX_PROFILE_BYTES, MAX_STRIPS
from model_layer.decoding.tiff_directory import BYTES_OF_TYPE, NEEDED, Entry, Page, read_pages
from model_layer.decoding.tiff_kinds import refuse_mosaic, refuse_raw, refuse_undecoded

if TYPE_CHECKING:
    from model_layer.decoding.limits import DecodingLimits

_ORIENTATION, _XMP, _TILE_WIDTH, _TILE_LENGTH = 274, 700, 322, 323
_COMPRESSION, _JPEG = 259, 7
_JPEG_TABLES, _COLOUR_MAP, _PROFILE = 347, 320, 34675
_STRIPS, _TILES = (273, 279), (324, 325)  # offsets and byte counts
_MAX_VALUES = 1024  # of a tag that has one value a sample
_JPEG_HEADER = 4096  # bytes that hold a strip's tables and frame
_MAX_COLOURS = 3 * 2**16
# Bits of NewSubfileType: a smaller copy of another page, a transparency mask, a depth map.
_REDUCED, _MASKS = 1, 4 | 8


@dataclass(frozen=True, slots=True)
class StrippedTiff:
    """A TIFF of one page with a directory of its own."""

    data: bytes
    orientation: int


def strip(data: bytes, limits: DecodingLimits) -> StrippedTiff:
    """Appends a rebuilt directory of the image to the file; it refers to the same strips or tiles.

    Raises:
        ImageRejectedError: `truncated` before the end of a directory, `corrupt`, `too_costly`, `too_many_pixels`, or
            `unsupported_format` with what the file is.
    """
    if data.startswith(b"MM\0+"):  # Pillow takes it for a classic TIFF
        raise unsupported("a BigTIFF in big-endian order")
    pages = read_pages(data)
    refuse_raw(pages)
    page = _largest(pages)
    refuse_mosaic(pages[0], page)
    refuse_undecoded(page)
    for tag in NEEDED & page.entries.keys():
        _check(tag, page.entries[tag])
    if page.integer(_TILE_WIDTH, 0) * page.integer(_TILE_LENGTH, 0) > limits.max_pixels:
        raise ImageRejectedError(
            RejectionCode.TOO_MANY_PIXELS
        )  # a tile is decoded whole, even where the image is smaller
    _check_stored(page)
    upright = page.integer(_ORIENTATION, 0)
    if upright not in range(1, 9):
        upright = exif.orientation([], [page.blob(_XMP, MAX_PROFILE_BYTES)])
    return StrippedTiff(_rebuilt(page), upright)


def _largest(pages: list[Page]) -> Page:
    """The full-resolution page with the most pixels, the first of several; others are thumbnails, masks and labels."""
    whole = [page for page in pages if not _is_reduced(page)]
    if not whole:
        raise unsupported("a TIFF that holds only a preview of an image", "export the image itself as JPEG or PNG")
    return max(whole, key=lambda page: page.integer(256, 0) * page.integer(257, 0))


def _is_reduced(page: Page) -> bool:
    role = page.integer(254, 0)
    return bool(role & (_REDUCED | _MASKS)) or (254 not in page.entries and page.integer(255, 1) == 2)


def _check(tag: int, entry: Entry) -> None:
    """Refuses a table that would take seconds to read."""
    longest = _MAX_VALUES
    if tag in _STRIPS + _TILES:
        longest = MAX_STRIPS
    elif tag in (_JPEG_TABLES, _PROFILE):
        longest = MAX_PROFILE_BYTES
    elif tag == _COLOUR_MAP:
        longest = _MAX_COLOURS
    if entry.kind not in BYTES_OF_TYPE or entry.count > longest:
        raise ImageRejectedError(RejectionCode.TOO_COSTLY if entry.count > longest else RejectionCode.CORRUPT)


def _check_stored(page: Page) -> None:
    """Refuses overlapping strips or tiles, which could make a decoder read the whole file 65,536 times.

    Where they are JPEGs, the first one shows how all are coded.
    """
    total, size = 0, len(page.data)
    for offsets, counts in (_STRIPS, _TILES):
        places, lengths = page.integers(offsets, MAX_STRIPS), page.integers(counts, MAX_STRIPS)
        total += sum(max(0, min(length, size - at)) for at, length in zip(places, lengths, strict=False))
        if places and page.integer(_COMPRESSION, 1) == _JPEG:
            _refuse_undecoded_jpeg(page.data[places[0] : places[0] + _JPEG_HEADER])
    if total > 2 * size:
        raise ImageRejectedError(RejectionCode.TOO_COSTLY)


def _refuse_undecoded_jpeg(header: bytes) -> None:
    try:
        jpeg.strip(header)
    except ImageRejectedError as error:
        if error.code is RejectionCode.UNSUPPORTED_FORMAT:
            raise unsupported("a TIFF of JPEGs that are neither baseline nor progressive of 8 bits") from None


def _rebuilt(page: Page) -> bytes:
    layout, data = page.layout, page.data
    kept = {tag: page.entries[tag] for tag in NEEDED & page.entries.keys()}
    padding = b"\0" * (-len(data) % 8)
    behind = len(data) + len(padding)
    colours = _full_range_colours(page)
    if colours:
        offset = struct.pack(layout.order + layout.offset, behind)
        kept[_COLOUR_MAP] = Entry(3, len(colours) // 2, offset)
    start = struct.pack(layout.order + layout.offset, behind + len(colours))
    directory = struct.pack(layout.order + layout.count, len(kept)) + b"".join(
        struct.pack(layout.order + layout.entry, tag, entry.kind, entry.count, entry.inline)
        for tag, entry in sorted(kept.items())
    )
    end_of_directories = bytes(layout.size(layout.offset))
    body = memoryview(data)[len(layout.header) + len(start) :]
    return b"".join((layout.header, start, body, padding, colours, directory, end_of_directories))


def _full_range_colours(page: Page) -> bytes:
    """A palette that some writer left in 8 bits, in the 16 bits that TIFF requires; empty for a correct one."""
    colours = page.integers(_COLOUR_MAP, _MAX_COLOURS)
    if not colours or max(colours) > 255:
        return b""
    return struct.pack(f"{page.layout.order}{len(colours)}H", *(257 * colour for colour in colours)) + bytes(
        -2 * len(colours) % 8
    )
