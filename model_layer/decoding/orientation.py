"""Which way up a photograph is, from EXIF or XMP, without decoding any other metadata."""

from __future__ import annotations

import re
import struct

_TAG = 0x0112  # CIPA DC-008 (EXIF), Orientation
_MAX_ENTRIES = 1000  # a camera writes about 20
_XMP = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")


def orientation(exif: bytes | None, xmp: bytes | None = None) -> int:
    """1 to 8 as EXIF defines it, from an `exif` block (with or without its `Exif` mark), else from an `xmp` packet.

    1, upright, also for whatever cannot be read.
    """
    found = _in_exif(exif) if exif else None
    if found is None and xmp:
        match = _XMP.search(xmp)
        found = int(match[1]) if match else None
    return found if found and found in range(1, 9) else 1


def _in_exif(exif: bytes) -> int | None:
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(order + "L", block, 4)
        (entries,) = struct.unpack_from(order + "H", block, start)
        for entry in range(start + 2, start + 2 + 12 * min(entries, _MAX_ENTRIES), 12):
            tag, kind = struct.unpack_from(order + "HH", block, entry)
            if tag == _TAG:
                return value(order, kind, block[entry + 8 : entry + 12])
    except (struct.error, IndexError):
        pass  # breaks off: as if it told nothing
    return None


def value(order: str, kind: int, inline: bytes) -> int | None:
    """The number in the value field `inline` of a directory entry, for the three `kind`s that an orientation has."""
    match kind:
        case 1:
            return inline[0]
        case 3:
            return int(struct.unpack(order + "H", inline[:2])[0])
        case 4:
            return int(struct.unpack(order + "L", inline[:4])[0])
    return None
