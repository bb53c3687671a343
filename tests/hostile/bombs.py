"""Small files that ask for much: gigabytes of memory, or hours of work. Each costs its maker a few kilobytes."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import pillow_heif
from dicom_objects import deflated as dicom_deflated
from dicom_objects import native_header, photograph
from hostile.containers import (
    bmp,
    box,
    boxes,
    deflated,
    gif,
    gif_frame,
    grey_tiff,
    jpeg_segment,
    png,
    png_chunk,
    png_header,
    riff,
    riff_chunk,
    tiff,
    webp_canvas,
    with_repeated_scan,
)
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian
from sample_images import encoded, jpeg, picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEGA = 2**20
_OPEN_SEQUENCE = b"\t\0\1\0SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
_XMP = b"XML:com.adobe.xmp\0\1\0\0\0"  # keyword, compressed, method, no language, no translation


def bombs() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Name and maker of each: they are made one by one, since some are megabytes themselves."""
    for name, make in _BOMBS.items():
        yield f"bomb/{name}", make


def _jpeg_of_scans(scans: int, side: int) -> bytes:
    """A progressive JPEG that brings most of its coefficients again and again."""
    noise = Image.effect_noise((side // 8, side // 8), 60).resize((side, side))
    return with_repeated_scan(encoded(noise, "JPEG", progressive=True), scans)


def _jpeg_of_empty_scans(scans: int, side: int) -> bytes:
    return with_repeated_scan(encoded(Image.new("L", (side, side), 90), "JPEG", progressive=True), scans)


def _jpeg_of_segments(segment: bytes, times: int) -> bytes:
    sound = jpeg(1)
    return sound[:2] + segment * times + sound[2:]


def _exif(entries: int, size: int) -> bytes:
    """A directory of `entries` tags that all point to the same `size` bytes."""
    rows = b"".join(struct.pack("<HHLL", (0x9000 + i) % 2**16, 7, size, 8) for i in range(entries))
    return b"Exif\0\0II*\0" + struct.pack("<LH", 8, entries) + rows + bytes(4)


def _jpeg_header(width: int, height: int, **options: object) -> bytes:
    sound = bytearray(jpeg(1, **options))
    frame = sound.index(b"\xff\xc2" if options else b"\xff\xc0")
    sound[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(sound)


def _heic(size: tuple[int, int] = (256, 256), **options: object) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(picture(2, size)).save(buffer, quality=50, **options)
    return buffer.getvalue()


def _heic_with(change: Callable[[bytes], bytes]) -> bytes:
    """A HEIC of tiles whose table of contents is changed; the media behind it moves, and is not found again."""
    return b"".join(box(kind, change(body) if kind == b"meta" else body) for kind, body in boxes(_heic(tile_size=128)))


def _heic_of_one_tile_again_and_again() -> bytes:
    def change(meta: bytes) -> bytes:
        parts = boxes(meta[4:])
        for index, (kind, body) in enumerate(parts):
            if kind == b"iref":
                source = body[4 + 8 : 4 + 10]
                many = box(b"dimg", source, struct.pack(">H", 65535), body[4 + 12 : 4 + 14] * 65535)
                parts[index] = (kind, body[:4] + many)
            if kind == b"iprp":
                big = struct.pack(">LL", 8000, 6000)
                at = body.index(b"ispe")
                parts[index] = (kind, body[: at + 8] + big + body[at + 16 :])
        return meta[:4] + b"".join(box(kind, body) for kind, body in parts)

    return _heic_with(change)


def _heic_whose_sizes_lie(width: int, height: int) -> bytes:
    data = bytearray(_heic())
    at = data.index(b"ispe")
    data[at + 8 : at + 16] = struct.pack(">LL", width, height)
    return bytes(data)


def _webp_animation(frames: int) -> bytes:
    picture_ = encoded(picture(1), "WEBP")
    frame = picture_[12:]
    # ANMF: place, size - 1, duration, flags, then the frame's own chunk.
    head = bytes(6) + (159).to_bytes(3, "little") + (119).to_bytes(3, "little") + bytes([40, 0, 0, 0])
    animation = riff_chunk(b"ANIM", bytes(6))
    return riff(webp_canvas(160, 120, animated=True), animation, riff_chunk(b"ANMF", head + frame) * frames)


def _tiff_of_pages(pages: int) -> bytes:
    """Each page is the same picture; the last points back to the first."""
    page = struct.pack("<H", 9)
    numbers = {256: 64, 257: 64, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 64, 279: 4096}
    for tag, value in numbers.items():
        page += struct.pack("<HHLL", tag, 4, 1, value)
    size, first = len(page) + 4, 8 + 4096
    chain = b"".join(page + struct.pack("<L", first + size * ((i + 1) % pages)) for i in range(pages))
    return b"II*\0" + struct.pack("<L", first) + bytes(range(256)) * 16 + chain


def _tiff_of_strips(strips: int) -> bytes:
    """One row a strip, and every strip the same bytes."""
    body = bytes(range(64)) + struct.pack(f"<{strips}L", *[8] * strips)
    return grey_tiff(64, strips, body, offsets=72, strips=strips)


def _tiff_of_rationals(tag: int, count: int) -> bytes:
    return grey_tiff(64, 64, bytes(4096) + b"\1\0\0\0" * 2 * count, **{f"t{tag}": (5, count, 8 + 4096)})


def _tiff_tile(side: int, compression: int) -> bytes:
    body = deflated(16 * MEGA)
    entries = {256: (4, 1, 64), 257: (4, 1, 64), 258: (3, 1, 8), 259: (3, 1, compression), 262: (3, 1, 1)}
    tiles = {277: (3, 1, 1), 322: (4, 1, side), 323: (4, 1, side), 324: (4, 1, 8), 325: (4, 1, len(body))}
    return tiff(entries | tiles, body)


def _tiff_of_jpeg(data: bytes, side: int) -> bytes:
    return grey_tiff(side, side, data, compression=7)


def _gif_of_comments(blocks: int) -> bytes:
    return gif(64, 64, b"!\xfe" + b"\x01x" * blocks + b"\0", gif_frame(64, 64))


_BOMBS: dict[str, Callable[[], bytes]] = {
    "zeros of 200 MB": lambda: bytes(200 * MEGA),
    "jpeg of 200 MB": lambda: jpeg(1) + bytes(200 * MEGA),
    "jpeg 65,500 squared": lambda: _jpeg_header(65_500, 65_500),
    "jpeg 65,500 x 60": lambda: _jpeg_header(65_500, 60),
    "jpeg of 100,000 empty scans": lambda: _jpeg_of_empty_scans(100_000, 3000),
    "jpeg of 1,000 repeated scans": lambda: _jpeg_of_scans(1000, 500),
    "jpeg of 60 repeated scans": lambda: _jpeg_of_scans(50, 3600),
    "jpeg of 200 megapixels that breaks off": lambda: _jpeg_header(16_384, 12_288),
    "progressive jpeg of 130 megapixels that breaks off": lambda: _jpeg_header(
        13_000, 10_000, progressive=True, subsampling=0
    ),
    "jpeg of directories in 400 exif segments": lambda: _jpeg_of_segments(jpeg_segment(0xE1, _exif(5000, 60_000)), 400),
    "jpeg of a million comments": lambda: _jpeg_of_segments(jpeg_segment(0xFE), 10**6),
    "jpeg of a million notes": lambda: _jpeg_of_segments(jpeg_segment(0xE9, b"x"), 10**6),
    "jpeg of 16 MB of fill bytes": lambda: _jpeg_of_segments(b"\xff", 16 * MEGA),
    "jpeg of 16 MB of junk": lambda: _jpeg_of_segments(b"\0", 16 * MEGA),
    "jpeg of 16 MB of stuffed zeros": lambda: _jpeg_of_segments(b"\xff\0", 8 * MEGA),
    "jpeg of tags to the same bytes": lambda: _jpeg_of_segments(jpeg_segment(0xE1, _exif(5000, 60_000)), 1),
    "jpeg of exif in 200 pieces": lambda: _jpeg_of_segments(jpeg_segment(0xE1, _exif(5000, 12_000_000)), 200),
    "jpeg of 255 profiles": lambda: _jpeg_of_segments(jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65_000)), 255),
    "png 60,000 squared": lambda: png_header(60_000, 60_000) + png_chunk(b"IDAT", deflated(MEGA)),
    "png 2^31 wide": lambda: png_header(2**31 - 1, 1) + png_chunk(b"IDAT", deflated(MEGA)),
    "png 7,000 squared of zeros": lambda: png(7000, 7000),
    "png 7,000 squared with alpha": lambda: png(7000, 7000, colour=6),
    "png 5,000 squared interlaced": lambda: png(5000, 5000, interlaced=True),
    "png of 5 GB behind its end": lambda: png_header(64, 64) + png_chunk(b"IDAT", deflated(256 * MEGA)) * 20,
    "png iCCP of 256 MB": lambda: png(64, 64, png_chunk(b"iCCP", b"p\0\0" + deflated(256 * MEGA))),
    "png iCCP 20,000 times": lambda: png(64, 64, *[png_chunk(b"iCCP", b"p\0\0" + deflated(MEGA))] * 20_000),
    "png zTXt of 256 MB": lambda: png(64, 64, png_chunk(b"zTXt", b"p\0\0" + deflated(256 * MEGA))),
    "png raw profile of 256 MB": lambda: png(
        64, 64, png_chunk(b"zTXt", b"Raw profile type exif\0\0" + deflated(256 * MEGA))
    ),
    "png zTXt 20,000 times": lambda: png(64, 64, *[png_chunk(b"zTXt", b"p\0\0" + deflated(MEGA))] * 20_000),
    "png iTXt of 256 MB": lambda: png(64, 64, png_chunk(b"iTXt", _XMP + deflated(256 * MEGA))),
    "png of two million chunks": lambda: png(64, 64, png_chunk(b"puNK") * 2_000_000),
    "png of two million empty IDAT": lambda: png_header(64, 64) + png_chunk(b"IDAT") * 2_000_000,
    "png of tags to the same bytes": lambda: png(64, 64, png_chunk(b"eXIf", _exif(65_000, 700_000)[6:])),
    "png animation": lambda: png(64, 64, png_chunk(b"acTL", struct.pack(">LL", 2**31 - 1, 0))),
    "gif 65,535 squared": lambda: gif(65_535, 65_535, gif_frame(64, 64)),
    "gif whose frame is larger": lambda: gif(64, 64, gif_frame(65_535, 65_535)),
    "gif whose larger frame is disposed of": lambda: gif(64, 64, b"!\xf9\x04\x08\0\0\0\0", gif_frame(65_535, 65_535)),
    "gif 7,000 squared": lambda: gif(7000, 7000, gif_frame(7000, 7000)),
    "gif of 500,000 frames": lambda: gif(64, 64, gif_frame(64, 64) * 500_000),
    "gif of ten million comments": lambda: _gif_of_comments(10_000_000),
    "gif of a million extensions": lambda: gif(64, 64, b"!\xf9\x04\0\0\0\0\0" * 1_000_000, gif_frame(64, 64)),
    "dicom deflated to 200 MB": lambda: dicom_deflated(bytes(200 * MEGA)),
    "dicom of four million elements": lambda: native_header(ExplicitVRLittleEndian) + b"\t\0\1\0LO\0\0" * 4_000_000,
    "dicom of a million sequences": lambda: native_header(ExplicitVRLittleEndian) + _OPEN_SEQUENCE * 1_000_000,
    "dicom of four million fragments": lambda: (
        photograph(b"\0\0", (64, 64))[:-8] + b"\xfe\xff\0\xe0\0\0\0\0" * 4_000_000
    ),
    "dicom of a jpeg 65,500 squared": lambda: photograph(_jpeg_header(65_500, 65_500), (64, 64)),
    "dicom of a jpeg of 1,000 refining scans": lambda: photograph(_jpeg_of_scans(1000, 500), (500, 500)),
    "tiff 65,535 squared": lambda: grey_tiff(65_535, 65_535, bytes(4096)),
    "tiff 2^32 squared": lambda: grey_tiff(2**32 - 1, 2**32 - 1, bytes(4096)),
    "tiff 7,000 squared deflated": lambda: grey_tiff(7000, 7000, deflated(47 * MEGA), compression=8),
    "tiff of 5,000,000 strips": lambda: _tiff_of_strips(5_000_000),
    "tiff of 130,000 strips": lambda: _tiff_of_strips(130_000),
    "tiff of 100,000 pages": lambda: _tiff_of_pages(100_000),
    "tiff with a tile 40,000 squared": lambda: _tiff_tile(40_000, 8),
    "tiff with a tile 7,000 squared": lambda: _tiff_tile(7000, 8),
    "tiff of repeated jpeg scans": lambda: _tiff_of_jpeg(_jpeg_of_scans(60, 2000), 2000),
    "tiff of 1,000 jpeg scans": lambda: _tiff_of_jpeg(_jpeg_of_empty_scans(1000, 2000), 2000),
    "tiff with an LZMA dictionary": lambda: grey_tiff(64, 64, bytes(4096), compression=34925),
    "tiff of a million resolutions": lambda: _tiff_of_rationals(282, 1_000_000),
    "tiff of a million depths": lambda: _tiff_of_rationals(258, 1_000_000),
    "tiff of a million notes": lambda: _tiff_of_rationals(0x9000, 1_000_000),
    "tiff of fax lines": lambda: grey_tiff(64, 200_000, bytes(range(256)) * 400, compression=4, t258=(3, 1, 1)),
    "webp canvas 16,384 squared": lambda: riff(webp_canvas(16_384, 16_384), encoded(picture(1), "WEBP")[12:]),
    "webp canvas 2^24 squared": lambda: riff(webp_canvas(2**24, 2**24), encoded(picture(1), "WEBP")[12:]),
    "webp 7,000 squared": lambda: encoded(Image.linear_gradient("L").resize((7000, 7000)), "WEBP", method=0, quality=1),
    "webp of 20,000 frames": lambda: _webp_animation(20_000),
    "webp of a million chunks": lambda: riff(webp_canvas(160, 120), riff_chunk(b"punk", b"") * 1_000_000),
    "bmp 60,000 squared": lambda: bmp(60_000, 60_000, bytes(4096), bits=24),
    "bmp of runs that lead nowhere": lambda: bmp(7000, 7000, b"\1\0" * 7000 + b"\1\1" * 8_000_000, compression=1),
    "bmp of one-pixel runs": lambda: bmp(4000, 4000, b"\1\0" * 16_000_000, compression=1),
    "bmp of jumps": lambda: bmp(7000, 7000, b"\0\2\0\xff" * 1000, compression=1),
    "bmp of empty lines": lambda: bmp(7000, 7000, b"\1\1\0\0" * 7000, compression=1),
    "bmp of empty lines that is small enough": lambda: bmp(2800, 2800, b"\1\1\0\0" * 2800, compression=1),
    "bmp of short runs that is small enough": lambda: bmp(2800, 2800, b"\1\1" * 400_000, compression=1),
    "heic of one tile again and again": _heic_of_one_tile_again_and_again,
    "heic that says 64 x 64": lambda: _heic_whose_sizes_lie(64, 64),
    "heic that says 7,000 squared": lambda: _heic_whose_sizes_lie(7000, 7000),
    "heic that says 2^31 squared": lambda: _heic_whose_sizes_lie(2**31, 2**31),
    "heic of two million boxes": lambda: _heic_with(lambda meta: meta + box(b"free") * 2_000_000),
}
