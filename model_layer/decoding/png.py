"""A PNG's chunks, walked once: what the pixels need is kept, all other metadata is dropped or read in measure.

Text and profiles are compressed: a file of 32 MB holds 30 GB of them. Chunks are those of the PNG specification, third
edition. Of an animation the default image is shown.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from model_layer.decoding.limits import MAX_CHUNKS, MAX_METADATA_BYTES, MAX_PROFILE_BYTES
from model_layer.decoding.orientation import orientation
from model_layer.rejections import ImageRejectedError

_NEEDED = frozenset([b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"])
_METADATA = frozenset([b"iCCP", b"eXIf", b"iTXt"])
_XMP = b"XML:com.adobe.xmp\0"


@dataclass(frozen=True, slots=True)
class StrippedPng:
    """A PNG without the metadata that its pixels do not need."""

    data: bytes
    orientation: int
    profile: bytes | None


def strip(data: bytes) -> StrippedPng:
    """Keeps header, palette, transparency and pixels; reads the first profile and what tells the orientation.

    Raises:
        ImageRejectedError: `too_costly`: of more chunks than any photograph has.
    """
    kept, metadata = [data[:8]], dict[bytes, bytes]()
    position, whole = 8, True
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            break
        length, kind = struct.unpack_from(">L4s", data, position)
        end = position + 12 + length
        if kind in _NEEDED:
            kept.append(data[position:end])
        else:
            whole = False
            if kind in _METADATA and (kind != b"iTXt" or data.startswith(_XMP, position + 8)):
                metadata.setdefault(kind, data[position + 8 : end - 4])
        position = end
        if kind == b"IEND":
            break
    else:
        raise ImageRejectedError("too_costly")
    return StrippedPng(
        data if whole else b"".join(kept),
        orientation(metadata.get(b"eXIf"), _xmp(metadata.get(b"iTXt"))),
        _profile(metadata.get(b"iCCP")),
    )


def _profile(chunk: bytes | None) -> bytes | None:
    """iCCP: a name, a zero, the method 0, and the compressed profile."""
    if not chunk:
        return None
    _, _, compressed = chunk.partition(b"\0")
    profile = _inflated(compressed[1:], MAX_PROFILE_BYTES + 1)
    return profile if len(profile) <= MAX_PROFILE_BYTES else None


def _xmp(chunk: bytes | None) -> bytes | None:
    """iTXt: a keyword, a zero, whether compressed, the method, a language, a zero, a translation, a zero, the text."""
    if not chunk:
        return None
    compressed = chunk[len(_XMP) : len(_XMP) + 1] == b"\1"
    text = chunk[len(_XMP) + 2 :].split(b"\0", 2)[-1]
    return _inflated(text, MAX_METADATA_BYTES) if compressed else text


def _inflated(compressed: bytes, most: int) -> bytes:
    """The first `most` bytes; of damaged data nothing."""
    try:
        return zlib.decompressobj().decompress(compressed, most)
    except zlib.error:
        return b""
