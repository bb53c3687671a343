"""Files that can be made as long as one likes, each to make one parser do more work than its bytes are worth.

A maker takes a length in bytes and gives a file of about that length: a small sound image with a filler in one place,
or a table whose entries say more than they hold. A parser whose work grows faster than the file shows it here.
"""

from __future__ import annotations

import functools
import io
import json
import struct
from typing import TYPE_CHECKING

import pillow_heif
from hostile.containers import (
    PNG_SIGNATURE,
    bmp,
    box,
    boxes,
    gif,
    gif_frame,
    jpeg_segment,
    png_chunk,
    png_header,
    riff,
    riff_chunk,
    tiff,
    webp_canvas,
)
from sample_images import encoded, picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Maker = Callable[[int], bytes]

SIDE = 64
"""Pixels: so few that decoding them takes no time."""
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


@functools.cache
def sound(kind: str, **options: object) -> bytes:
    return encoded(picture(3, (SIDE, SIDE)), kind, **options)


def times(unit: bytes, length: int) -> bytes:
    """`unit` again and again, up to `length` bytes."""
    return unit * max(1, length // len(unit))


def _run(unit: bytes, end: bytes = b"") -> Maker:
    return lambda length: times(unit, length) + end


# JPEG


def jpeg_places(data: bytes) -> dict[str, int]:
    """Where something can be put into a JPEG."""
    scan = data.index(b"\xff\xda")
    return {
        "before all segments": 2,
        "before the frame": data.index(b"\xff\xc0"),
        "before the scan": scan,
        "in the scan": scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big") + 90,
        "behind the end": len(data),
    }


def _in_jpeg(place: str, filler: Maker) -> Maker:
    def make(length: int) -> bytes:
        data = sound("JPEG")
        at = jpeg_places(data)[place]
        return data[:at] + filler(length) + data[at:]

    return make


def _jpegs() -> Iterator[tuple[str, Maker]]:
    units = {
        "fill bytes": b"\xff",
        "stuffed zeros": b"\xff\0",
        "zeros": b"\0",
        "other bytes": b"\x5a",
        "restarts": b"\xff\xd3",
        "beginnings": b"\xff\xd8",
        "ends": b"\xff\xd9",
        "lone markers": b"\xff\x01",
        "beginnings of scans": b"\xff\xda",
        "fill bytes and a zero": b"\xff" * 999 + b"\0",
        "fill bytes and a restart": b"\xff" * 999 + b"\xd0",
        "segments without a length": b"\xff\xe5\0\0",
        "empty comments": jpeg_segment(0xFE),
        "empty exif": jpeg_segment(0xE1, _EXIF),
        "exif without entries": jpeg_segment(0xE1, _EXIF + b"II*\0\x08\0\0\0\0\0"),
        "empty xmp": jpeg_segment(0xE1, _XMP),
        "pieces of a profile": jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1"),
        "long pieces of a profile": jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(60_000)),
        "Adobe's": jpeg_segment(0xEE, b"Adobe\0d\0\0\0\0\0"),
        "empty tables of quantisation": jpeg_segment(0xDB),
        "tables of quantisation": jpeg_segment(0xDB, bytes(range(65)) * 900),
        "empty tables of codes": jpeg_segment(0xC4),
        "tables of codes": jpeg_segment(0xC4, (b"\0" + b"\0\1" + bytes(14) + b"\5") * 3000),
        "frames": jpeg_segment(0xC0, b"\x08\0\x40\0\x40\3\1\x22\0\2\x11\1\3\x11\1"),
        "intervals": jpeg_segment(0xDD, b"\0\1"),
        "scans": jpeg_segment(0xDA, b"\1\1\0\0\x3f\0"),
    }
    for place in jpeg_places(sound("JPEG")):
        for name, unit in units.items():
            yield f"{name} {place}", _in_jpeg(place, _run(unit))
        yield f"fill bytes that end in a zero {place}", _in_jpeg(place, _run(b"\xff", b"\0"))

    def scans(length: int) -> bytes:
        data = encoded(picture(3, (SIDE, SIDE)).convert("L"), "JPEG", progressive=True)
        last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
        return data[:end] + times(data[last:end], length) + data[end:]

    yield "scans that refine", scans
    # The scans are counted one by one only where there seem to be many.
    yield "many scans, then fill bytes", _in_jpeg("in the scan", lambda n: b"\xff\xda\0\2" * 99 + times(b"\xff", n))


