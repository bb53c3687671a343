"""The smallest parts that image formats are put together from, so that a test can put them together wrongly."""

from __future__ import annotations

import functools
import re
import struct
import zlib

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))


def png_header(width: int, height: int, *, depth: int = 8, colour: int = 2, interlaced: bool = False) -> bytes:
    return PNG_SIGNATURE + png_chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, interlaced))


def png(width: int, height: int, *extra: bytes, colour: int = 2, interlaced: bool = False) -> bytes:
    """A whole PNG of black pixels, with `extra` chunks before them."""
    row = 1 + width * {0: 1, 2: 3, 6: 4}[colour]
    body = zlib.compress(bytes(row * (height + (8 if interlaced else 0))), 1)
    header = png_header(width, height, colour=colour, interlaced=interlaced)
    return header + b"".join(extra) + png_chunk(b"IDAT", body) + png_chunk(b"IEND")


@functools.cache
def deflated(bytes_when_unpacked: int) -> bytes:
    """Zeros, a thousandth as large."""
    zipper = zlib.compressobj(9)
    block = bytes(2**20)
    return b"".join([*(zipper.compress(block) for _ in range(bytes_when_unpacked >> 20)), zipper.flush()])


def jpeg_segment(marker: int, body: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_repeated_scan(progressive: bytes, times: int) -> bytes:
    """A progressive JPEG whose third scan, the costly first one of most coefficients, comes so often again."""
    third = [found.start() for found in re.finditer(rb"\xff\xda", progressive)][2]
    end = re.compile(rb"\xff[^\0]").search(progressive, third + 2).start()
    return progressive[:end] + progressive[third:end] * times + progressive[end:]


def tiff(entries: dict[int, tuple[int, int, int | bytes]], body: bytes = b"", *, order: str = "<") -> bytes:
    """A classic TIFF: `body` behind the header at 8, then one directory of tag: (type, count, value or offset)."""
    directory = struct.pack(order + "H", len(entries))
    for tag, (kind, count, value) in sorted(entries.items()):
        field = (
            value
            if isinstance(value, bytes)
            else struct.pack(order + "HH" if kind == 3 else order + "L", *([value, 0] if kind == 3 else [value]))
        )
        directory += struct.pack(order + "HHL", tag, kind, count) + field.ljust(4, b"\0")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    body += b"\0" * (len(body) % 2)
    return mark + struct.pack(order + "L", 8 + len(body)) + body + directory + bytes(4)


def grey_tiff(
    width: int,
    height: int,
    body: bytes,
    *,
    offsets: int = 8,
    strips: int = 1,
    compression: int = 1,
    **tags: tuple[int, int, int],
) -> bytes:
    """A TIFF of 8-bit greys whose strips are told by an offset, or where there are several by a list in `body`."""
    entries = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, 8),
        259: (3, 1, compression),
        262: (3, 1, 1),
        273: (4, strips, offsets),
        277: (3, 1, 1),
        278: (4, 1, -(-height // strips)),
        279: (4, strips, offsets if strips > 1 else len(body)),
    }
    return tiff(entries | {int(tag.removeprefix("t")): value for tag, value in tags.items()}, body)


def riff(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<L", len(body)) + body


def riff_chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<L", len(body)) + body + b"\0" * (len(body) % 2)


def webp_canvas(width: int, height: int, *, animated: bool = False) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff_chunk(b"VP8X", bytes([2 if animated else 0, 0, 0, 0]) + size)


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">L", 8 + len(body)) + kind + body


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """Type and content of each box."""
    found = []
    while data:
        (size,) = struct.unpack(">L", data[:4])
        found.append((data[4:8], data[8:size]))
        data = data[size:]
    return found


def gif(width: int, height: int, *blocks: bytes) -> bytes:
    palette = b"".join(bytes([level] * 3) for level in (0, 255))
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + palette + b"".join(blocks) + b";"


def gif_frame(width: int, height: int, codes: bytes = b"\x02\x4c\x01\x00") -> bytes:
    return b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02" + codes


def bmp(width: int, height: int, body: bytes, *, compression: int = 0, bits: int = 8) -> bytes:
    colours = b"".join(bytes([level] * 3 + [0]) for level in range(256 if bits == 8 else 16)) if bits <= 8 else b""
    header = struct.pack("<LllHHLLllLL", 40, width, height, 1, bits, compression, len(body), 0, 0, len(colours) // 4, 0)
    start = 14 + len(header) + len(colours)
    return b"BM" + struct.pack("<LHHL", start + len(body), 0, 0, start) + header + colours + body
