"""An EXIF block, walked as far as the pixels need: which way up they are, and whether their colours are Adobe RGB.

Directories and tags are those of CIPA DC-008 (EXIF) and DC-010 (DCF). The work is bounded by the block's bytes.
"""

from __future__ import annotations

import struct

MARK = b"Exif\0"
"""Stands before the block in most files, with one more byte behind it: 0 by the standard, FF from some cameras."""

_MAX_ENTRIES = 1000  # a camera writes about 20
_ORIENTATION, _EXIF_DIRECTORY, _INTEROPERABILITY_DIRECTORY = 0x0112, 0x8769, 0xA005
_COLOUR_SPACE, _INTEROPERABILITY_INDEX = 0xA001, 0x0001
_SRGB, _ADOBE_RGB = 1, 2  # the second stands in no standard; some cameras write it


def orientation(block: bytes) -> int | None:
    """1 to 8; None where it is not told, or cannot be read."""
    found = _Block(block).number(_ORIENTATION)
    return found if found in range(1, 9) else None


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
        """Of one of the three types that a whole number has."""
        kind, inline = self.field(tag, *path) or (0, b"")
        form = {1: "B", 3: "H", 4: "L"}.get(kind)
        return int(struct.unpack_from(f"{self._order}{form}", inline)[0]) if form else None

    def field(self, tag: int, *path: int) -> tuple[int, bytes] | None:
        """Type and the four bytes of a value, or of the offset to it."""
        try:
            (start,) = struct.unpack_from(f"{self._order}L", self._data, 4) if self._order else (None,)
            for directory in path:
                _, offset = self._entry(start, directory) or (0, b"")
                (start,) = struct.unpack(f"{self._order}L", offset) if offset else (None,)
            return self._entry(start, tag)
        except struct.error:  # breaks off: as if it told nothing
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