# PNG


def _in_png(chunks: Maker, *, behind: bool = False) -> Maker:
    def make(length: int) -> bytes:
        data = sound("PNG")
        at = len(data) - 12 if behind else 33
        return data[:at] + chunks(length) + data[at:]

    return make


def _pngs() -> Iterator[tuple[str, Maker]]:
    kinds = [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"iCCP", b"eXIf", b"iTXt", b"tEXt", b"zTXt", b"sRGB", b"gAMA", b"cICP"]
    for kind in [*kinds, b"cHRM", b"acTL", b"fcTL", b"fdAT", b"sPLT", b"hIST", b"unKn", b"\xff\xff\xff\xff", bytes(4)]:
        yield f"empty {kind!r}", _in_png(_run(png_chunk(kind)))
        yield f"empty {kind!r} behind", _in_png(_run(png_chunk(kind)), behind=True)
        yield f"one long {kind!r}", _in_png(lambda n, kind=kind: png_chunk(kind, bytes(n)))
    raw, xmp = b"Raw profile type exif\0", b"XML:com.adobe.xmp\0"
    bodies = {
        "a profile without a name": (b"iCCP", b"", b"p"),
        "a profile of nothing": (b"iCCP", b"p\0\0", b"\x78\x01"),
        "letters": (b"iTXt", xmp + bytes(4), b"<x"),
        "beginnings of an orientation": (b"iTXt", xmp + bytes(4), b"tiff:Orientation"),
        "languages": (b"iTXt", xmp + bytes(2), b"en"),
        "digits": (b"tEXt", raw + b"\nexif\n      99999999\n", b"0"),
        "line ends": (b"tEXt", raw, b"\n"),
        "spaces": (b"tEXt", raw, b" "),
        "a dictionary": (b"zTXt", raw + b"\0", b"\x78\x01"),
    }
    for name, (kind, head, unit) in bodies.items():
        yield f"one long {kind!r} of {name}", _in_png(lambda n, k=kind, h=head, u=unit: png_chunk(k, h + times(u, n)))
        yield f"many {kind!r} of {name}", _in_png(_run(png_chunk(kind, head + unit)))
    yield "a directory of eXIf", _in_png(lambda n: png_chunk(b"eXIf", directory(n)))
    yield "many directories of eXIf", _in_png(_run(png_chunk(b"eXIf", directory(40))))
    yield "nothing but signatures", _run(PNG_SIGNATURE)
    yield "nothing but headers", lambda n: PNG_SIGNATURE + times(png_header(SIDE, SIDE)[8:], n)
    yield "a length beyond the end", lambda n: png_header(SIDE, SIDE) + b"\xff\xff\xff\xffIDAT" + bytes(n)


# GIF


def _gifs() -> Iterator[tuple[str, Maker]]:
    units = {
        "comments": b"!\xfe\1x\0",
        "empty comments": b"!\xfe\0",
        "controls": b"!\xf9\4\0\0\0\0\0",
        "broken controls": b"!\xf9",
        "applications": b"!\xff\x0bXMP DataXMP\1x\0",
        "zeros": b"\0",
        "other bytes": b"\xff",
        "ends": b";",
        "frames": gif_frame(8, 8),
        "empty frames": b"," + bytes(9) + b"\2\0",
    }
    for name, unit in units.items():
        yield f"{name} before the frame", lambda n, u=unit: gif(SIDE, SIDE, times(u, n), gif_frame(SIDE, SIDE))
        yield f"{name} behind the frame", lambda n, u=unit: gif(SIDE, SIDE, gif_frame(SIDE, SIDE), times(u, n))
    for size in (1, 2, 255):
        block = bytes([size]) + b"\xff" * size
        yield f"a comment in blocks of {size}", lambda n, b=block: gif(64, 64, b"!\xfe", times(b, n), gif_frame(64, 64))
        yield f"a frame in blocks of {size}", lambda n, b=block: gif(64, 64, gif_frame(64, 64, times(b, n)))
    clears = b"\xff" + b"\x92\x24\x49" * 85  # for codes of three bits: clear, again and again
    yield "a frame of clear codes", lambda n: gif(SIDE, SIDE, gif_frame(SIDE, SIDE, times(clears, n)))


