"""Strips a PNG to the chunks that its pixels need; other metadata is dropped, or inflated only up to a limit.

Text and profiles are compressed: a file of 32 MB can hold 30 GB of them. Chunks are those of the PNG specification,
third edition. An animation's default image is used. Cost: at most `MAX_CHUNKS` chunks, and `MAX_METADATA_BYTES` or
`MAX_PROFILE_BYTES` inflated for each of a few known chunks.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import cast

from model_layer.answers import ImageRejectedError, RejectionCode
from model_layer.decoding import colour, exif
from model_layer.decoding.limits import MAX_CHUNKS, MAX_METADATA_BYTES, MAX_PROFILE_BYTES

_NEEDED = frozenset([b"IHDR", b"PLTE", b"IDAT", b"IEND"])
_METADATA = frozenset([b"tRNS", b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"eXIf"])
_TEXT = frozenset([b"tEXt", b"zTXt", b"iTXt"])
_XMP = b"XML:com.adobe.xmp"
# How ImageMagick writes metadata without a chunk of its own: a keyword, then the JPEG segment in hexadecimal digits.
_RAW = b"Raw profile type "
_RAW_KINDS = (b"exif", b"APP1", b"xmp", b"icc", b"icm")
_KEYWORDS = frozenset([_XMP, *(_RAW + kind for kind in _RAW_KINDS)])
_LONGEST_KEYWORD = 79
_XMP_OF_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_GREY, _RGB, _HAS_COLOUR = 0, 2, 2
_GAMMAS = range(1_000, 10_000_001)  # in 1/100,000; libpng ignores all others


@dataclass(frozen=True, slots=True)
class StrippedPng:
    """A PNG without the metadata that its pixels do not need."""

    data: bytes
    orientation: int
    profile: bytes | None
    space: colour.ColourSpace | None
    """The colour space where there is no profile; None: sRGB."""
    colour_key: int | tuple[int, int, int] | None
    """The grey (of 16 bits where the image has 16) or the RGB that is transparent."""


def strip(data: bytes) -> StrippedPng:
    """Keeps header, palette, transparency and pixels; reads the first profile, orientation and colour space.

    Raises:
        ImageRejectedError: `too_costly`, with more chunks than any photograph has; `unsupported_format`, where colours
            would come out wrong.
    """
    kept, metadata = [data[:8]], dict[bytes, bytes]()
    position, whole = 8, True
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            break
        length, kind = struct.unpack_from(">L4s", data, position)
        end = position + 12 + length
        if kind in _NEEDED or (kind == b"tRNS" and not _is_keyed(data)):
            kept.append(data[position:end])
        else:
            whole = False
            name = _keyword(data, position + 8) if kind in _TEXT else kind
            if kind in _METADATA:
                metadata.setdefault(kind, data[position + 8 : end - 4])
            elif name in _KEYWORDS:
                metadata.setdefault(name, kind + data[position + 8 : end - 4])
        position = end
        if kind == b"IEND":
            break
    else:
        raise ImageRejectedError(RejectionCode.TOO_COSTLY)
    texts = {name: _text(metadata[name]) for name in _KEYWORDS & metadata.keys()}
    raw = {kind: _raw_profile(texts.get(_RAW + kind)) for kind in _RAW_KINDS}
    exifs = [block for block in (metadata.get(b"eXIf"), raw[b"exif"], raw[b"APP1"]) if block]
    xmps = [packet for packet in (texts.get(_XMP), raw[b"xmp"], raw[b"APP1"]) if packet]
    profile = _profile(metadata.get(b"iCCP")) or raw[b"icc"] or raw[b"icm"]
    if profile and profile[16:20] == b"RGB " and not data[25] & _HAS_COLOUR:
        profile = None  # forbidden for greys: libpng and every viewer drop it
    told_by_codes = _codes(metadata.get(b"cICP"))
    return StrippedPng(
        data if whole else b"".join(kept),
        exif.orientation(exifs, xmps),
        None if told_by_codes else profile,
        colour.by_codes(*told_by_codes[:2], full_range=told_by_codes[2]) if told_by_codes else _space(metadata, exifs),
        _colour_key(data, metadata.get(b"tRNS")),
    )


def _codes(chunk: bytes | None) -> tuple[int, int, bool] | None:
    """cICP: code points of primaries and transfer, and whether the full range is used; it outranks any profile."""
    if chunk is None or len(chunk) != 4 or chunk[2]:  # a matrix other than RGB's makes the chunk invalid
        return None
    return chunk[0], chunk[1], bool(chunk[3])


def _space(metadata: dict[bytes, bytes], exifs: list[bytes]) -> colour.ColourSpace | None:
    """By sRGB, else gAMA and cHRM, else EXIF."""
    gamma, chromaticities = metadata.get(b"gAMA", b""), metadata.get(b"cHRM", b"")
    if b"sRGB" in metadata:
        return None
    if len(gamma) == 4 and (told := int.from_bytes(gamma, "big")) in _GAMMAS:
        primaries = None
        if len(chromaticities) == 32:
            white_x, white_y, *colours = (number / 100_000 for number in struct.unpack(">8L", chromaticities))
            primaries = (*colours, white_x, white_y)
        return colour.by_gamma(told / 100_000, cast("colour.Primaries | None", primaries))
    return colour.adobe_rgb() if any(exif.is_adobe_rgb(block) for block in exifs) else None


def _is_keyed(data: bytes) -> bool:
    """Whether tRNS, if there is one, names one grey or RGB, and not the entries of a palette."""
    return data[25:26] in (b"\0", b"\2")


def _colour_key(data: bytes, chunk: bytes | None) -> int | tuple[int, int, int] | None:
    """TRNS of greys and RGB. Read here because Pillow compares a key of few bits with levels of eight."""
    if chunk is None:
        return None
    depth, kind = data[24], data[25]
    if kind == _GREY and len(chunk) == 2:
        level = int.from_bytes(chunk, "big")
        return level if depth == 16 else (level & 2**depth - 1) * 255 // (2**depth - 1)
    if kind == _RGB and len(chunk) == 6:
        if depth == 16:  # decoded to 8 bits, where other colours would match the key too
            raise ImageRejectedError(RejectionCode.UNSUPPORTED_FORMAT)
        return chunk[1], chunk[3], chunk[5]
    return None


def _profile(chunk: bytes | None) -> bytes | None:
    """iCCP: a name, a zero, the method 0, and the compressed profile."""
    if not chunk:
        return None
    _, _, compressed = chunk.partition(b"\0")
    profile = _inflated(compressed[1:], MAX_PROFILE_BYTES + 1)
    return profile if len(profile) <= MAX_PROFILE_BYTES else None


def _keyword(data: bytes, start: int) -> bytes:
    end = data.find(b"\0", start, start + _LONGEST_KEYWORD + 1)
    return data[start:end] if end >= 0 else b""


def _text(chunk: bytes) -> bytes:
    """The text after the keyword: plain in tEXt, after a method in zTXt, after method and languages in iTXt."""
    kind, (_, _, body) = chunk[:4], chunk[4:].partition(b"\0")
    match kind:
        case b"tEXt":
            return body
        case b"zTXt":
            return _inflated(body[1:], MAX_METADATA_BYTES)
        case _:
            text = body[2:].split(b"\0", 2)[-1]
            return _inflated(text, MAX_METADATA_BYTES) if body.startswith(b"\1") else text


def _raw_profile(text: bytes | None) -> bytes | None:
    """ImageMagick's: a line with the kind, one with the length, then lines of hexadecimal digits."""
    try:
        _, _, length, digits = (text or b"").lstrip(b" ").split(b"\n", 3)
        return bytes.fromhex(digits.decode("ascii"))[: int(length)].removeprefix(_XMP_OF_JPEG)
    except ValueError:
        return None


def _inflated(compressed: bytes, most: int) -> bytes:
    """The first `most` bytes; nothing for damaged data."""
    try:
        return zlib.decompressobj().decompress(compressed, most)
    except zlib.error:
        return b""
