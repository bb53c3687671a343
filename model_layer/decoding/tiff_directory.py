"""Reads a TIFF's directories, each once: every page with the entries that describe it.

Tags are those of TIFF 6.0 and its technical notes; both TIFF and BigTIFF are read. Pages form a chain, and a page may
name further ones (SubIFDs), which chain in turn. Directories may overlap and point at one another. Cost: at most
`MAX_DIRECTORY_ENTRIES` entries of all directories together.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from model_layer.answers import ImageRejectedError, RejectionCode
from model_layer.decoding.limits import MAX_DIRECTORY_ENTRIES

NEEDED = frozenset(
    [256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 332, 338, 347, 34675]
) | {*range(512, 522), 529, 530, 531, 532}
"""Tags that pixels need: size, samples, photometry, strips, tiles, predictor, palette, inks, JPEG, YCbCr, profile."""
READ = NEEDED | {254, 255, 266, 271, 274, 330, 339, 700, 50706}
"""And those that describe a page: its role, maker, orientation, further pages, sample format, XMP, DNG."""

_SUB_DIRECTORIES = 330
_AT_LEAST = 25  # entries that a smaller directory counts as, since it takes as long to read
_MAX_SUB_DIRECTORIES = 64  # of one page: a camera raw file has up to 8, a pyramid one for each halving
_INTEGERS = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}
BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass(frozen=True, slots=True)
class Layout:
    """How TIFF and BigTIFF write a directory: the same parts in different widths, as forms of `struct`."""

    order: str
    count: str
    entry: str
    offset: str
    header: bytes

    def size(self, form: str) -> int:
        """Bytes in the file; without the order, struct would use this machine's sizes."""
        return struct.calcsize(self.order + form)

    def unpack(self, form: str, data: bytes, position: int) -> tuple[int, ...]:
        """Numbers at a position.

        Raises:
            ImageRejectedError: `truncated`: a directory is often at the end, which a broken-off file lacks.
        """
        if position < 0 or position + self.size(form) > len(data):
            raise ImageRejectedError(RejectionCode.TRUNCATED)
        return struct.unpack_from(self.order + form, data, position)


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag's type, its number of values, and the bytes that hold them or their offset."""

    kind: int
    count: int
    inline: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """One directory. The first entry of a repeated tag counts, as in libtiff."""

    layout: Layout
    data: bytes
    entries: dict[int, Entry] = field(default_factory=dict)

    def integers(self, tag: int, most: int = 16) -> tuple[int, ...]:
        """Up to `most` values of a tag; none where it is missing, or its type is not an integer."""
        entry = self.entries.get(tag)
        form = _INTEGERS.get(entry.kind) if entry else None
        if entry is None or form is None:
            return ()
        count = min(entry.count, most)
        if BYTES_OF_TYPE[entry.kind] * entry.count <= len(entry.inline):
            return struct.unpack_from(f"{self.layout.order}{count}{form}", entry.inline)
        (at,) = struct.unpack(self.layout.order + self.layout.offset, entry.inline)
        return self.layout.unpack(f"{count}{form}", self.data, at)

    def integer(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        return next(iter(self.integers(tag, 1)), default)

    def blob(self, tag: int, most: int) -> bytes:
        """The bytes of a tag, up to `most`; nothing where it is missing or longer."""
        entry = self.entries.get(tag)
        size = BYTES_OF_TYPE.get(entry.kind, 1) * entry.count if entry else 0
        if entry is None or size > most:
            return b""
        if size <= len(entry.inline):
            return entry.inline[:size]
        (at,) = struct.unpack(self.layout.order + self.layout.offset, entry.inline)
        return self.data[at : at + size]


def layout_of(data: bytes) -> Layout:
    """The layout, from the first four bytes."""
    order = "<" if data.startswith(b"II") else ">"
    if data[2:4] in (b"\x2b\0", b"\0\x2b"):
        return Layout(order, "Q", "HHQ8s", "Q", data[:8])
    return Layout(order, "H", "HHL4s", "L", data[:4])


def read_pages(data: bytes) -> list[Page]:
    """Every directory that can be reached from the header, each once, the chain's first one first.

    Raises:
        ImageRejectedError: `truncated` where a directory begins or ends beyond the file's end, or `too_costly`.
    """
    layout = layout_of(data)
    waiting = list(layout.unpack(layout.offset, data, len(layout.header)))
    pages, seen, left = list[Page](), set[int](), MAX_DIRECTORY_ENTRIES
    while waiting:
        start = waiting.pop()
        if (not start and pages) or start in seen:
            continue
        seen.add(start)
        (count,) = layout.unpack(layout.count, data, start)
        left -= max(count, _AT_LEAST)
        if left < 0:
            raise ImageRejectedError(RejectionCode.TOO_COSTLY)
        page = Page(layout, data, _entries(layout, data, start + layout.size(layout.count), count))
        pages.append(page)
        behind = start + layout.size(layout.count) + count * layout.size(layout.entry)
        waiting += _next(layout, data, behind)
        waiting += reversed(page.integers(_SUB_DIRECTORIES, _MAX_SUB_DIRECTORIES))
    return pages


def _entries(layout: Layout, data: bytes, start: int, count: int) -> dict[int, Entry]:
    end = start + count * layout.size(layout.entry)
    if end > len(data):
        raise ImageRejectedError(RejectionCode.TRUNCATED)
    found = dict[int, Entry]()
    for tag, kind, values, inline in struct.iter_unpack(layout.order + layout.entry, memoryview(data)[start:end]):
        if tag in READ and tag not in found:
            found[tag] = Entry(kind, values, inline)
    return found


def _next(layout: Layout, data: bytes, position: int) -> tuple[int, ...]:
    """Where the chain's next page begins; some writers even omit the zero that ends the chain."""
    if position + layout.size(layout.offset) > len(data):
        return ()
    return layout.unpack(layout.offset, data, position)