# BMP


def _bmps() -> Iterator[tuple[str, Maker]]:
    runs = {
        "single pixels": b"\1\1",
        "runs of nothing": b"\0\3\0\0",
        "ends of rows": b"\0\0",
        "jumps": b"\0\2\0\0",
        "long jumps": b"\0\2\xff\xff",
        "ends": b"\0\1",
        "copies": b"\0\x03\1\1\1\0",
        "long runs": b"\xff\1",
    }
    for compression, name in ((1, "of 8 bits"), (2, "of 4 bits")):
        for kind, unit in runs.items():
            yield (
                f"{kind} {name}",
                lambda n, u=unit, c=compression: bmp(700, 700, times(u, n), compression=c, bits=8 if c == 1 else 4),
            )
    # A row that is longer than what a decoder is given at a time.
    yield "long rows", lambda n: bmp(max(SIDE, n // 48 // 3), 48, bytes(n), bits=24)
    yield "what follows the pixels", lambda n: sound("BMP") + bytes(n)
    yield "pixels far behind the header", _far_bmp
    yield "many colours", _colourful_bmp


def _far_bmp(length: int) -> bytes:
    data = bytearray(sound("BMP"))
    start = int.from_bytes(data[10:14], "little")
    data[10:14] = struct.pack("<L", start + length)
    return bytes(data[:start]) + bytes(length) + bytes(data[start:])


def _colourful_bmp(length: int) -> bytes:
    colours = min(65_536, length // 4)
    header = struct.pack("<LllHHLLllLL", 40, SIDE, SIDE, 1, 8, 0, 0, 0, 0, colours, 0)
    start = 14 + len(header) + 4 * colours
    body = bytes(4 * colours) + bytes(SIDE * SIDE) + bytes(max(0, length - 4 * colours))
    return b"BM" + struct.pack("<LHHL", start + SIDE * SIDE, 0, 0, start) + header + body


# TIFF and EXIF


def directory(length: int, tag: int = 0x9000, kind: int = 4, count: int = 1, value: int = 8, order: str = "<") -> bytes:
    """A TIFF, or an EXIF block, of one directory of about `length` bytes whose entries are all alike."""
    entries = min(65_535, max(1, length // 12))
    entry = struct.pack(order + "HHLL", tag, kind, count, value)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "LH", 8, entries) + entry * entries + bytes(4)


_GREY = {256: (4, 1, SIDE), 257: (4, 1, SIDE), 258: (3, 1, 8), 262: (3, 1, 1), 277: (3, 1, 1)}


def _with_strips(length: int, compression: int, *, tiled: bool = False, alike: bytes = b"", fill: int = 1) -> bytes:
    """Strips or tiles that all say that they are the whole of one body: half of the file lists them.

    What each really needs is its first bytes, `alike`.
    """
    listed = max(2, min(65_000, length // 16))
    body = alike + bytes(max(0, length - 8 * listed))
    lists = struct.pack(f"<{listed}L", *[8] * listed) + struct.pack(f"<{listed}L", *[len(body)] * listed)
    entries = {**_GREY, 257: (4, 1, listed), 259: (3, 1, compression), 266: (3, 1, fill), 278: (4, 1, 1)}
    offsets, counts = (324, 325) if tiled else (273, 279)
    if tiled:
        entries |= {257: (4, 1, 16 * listed), 322: (4, 1, SIDE), 323: (4, 1, 16)}
        del entries[278]
    entries |= {offsets: (4, listed, 8 + len(body)), counts: (4, listed, 8 + len(body) + 4 * listed)}
    return tiff(entries, body + lists)


def _jpeg_strip(comments: int) -> bytes:
    """One row of grey, in a JPEG that says much before it begins."""
    row = encoded(picture(1, (SIDE, 1)).convert("L"), "JPEG")
    return row[:2] + jpeg_segment(0xFE) * comments + row[2:]


def _pages(length: int, tags: int, follow: Callable[[int, int], int], **entry: int) -> bytes:
    """A chain of directories of `tags` entries each; `follow(number, of all)` is the number of the next one."""
    one = directory(12 * tags, **entry)[8:-4]
    size = len(one) + 4
    pages = max(1, length // size)
    chain = b"".join(one + struct.pack("<L", 8 + size * follow(page, pages)) for page in range(pages))
    return b"II*\0" + struct.pack("<L", 8) + chain


def _tiffs() -> Iterator[tuple[str, Maker]]:
    for tag in (
        254,
        256,
        258,
        259,
        273,
        274,
        279,
        320,
        330,
        347,
        700,
        33723,
        34377,
        34665,
        34675,
        34853,
        50706,
        0x9000,
    ):
        for kind, count in ((4, 1), (7, 2**20), (3, 0), (4, 2**32 - 1), (99, 7)):
            yield (
                f"entries {tag} of type {kind} that count {count}",
                lambda n, t=tag, k=kind, c=count: directory(n // 2, t, k, c) + bytes(n // 2),
            )
    chains: dict[str, Callable[[int, int], int]] = {
        "one after the other": lambda page, pages: (page + 1) % pages,
        "each its own next": lambda page, _: page,
        "back to the first": lambda *_: 0,
        "two in turn": lambda page, _: page ^ 1,
    }
    for name, follow in chains.items():
        yield f"empty pages, {name}", lambda n, f=follow: _pages(n, 1, f)
        yield f"pages of previews, {name}", lambda n, f=follow: _pages(n, 20, f, tag=330, count=1000)
        yield f"pages of strips, {name}", lambda n, f=follow: _pages(n, 20, f, tag=273, count=1000)
    yield "previews that are the page itself", lambda n: _subdirectories(n, 8)
    yield "previews that lie over one another", lambda n: _subdirectories(n, None)
    for compression, name in ((1, "stored"), (5, "LZW"), (8, "Deflate"), (32773, "PackBits")):
        for fill in (1, 2):
            for tiled in (False, True):
                yield (
                    f"{'tiles' if tiled else 'strips'} over one another, {name}, fill order {fill}",
                    lambda n, c=compression, f=fill, t=tiled: _with_strips(n, c, fill=f, tiled=t),
                )
    yield (
        "strips over one another, JPEG that says much",
        lambda n: _with_strips(n, 7, alike=_jpeg_strip(n // 8)),
    )
    for mark in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        yield f"nothing but {mark!r}", _run(mark)
        yield f"ones behind {mark!r}", lambda n, m=mark: m + times(b"\1", n)
        yield f"zeros behind {mark!r}", lambda n, m=mark: m + bytes(n)
    yield "a big directory", _big_directory
    yield "what follows the pixels", lambda n: sound("TIFF") + bytes(n)


def _subdirectories(length: int, where: int | None) -> bytes:
    """A directory with a list of further ones, all of them the same, or each two bytes behind the one before."""
    listed = max(2, length // 8)
    places = [where or 8 + 2 * number for number in range(listed)]
    body = b"\1\0" * (length // 4) + struct.pack(f"<{listed}L", *places)
    at = 8 + 2 * (length // 4)
    entries = {**_GREY, 259: (3, 1, 1), 273: (4, 1, 8), 278: (4, 1, SIDE), 279: (4, 1, 4096), 330: (4, listed, at)}
    return tiff(entries, body)


def _big_directory(length: int) -> bytes:
    entries = max(1, length // 20)
    return (
        b"II+\0\x08\0\0\0"
        + struct.pack("<QQ", 16, entries)
        + struct.pack("<HHQQ", 700, 7, 9999, 0) * entries
        + bytes(8)
    )


# WebP


def _webps() -> Iterator[tuple[str, Maker]]:
    pixels = sound("WEBP")[12:]
    flags = 0x2C  # profile, EXIF and XMP will follow
    canvas = riff_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + (SIDE - 1).to_bytes(3, "little") * 2)
    for kind in (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP ", b"punk", b"RIFF"):
        yield f"empty {kind!r}", lambda n, k=kind: riff(canvas, times(riff_chunk(k, b""), n), pixels)
        yield f"empty {kind!r} behind", lambda n, k=kind: riff(canvas, pixels, times(riff_chunk(k, b""), n))
        yield f"one long {kind!r}", lambda n, k=kind: riff(canvas, riff_chunk(k, bytes(n)), pixels)
        yield f"one long {kind!r} behind", lambda n, k=kind: riff(canvas, pixels, riff_chunk(k, bytes(n)))
    yield "a directory of EXIF", lambda n: riff(canvas, pixels, riff_chunk(b"EXIF", directory(n)))
    yield "XMP of beginnings", lambda n: riff(canvas, pixels, riff_chunk(b"XMP ", times(b"tiff:Orientation=", n)))
    head = bytes(6) + (SIDE - 1).to_bytes(3, "little") * 2 + bytes([40, 0, 0, 0])
    frame = riff_chunk(b"ANMF", head + pixels)
    moving = webp_canvas(SIDE, SIDE, animated=True) + riff_chunk(b"ANIM", bytes(6))
    yield "frames", lambda n: riff(moving, times(frame, n))
    yield "nothing but signatures", _run(b"RIFF\xff\xff\xff\xffWEBP")


# HEIC


@functools.cache
def _heic() -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(picture(3, (SIDE, SIDE))).save(buffer, quality=60)
    return buffer.getvalue()


def _in_heic(change: Callable[[dict[bytes, bytes], int], None]) -> Maker:
    """A HEIC whose table of contents is changed; its media move, and are not found again."""

    def make(length: int) -> bytes:
        whole = []
        for kind, body in boxes(_heic()):
            changed = body
            if kind == b"meta":
                parts = dict(boxes(body[4:]))
                change(parts, length)
                changed = body[:4] + b"".join(box(name, part) for name, part in parts.items())
            whole.append(box(kind, changed))
        return b"".join(whole)

    return make


def _set(part: bytes, body: Maker) -> Maker:
    def change(parts: dict[bytes, bytes], length: int) -> None:
        parts[part] = body(length)

    return _in_heic(change)


def _add(part: bytes, more: Maker) -> Maker:
    def change(parts: dict[bytes, bytes], length: int) -> None:
        parts[part] = parts.get(part, b"") + more(length)

    return _in_heic(change)


def _iloc(version: int, widths: tuple[int, int, int, int], extents: int) -> Maker:
    """Items that say to have so many extents; numbers of width 0 make them cost no bytes."""

    def body(length: int) -> bytes:
        offset, size, base, index = widths
        one = (
            (struct.pack(">L", 1) if version == 2 else b"\0\1") + (b"\0\0" if version else b"") + b"\0\0" + bytes(base)
        )
        wide = offset + size + (index if version else 0)
        one += struct.pack(">H", extents) + bytes(wide * (extents if wide else 0))
        items = max(1, length // len(one))
        head = bytes([version, 0, 0, 0, offset << 4 | size, base << 4 | index])
        count = struct.pack(">L", items) if version == 2 else struct.pack(">H", min(items, 65_535))
        return head + count + one * items

    return _set(b"iloc", body)


def _heics() -> Iterator[tuple[str, Maker]]:
    for version in (0, 1, 2):
        for extents in (1, 65_535):
            yield f"iloc {version} without widths, {extents} extents", _iloc(version, (0, 0, 0, 0), extents)
        yield f"iloc {version} of lengths without offsets", _iloc(version, (0, 4, 0, 0), 100)
        yield f"iloc {version} of many extents", _iloc(version, (4, 4, 4, 4), 100)
        yield (
            f"iloc {version} that claims more items than it holds",
            _set(b"iloc", lambda n, v=version: bytes([v, 0, 0, 0, 0, 0]) + b"\xff" * 4 + bytes(n)),
        )
        yield f"ones as iloc {version}", _set(b"iloc", lambda n, v=version: bytes([v, 0, 0, 0]) + times(b"\1", n))
    association = box(b"ipma", bytes(4) + b"\xff" * 4)
    yield "ipma that claims more than it holds", _add(b"iprp", lambda n: association + bytes(n))
    for flags, unit in (
        (0, b"\0\1\xff" + b"\1" * 255),
        (1, b"\0\1\xff" + b"\0\1" * 255),
        (0, b"\0\1\0"),
        (0, b"\0\1\1\1"),
    ):
        yield (
            f"ipma {flags} of {unit[:4]!r}",
            _add(b"iprp", lambda n, f=flags, u=unit: box(b"ipma", bytes([0, 0, 0, f]), b"\xff" * 4, times(u, n))),
        )
    yield "many ipma", _add(b"iprp", _run(box(b"ipma", bytes(8))))
    yield "many sizes", _set(b"iprp", lambda n: box(b"ipco", times(box(b"ispe", bytes(4) + b"\0\0\0\x40" * 2), n)))
    yield "many ipco", _add(b"iprp", _run(box(b"ipco", box(b"ispe", bytes(12)))))
    for kind in (b"infe", b"free", b"iloc"):
        yield f"entries {kind!r} in iinf", _add(b"iinf", _run(box(kind, b"\2\0\0\0\0\1\0\0hvc1\0")))
    for kind in (b"dimg", b"thmb", b"cdsc"):
        yield f"many {kind!r} in iref", _set(b"iref", lambda n, k=kind: bytes(4) + times(box(k, b"\0\1\0\1\0\1"), n))
        yield f"long {kind!r} in iref", _set(b"iref", lambda n, k=kind: bytes(4) + _references(k, n))
        yield (
            f"{kind!r} that claims more",
            _set(b"iref", lambda n, k=kind: bytes(4) + times(box(k, b"\0\1\xff\xff"), n)),
        )
    for name, unit in (
        ("empty", box(b"free")),
        ("long", b"\0\0\0\1free\0\0\0\0\0\0\0\x10"),
        ("nameless", b"\0\0\0\x08\0\0\0\0"),
    ):
        yield f"{name} boxes in the table", _in_heic(lambda parts, n, u=unit: parts.update({b"free": times(u, n)}))
        yield f"{name} boxes before the table", lambda n, u=unit: _heic()[:24] + times(u, n) + _heic()[24:]
        yield f"{name} boxes behind", lambda n, u=unit: _heic() + times(u, n)
    for kind in (b"meta", b"iprp", b"ipco", b"moov"):
        yield f"{kind!r} in one another", lambda n, k=kind: _heic()[:24] + _nested(k, n) + _heic()[24:]
    yield "boxes that end with the file", lambda n: _heic()[:24] + times(b"\0\0\0\0meta", n)
    yield "many tables", lambda n: _heic()[:24] + times(box(b"meta", bytes(4)), n)
    yield "many brands", lambda n: box(b"ftyp", b"heic", bytes(4), times(b"mif1", n)) + _heic()[24:]


def _references(kind: bytes, length: int) -> bytes:
    """Boxes with as many references each of an image to itself as fit; only the last is shorter."""
    most = 0xFFFF
    whole, rest = divmod(length // 2, most)
    return b"".join(
        box(kind, b"\0\1" + struct.pack(">H", count) + b"\0\1" * count) for count in [*[most] * whole, rest] if count
    )


def _nested(kind: bytes, length: int) -> bytes:
    """Boxes each within the one before, as many as fit."""
    deep = length // 12
    return b"".join(struct.pack(">L", length - 12 * level) + kind + bytes(4) for level in range(deep))


def _dicoms() -> Iterator[tuple[str, Maker]]:
    preamble = bytes(128) + b"DICM"
    sequence = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff"
    elements = {
        "empty elements": b"\x08\0\x50\0SH\0\0",
        "elements without a type": b"\x08\0\x50\0\0\0\0\0",
        "sequences in one another": sequence + b"\xfe\xff\0\xe0\xff\xff\xff\xff",
        "empty items": sequence + b"\xfe\xff\x0d\xe0\0\0\0\0",
        "fragments": b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\0\0\0\0",
        "zeros": b"\0",
        "ones": b"\xff",
    }
    for name, unit in elements.items():
        yield name, lambda n, u=unit: preamble + times(u, n)
        yield f"{name}, without a preamble", _run(unit)


# What is no image, or none that is decoded


def _others() -> Iterator[tuple[str, Maker]]:
    for mark in (
        b"\0",
        b" ",
        b"\n",
        b"<",
        b"<!--",
        b"<svg",
        b"<?xml ",
        b"%PDF",
        b"8BPS",
        b"\x1f\x8b\x08\0",
        b"{",
        b"BM",
    ):
        yield f"nothing but {mark!r}", _run(mark)
    yield "a raw photograph's header", lambda n: b"FUJIFILMCCD-RAW " + times(b"\xff\xd8", n)


FILES: dict[str, dict[str, Maker]] = {
    "jpeg": dict(_jpegs()),
    "png": dict(_pngs()),
    "gif": dict(_gifs()),
    "bmp": dict(_bmps()),
    "tiff": dict(_tiffs()),
    "webp": dict(_webps()),
    "heic": dict(_heics()),
    "dicom": dict(_dicoms()),
    "none": dict(_others()),
}
"""By the name of the format that the first bytes say."""

# Profiles, EXIF and XMP by themselves


def _profile(tags: dict[bytes, bytes]) -> bytes:
    """A profile of RGB of these tags, put together as ICC.1:2022 says."""
    white = struct.pack(">3l", 63_190, 65_536, 54_061)
    head = b"lcms\x04\x20\0\0mntrRGB XYZ " + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acspAPPL" + bytes(24) + white
    head = head.ljust(124, b"\0") + struct.pack(">L", len(tags))
    table, body, at = list[bytes](), list[bytes](), 4 + len(head) + 12 * len(tags)
    for name, data in tags.items():
        table.append(struct.pack(">4sLL", name, at, len(data)))
        body.append(data + bytes(-len(data) % 4))
        at += len(body[-1])
    return struct.pack(">L", at) + head + b"".join(table + body)


def _pipeline(length: int) -> bytes:
    """Half of it a table of colours, the other half places where such a table is found: all of them the same."""
    steps = max(1, length // 16)
    side = max(2, round((length / 24) ** (1 / 3)))
    table = b"clut" + bytes(4) + struct.pack(">HH", 3, 3) + bytes([side] * 3 + [0] * 13) + bytes(12 * side**3)
    return (
        b"mpet"
        + bytes(4)
        + struct.pack(">HHL", 3, 3, steps)
        + struct.pack(">LL", 16 + 8 * steps, len(table)) * steps
        + table
    )


def _curves(length: int) -> dict[bytes, bytes]:
    """What every profile of a screen has, with curves as long as one likes."""
    point = b"XYZ " + bytes(4) + struct.pack(">3l", 28_000, 28_000, 28_000)
    curve = b"curv" + bytes(4) + struct.pack(">L", length // 6) + bytes(2 * (length // 6))
    return {b"rXYZ": point, b"gXYZ": point, b"bXYZ": point, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}


def _in_profile(profile: Maker) -> Maker:
    def make(length: int) -> bytes:
        data = sound("WEBP")
        canvas = riff_chunk(b"VP8X", bytes([0x20, 0, 0, 0]) + (SIDE - 1).to_bytes(3, "little") * 2)
        return riff(canvas, riff_chunk(b"ICCP", profile(length)), data[12:])

    return make


def _profiles() -> Iterator[tuple[str, Maker]]:
    for number in range(4):
        yield (
            f"a pipeline D2B{number}",
            _in_profile(lambda n, t=b"D2B%d" % number: _profile({**_curves(600), t: _pipeline(n)})),
        )
    yield "long curves", _in_profile(lambda n: _profile(_curves(n)))
    yield "many tags", _in_profile(lambda n: _profile({b"%04x" % tag: b"" for tag in range(min(n // 12, 65_000))}))
    yield (
        "tags that are the whole profile",
        _in_profile(lambda n: _profile(_curves(600))[:128] + times(b"\0\0\0\x63", n)),
    )
    yield "zeros", _in_profile(bytes)


FILES["profile"] = dict(_profiles())

EXIF: dict[str, Maker] = {
    "other tags": directory,
    "orientations of no type": lambda n: directory(n, 0x0112, kind=99),
    "directories of themselves": lambda n: directory(n, 0x8769, value=8),
    "values that are the block itself": lambda n: directory(n, 0x9286, kind=7, count=2**20, value=0),
    "marks": _run(_EXIF),
    "zeros": bytes,
    "ones behind a mark": lambda n: b"MM\0*" + times(b"\1", n),
}

XMP: dict[str, Maker] = {
    name: _run(unit)
    for name, unit in {
        "beginnings of an orientation": b"tiff:Orientation",
        "orientations that are none": b'tiff:Orientation="9',
        "elements in one another": b"<tiff:Orientation>",
        "namespaces": b" xmlns:tiff='x'",
        "quotes": b'"',
        "spaces": b" ",
        "entities": b"&lt;",
        "zeros": b"\0",
        "half a letter": b"\xc3",
    }.items()
}

# Events and settings


def queued(body: str, **more: object) -> dict[str, object]:
    """An event of one message, as SQS writes it."""
    record = {
        "messageId": "19dd0b57-b21e-4ac1-bd88-01bbb068cb78",
        "receiptHandle": "AQEBzbVv",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1732354200000"},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:uploads",
    }
    return {"Records": [{**record, **more}]}


def _record(key: str = "a.jpg", time: str = "2026-11-23T09:30:00.125Z", **more: str) -> str:
    s3 = {"bucket": {"name": "dermbatch-images"}, "object": {"key": key, "eTag": "a" * 32, **more}}
    return json.dumps({"eventName": "ObjectCreated:Put", "eventTime": time, "s3": s3})


def _notified(record: str, *more: str) -> dict[str, object]:
    return queued(f'{{"Records":[{",".join((record, *more))}]}}')


def _envelopes(length: int) -> str:
    """Messages within messages: each level doubles the backslashes of the one below."""
    body = _record()
    while len(body) < length:
        body = json.dumps({"Type": "Notification", "Message": body})
    return body


EVENTS: dict[str, Callable[[int], dict[str, object]]] = {
    "lists in one another": lambda n: queued("[" * n),
    "objects in one another": lambda n: queued('{"Records":' * (n // 11)),
    "messages in one another": lambda n: queued(_envelopes(n)),
    "a long number": lambda n: queued("1" * n),
    "a long fraction": lambda n: queued("0." + "1" * n),
    "a long exponent": lambda n: queued("1e" + "9" * n),
    "spaces": lambda n: queued(" " * n),
    "escapes": lambda n: queued('"' + "\\u0041" * (n // 6)),
    "backslashes": lambda n: queued('"' + "\\" * n),
    "quotes": lambda n: queued('"' * n),
    "one key again and again": lambda n: queued("{" + '"Records":[0],' * (n // 14) + '"Records":[]}'),
    "many keys": lambda n: queued("{" + ",".join(f'"{i}":0' for i in range(n // 9)) + "}"),
    "parts that are none": lambda n: _notified("0", *["0"] * (n // 2)),
    "parts without an object": lambda n: _notified("{}", *['{"eventName":"ObjectCreated:Put"}'] * (n // 34)),
    "uploads": lambda n: _notified(*[_record(f"{i}.jpg") for i in range(max(1, n // 180))]),
    "one upload again and again": lambda n: _notified(*[_record()] * max(1, n // 180)),
    "uploads to another bucket": lambda n: _notified(*[_record().replace("images", "x")] * max(1, n // 180)),
    "a key of percent signs": lambda n: _notified(_record("%" * n)),
    "a key of percent codes": lambda n: _notified(_record("%41" * (n // 3))),
    "a key of broken codes": lambda n: _notified(_record("%ff" * (n // 3))),
    "a key of codes and letters": lambda n: _notified(_record("é%41" * (n // 9))),
    "a key of plus signs": lambda n: _notified(_record("+" * n)),
    "a key of slashes": lambda n: _notified(_record("/" * n)),
    "an etag of quotes": lambda n: _notified(_record(eTag='"' * (n // 2))),
    "a long version": lambda n: _notified(_record(versionId="v" * n)),
    "a long year": lambda n: _notified(_record(time="2" * n)),
    "a long second": lambda n: _notified(_record(time="2026-11-23T09:30:00." + "1" * n + "Z")),
    "a queue of hyphens": lambda n: queued("{}", eventSourceARN="arn:" + "a-" * (n // 2)),
    "a queue of colons": lambda n: queued("{}", eventSourceARN="arn:aws:sqs:" + ":" * n),
    "long counts": lambda n: queued("{}", attributes={"ApproximateReceiveCount": "1" * n, "SentTimestamp": "1" * n}),
    "records that are no messages": lambda n: {"Records": [*queued("{}")["Records"], *[0] * (n // 2)]},
    "messages that are no JSON": lambda n: {"Records": queued("")["Records"] * max(1, n // 330)},
}

SETTINGS: dict[str, Callable[[int], str]] = {
    "zeros": lambda n: "0" * n,
    "nines": lambda n: "9" * n,
    "letters": lambda n: "a" * n,
    "hyphens": lambda n: "a-" * (n // 2),
    "dots": lambda n: "." * n + " .",
    "spaces": lambda n: "a" + " " * n + "a",
    "an address with a space": lambda n: "http://" + "a" * n + " b",
    "an address of slashes": lambda n: "http://a" + "/" * n + "\n/",
    "a true that is none": lambda n: "true" * (n // 4),
}
"""Values of an environment variable."""
