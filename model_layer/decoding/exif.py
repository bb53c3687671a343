"""What EXIF and XMP say about the pixels: which way up they are, and whether their colours are Adobe RGB.

No other metadata is decoded. Directories and tags are those of CIPA DC-008 (EXIF) and DC-010 (DCF). Cost: at most 1,000
entries in each of three directories; one linear search of an XMP packet.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MARK = b"Exif\0"
"""Precedes the block in most files, followed by one more byte: 0 by the standard, FF from some cameras."""

_MAX_ENTRIES = 1000  # a camera writes about 20
_ORIENTATION, _EXIF_DIRECTORY, _INTEROPERABILITY_DIRECTORY = 0x0112, 0x8769, 0xA005
_COLOUR_SPACE, _INTEROPERABILITY_INDEX = 0xA001, 0x0001
_SRGB, _ADOBE_RGB = 1, 2  # the second is in no standard, but some cameras write it
_XMP = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([1-8])")


def orientation(exifs: Iterable[bytes | None], xmps: Iterable[bytes | None] = ()) -> int:
    """1 to 8 as EXIF defines it: of the first EXIF block that has one, else of the first XMP packet, else 1 (upright).

    Programs write a second block beside the first. A block may have its `Exif` mark or not; None and what cannot be
    read have no orientation.
    """
    for block in exifs:
        found = _Block(block or b"").number(_ORIENTATION)
        if found is not None and 1 <= found <= 8:
            return found
    for packet in xmps:
        if match := _XMP.search(packet or b""):
            return int(match[1])
    return 1


def is_adobe_rgb(block: bytes) -> bool:
    """Whether the colour space is Adobe RGB: `R03` in the interoperability directory (DCF's optional colour space)."""
    read = _Block(block)
    space = read.number(_COLOUR_SPACE, _EXIF_DIRECTORY)
    index = read.field(_INTEROPERABILITY_INDEX, _EXIF_DIRECTORY, _INTEROPERABILITY_DIRECTORY)
    return space == _ADOBE_RGB or (space != _SRGB and index is not None and index[1].startswith(b"R03"))


class _Block:
    """Fields of a block's directories, by the tags of the directories that lead there."""

    def __init__(self, block: bytes) -> None:
        self._data = block[len(MARK) + 1 :] if block.startswith(MARK) else block
        self._order = {b"II": "<", b"MM": ">"}.get(self._data[:2])

    def number(self, tag: int, *path: int) -> int | None:
        """A value of one of the three integer types; None for any other."""
        kind, inline = self.field(tag, *path) or (0, b"")
        form = {1: "B", 3: "H", 4: "L"}.get(kind)
        return int(struct.unpack_from(f"{self._order}{form}", inline)[0]) if form else None

    def field(self, tag: int, *path: int) -> tuple[int, bytes] | None:
        """A field's type, and the four bytes that hold its value or the offset to it."""
        try:
            (start,) = struct.unpack_from(f"{self._order}L", self._data, 4) if self._order else (None,)
            for directory in path:
                _, offset = self._entry(start, directory) or (0, b"")
                (start,) = struct.unpack(f"{self._order}L", offset) if offset else (None,)
            return self._entry(start, tag)
        except struct.error:  # breaks off: treated as missing
            return None

    def _entry(self, start: int | None, wanted: int) -> tuple[int, bytes] | None:
        if start is None:
            return None
        (entries,) = struct.unpack_from(f"{self._order}H", self._data, start)
        for at in range(start + 2, start + 2 + 12 * min(entries, _MAX_ENTRIES), 12):
            tag, kind, _, inline = struct.unpack_from(f"{self._order}HHL4s", self._data, at)
            if tag == wanted:
                return kind, inline
        return None
