"""A TIFF's first directory, rebuilt from the tags that its pixels need.

Everything else (EXIF, GPS, previews, further pages) is behind tags that the rebuilt directory does not have: neither
Pillow nor libtiff finds it. Tags are those of TIFF 6.0 and its technical notes; both TIFF and BigTIFF are read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_layer.decoding.limits import MAX_PROFILE_BYTES, MAX_STRIPS
from model_layer.decoding.orientation import orientation
from model_layer.rejections import ImageRejectedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model_layer.decoding.limits import DecodingLimits

_COMPRESSION, _ORIENTATION, _TILE_WIDTH, _TILE_LENGTH, _XMP = 259, 274, 322, 323, 700
_JPEG_TABLES, _COLOUR_MAP, _PROFILE = 347, 320, 34675
_STRIPS = (273, 279, 324, 325)  # offsets and byte counts of strips and of tiles
# Size, samples, photometry, fill order, rows per strip, predictor, extra samples, old and new JPEG, YCbCr.
_NEEDED = frozenset(
    [256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 332, 338, 339, 347]
) | {*range(512, 522), 529, 530, 531, 532, _PROFILE}
# None, LZW, JPEG old and new, Deflate new and old, PackBits. Not fax: it shows no skin, and its decoder writes a line
# of log for every damaged row. Nor the others: no camera writes them, and some decoders reserve gigabytes (LZMA).
_COMPRESSIONS = frozenset([1, 5, 6, 7, 8, 32946, 32773])
_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "L", 6: "B", 8: "H", 9: "L", 13: "L", 16: "Q", 17: "Q", 18: "Q"}  # by type, unsigned
_MAX_ENTRIES = 4096
_MAX_VALUES = 1024  # of a tag that has one value a sample


@dataclass(frozen=True, slots=True)
class StrippedTiff:
    """A TIFF of one page with a directory of its own."""

    data: bytes
    orientation: int


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the two kinds of TIFF write a directory: both have the same parts in different widths."""

    order: str
    count: str
    entry: str
    offset: str
    header: bytes

    def size(self, form: str) -> int:
        """Bytes in the file: of a form without its order, struct would tell this machine's own."""
        return struct.calcsize(self.order + form)

    def unpack(self, form: str, data: bytes, position: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self.order + form, data, position)
        except struct.error:  # a directory often stands at the end, which a broken-off file lacks
            raise ImageRejectedError("truncated") from None


def strip(data: bytes, limits: DecodingLimits) -> StrippedTiff:
    """Rebuilds the first directory behind the file's end, where it leads to the same strips or tiles.

    Raises:
        ImageRejectedError: `truncated` before the directory, `corrupt`, `too_costly`, or `unsupported_format`.
    """
    layout = _layout(data)
    kept: dict[int, bytes] = {}
    upright, xmp = 0, None
    sides = [0, 0]
    for tag, kind, count, at in _entries(layout, data):
        entry = data[at : at + layout.size(layout.entry)]
        inline = entry[-layout.size(layout.offset) :]
        if tag == _ORIENTATION:
            upright = _integer(layout, kind, inline) or 0
        elif tag == _XMP and xmp is None and count <= MAX_PROFILE_BYTES:
            (start,) = layout.unpack(layout.offset, inline, 0)
            xmp = data[start : start + count]
        elif tag in _NEEDED and tag not in kept:
            _check(tag, kind, count)
            kept[tag] = entry
            if tag == _COMPRESSION and _integer(layout, kind, inline) not in _COMPRESSIONS:
                raise ImageRejectedError("unsupported_format")
            if tag in (_TILE_WIDTH, _TILE_LENGTH):
                sides[tag - _TILE_WIDTH] = _integer(layout, kind, inline) or 0
    if sides[0] * sides[1] > limits.max_pixels:  # a tile is decoded whole, even where the image is smaller
        raise ImageRejectedError("too_many_pixels")
    _check_stored(layout, data, kept)
    if upright not in range(1, 9):
        upright = orientation(None, xmp)
    return StrippedTiff(_rebuilt(layout, data, kept), upright)


def _layout(data: bytes) -> _Layout:
    order = "<" if data.startswith(b"II") else ">"
    if data[2:4] in (b"\x2b\0", b"\0\x2b"):
        return _Layout(order, "Q", "HHQ8s", "Q", data[:8])
    return _Layout(order, "H", "HHL4s", "L", data[:4])


def _entries(layout: _Layout, data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, number of values and position of each entry of the first directory."""
    (start,) = layout.unpack(layout.offset, data, len(layout.header))
    (entries,) = layout.unpack(layout.count, data, start)
    if entries > _MAX_ENTRIES:
        raise ImageRejectedError("too_costly")
    start += layout.size(layout.count)
    size = layout.size(layout.entry)
    for at in range(start, start + entries * size, size):
        tag, kind, count, _ = layout.unpack(layout.entry, data, at)
        yield tag, kind, count, at


def _check(tag: int, kind: int, count: int) -> None:
    """Refuses tables so long that reading them takes seconds."""
    longest = _MAX_VALUES
    if tag in _STRIPS:
        longest = MAX_STRIPS
    elif tag in (_JPEG_TABLES, _PROFILE):
        longest = MAX_PROFILE_BYTES
    elif tag == _COLOUR_MAP:
        longest = 3 * 2**16
    if kind not in _BYTES_OF_TYPE or count > longest:
        raise ImageRejectedError("too_costly" if count > longest else "corrupt")


def _check_stored(layout: _Layout, data: bytes, kept: dict[int, bytes]) -> None:
    """Refuses strips or tiles that lie over one another: 65,536 times the whole file may be read for them."""
    total = 0
    for offsets, counts in ((273, 279), (324, 325)):
        if offsets in kept and counts in kept:
            places, lengths = (_integers(layout, data, kept[tag]) for tag in (offsets, counts))
            total += sum(max(0, min(length, len(data) - at)) for at, length in zip(places, lengths, strict=False))
    if total > 2 * len(data):
        raise ImageRejectedError("too_costly")


def _integers(layout: _Layout, data: bytes, entry: bytes) -> tuple[int, ...]:
    """All values of a directory's entry, which stand in it where they fit, and else where it points to."""
    _, kind, count, _ = layout.unpack(layout.entry, entry, 0)
    inline = entry[-layout.size(layout.offset) :]
    form = _INTEGERS.get(kind)
    if form is None:
        raise ImageRejectedError("corrupt")
    values = f"{count}{form}"
    if layout.size(values) <= len(inline):
        return layout.unpack(values, inline, 0)
    (start,) = layout.unpack(layout.offset, inline, 0)
    return layout.unpack(values, data, start)


def _integer(layout: _Layout, kind: int, inline: bytes) -> int | None:
    form = {1: "B", 3: "H", 4: "L", 16: "Q"}.get(kind)
    return layout.unpack(form, inline.ljust(8, b"\0"), 0)[0] if form else None


def _rebuilt(layout: _Layout, data: bytes, kept: dict[int, bytes]) -> bytes:
    padding = b"\0" * (-len(data) % 8)
    start = struct.pack(layout.order + layout.offset, len(data) + len(padding))
    directory = struct.pack(layout.order + layout.count, len(kept)) + b"".join(kept[tag] for tag in sorted(kept))
    end_of_directories = bytes(layout.size(layout.offset))
    body = memoryview(data)[len(layout.header) + len(start) :]
    return b"".join((layout.header, start, body, padding, directory, end_of_directories))
