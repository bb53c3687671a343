"""Damage as it happens to files: transfers that break off, blocks of a disk or card that were never written."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

BLOCKS = (512, 4096, 16_384, 65_536)
"""Bytes: a sector, a page, two sizes of a memory card's cluster."""


def damaged(data: bytes, kind: str, rng: random.Random) -> tuple[str, bytes] | None:
    """One kind of damage, and the damaged file; None where the file is too small for it."""
    sort = rng.choice(["cut", "zero tail", "zeros", "zeros", "aligned zeros", "ones", "misplaced"])
    if sort in ("cut", "zero tail"):
        at = int(len(data) * rng.uniform(0.35, 0.8))
        if sort == "zero tail":
            return sort, data[:at] + bytes(len(data) - at)
        whole = _cut_with_end(data, at, kind)
        return (f"{sort} with end", whole) if whole else None
    size = rng.choice([block for block in BLOCKS if block <= len(data) // 2] or [0])
    if not size:
        return None
    at = rng.randrange(len(data) // 8, len(data) - size)
    if sort == "aligned zeros":
        at = -(-at // 4096) * 4096
        if at + size > len(data):
            return None
    block = {"ones": b"\xff" * size, "misplaced": data[-size - 40 : -40]}.get(sort, bytes(size))
    return sort, data[:at] + block + data[at + size :]


def _cut_with_end(data: bytes, at: int, kind: str) -> bytes | None:
    match kind:
        case "jpeg":
            return data[:at] + b"\xff\xd9"
        case "gif":
            return data[:at] + b"\0;"
        case "png":
            return _png_of(data, at)
        case "webp":
            return data[:4] + struct.pack("<L", at - 8) + data[8:at]
        case _:
            return None


def _png_of(data: bytes, at: int) -> bytes:
    """The chunks up to `at`, the last one shortened with a correct checksum, and IEND."""
    position, kept = 8, data[:8]
    while position + 12 <= at:
        length = int.from_bytes(data[position : position + 4], "big")
        body = data[position + 4 : min(position + 8 + length, at)]
        kept += struct.pack(">L", len(body) - 4) + body + struct.pack(">L", zlib.crc32(body))
        position += 12 + length
    return kept + b"\0\0\0\0IEND\xae\x42\x60\x82"
