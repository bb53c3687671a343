"""Tells image data with a hole in it from data that an encoder wrote, where the decoder says nothing.

A sector, page or memory card cluster that was never written reads as zeros or as ones. Each function knows one kind of
data, and what else in it must agree before a run of them is called a hole: flat pictures hold such runs, too. All are
linear in the data, and do little where there is no run.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image, ImageFile, TiffImagePlugin

# Half a disk sector of 512 bytes: a lost one holds these wherever it begins.
LOST_ZEROS, LOST_ONES = bytes(256), b"\xff" * 256
# HEVC breaks up every third zero (emulation prevention, ITU-T H.265, 7.4.2), so that a run is a few bytes at most.
_HEVC_ZEROS = bytes(64)
_SECTOR = 512
_COMPRESSION, _PLANES = 259, 284  # TIFF tags
_LZW, _JPEG, _PACKBITS = 5, 7, 32773
_BAND_PIXELS = 2**20  # looked at at a time
_MACROBLOCK = 16  # pixels


def has_lost_block(data: bytes, start: int = 0, end: int | None = None) -> bool:
    """Whether there is a run of zeros or ones as long as a sector."""
    return data.find(LOST_ZEROS, start, end) >= 0 or data.find(LOST_ONES, start, end) >= 0


def is_sound_hevc(data: bytes, start: int, end: int) -> bool:
    """Whether a piece of a HEIC's image can have come from an encoder."""
    return data.find(_HEVC_ZEROS, start, end) < 0 and data.find(LOST_ONES, start, end) < 0


def is_sound_png(data: bytes) -> bool:
    """False where a checksum confirms that a run in the pixel data is a hole."""
    if not has_lost_block(data):
        return True
    position = 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">L", data, position)
        end = position + 8 + length
        if data.startswith(b"IDAT", position + 4) and end + 4 <= len(data):
            checksum = zlib.crc32(memoryview(data)[position + 4 : end])
            if checksum != int.from_bytes(data[end : end + 4], "big") and has_lost_block(data, position, end):
                return False
        position = end + 4
    return True


def is_sound_webp(data: bytes, image: Image.Image) -> bool:
    """Whether the first frame's pixels are as even as a run of zeros or ones in its data says.

    A lossy macroblock without detail takes 25 codes of at most 8 bits. A lossless pixel that is what its neighbours
    foretell takes four codes, each the shortest of 256 and so of 8 bits at most. Where the picture has not as many of
    them in a row, the run stands for nothing that an encoder saw.
    """
    frame = _first_frame(data)
    if frame is None:
        return True
    is_lossless, start, end = frame
    run = max(_longest_lost(data, start, end, 0), _longest_lost(data, start, end, 0xFF))
    if not run:
        return True
    if is_lossless:
        return _longest_foretold(image) >= min(run // 4, _BAND_PIXELS // 4)
    return _longest_flat(image) >= run // 25


def _longest_lost(data: bytes, start: int, end: int, filling: int) -> int:
    """The length of the longest run of a byte; 0 where none is as long as half a sector."""
    block, other = bytes([filling]) * len(LOST_ZEROS), re.compile(rb"[^\x%02x]" % filling)
    longest = 0
    while (at := data.find(block, start, end)) >= 0:
        found = other.search(data, at, end)
        start = found.start() if found else end
        longest = max(longest, start - at)
    return longest


def _longest_flat(image: Image.Image) -> int:
    """How many macroblocks in a row have one colour: of the middle, which filters at the edges leave alone."""
    columns, rows = -(-image.width // _MACROBLOCK), -(-image.height // _MACROBLOCK)
    middle = _MACROBLOCK // 2
    lines = [min(row * _MACROBLOCK + middle, image.height - 1) for row in range(rows)]
    across = np.minimum(np.arange(columns) * _MACROBLOCK + middle, image.width - 1)
    middles = np.concatenate([np.asarray(image.crop((0, line, image.width, line + 1)))[0, across] for line in lines])
    flat = _longest_run((middles[1:] == middles[:-1]).all(axis=1))
    # Of a lowest row whose middle is beyond the picture's edge, filters leave nothing alone.
    return flat + (columns if 0 < image.height % _MACROBLOCK <= middle else 0)


def _longest_foretold(image: Image.Image) -> int:
    """How many pixels in a row are as the one to the left or above, or go on with the slope of both."""
    longest, rows = 0, max(1, _BAND_PIXELS // image.width)
    above = np.asarray(image.crop((0, 0, image.width, 1)))
    above = np.concatenate([above[:, :1], above[:, :-1]], axis=1)  # the first row has but its left
    for top in range(0, image.height, rows):
        shown = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
        above = np.concatenate([above[-1:], shown[:-1]])
        left = np.concatenate([above[:, :1], shown[:, :-1]], axis=1)
        corner = np.concatenate([above[:, :1], above[:, :-1]], axis=1)
        foretold = (shown == left).all(axis=2) | (shown == above).all(axis=2)
        foretold |= (shown == left + above - corner).all(axis=2)  # in 8 bits, as the format counts
        longest = max(longest, _longest_run(foretold.ravel()))
        above = shown
    return longest


def _first_frame(data: bytes) -> tuple[bool, int, int] | None:
    """Whether the coded pixels are lossless, and where they begin and end."""
    position = 12
    while position + 8 <= len(data):
        kind, length = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        start, end = position + 8, min(len(data), position + 8 + length)
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8L", start, end
        # A frame of an animation holds its chunks behind 16 bytes of its own.
        position = start + 16 if kind == b"ANMF" else end + length % 2
    return None


def _longest_run(marks: NDArray[np.bool_]) -> int:
    """How many in a row are true."""
    bounds = np.concatenate([[-1], np.flatnonzero(~marks), [len(marks)]])
    return int(np.diff(bounds).max()) - 1


def is_sound_tiff(data: bytes, image: TiffImagePlugin.TiffImageFile) -> bool:
    """False where a strip or tile has a hole: compressed by LZW, PackBits or JPEG as a run, or uncompressed.

    LZW and PackBits write a run of anything in a few bytes. Of JPEG's usual tables, those of colours alone have zeros
    for flat blocks, which matters where colours are stored apart.
    """
    tags = image.tag_v2
    compression, planes = tags.get(_COMPRESSION), tags.get(_PLANES, 1)
    if compression == 1:
        return is_sound_raster(data, image)
    if not (compression in (_LZW, _PACKBITS) or (compression == _JPEG and planes == 1)) or not has_lost_block(data):
        return True
    starts, lengths = ((tags.get(strips) or tags.get(tiles) or ()) for strips, tiles in ((273, 324), (279, 325)))
    return not any(has_lost_block(data, start, start + length) for start, length in zip(starts, lengths, strict=False))


def is_sound_raster(data: bytes, image: ImageFile.ImageFile) -> bool:
    """False where uncompressed rows (BMP, TIFF) have a hole: black from one sector's start to another's end.

    Unlike a border or a mask it begins and ends in the middle of rows that are not black, and is rows long.
    """
    tiles = [tile for tile in image.tile if tile.codec_name == "raw" and isinstance(tile.args, tuple)]
    if not tiles:
        return True
    first, parameters = tiles[0].offset, tiles[0].args
    stated = parameters[1] if isinstance(parameters, tuple) and len(parameters) > 1 else 0
    bytes_a_pixel = len(image.getbands()) * (2 if image.mode.startswith("I;16") else 1)
    stride = int(stated) or image.width * bytes_a_pixel
    body = np.frombuffer(data, np.uint8)
    if body[first::stride].all() or body[first + stride // 2 :: stride].all():
        return True  # a hole of two rows is seen in every column
    sectors = body[: len(body) // _SECTOR * _SECTOR].view(np.uint64).reshape(-1, _SECTOR // 8)
    is_zero = np.concatenate([[False], ~sectors.any(axis=1), [False]])
    edges = np.flatnonzero(is_zero[1:] != is_zero[:-1]) * _SECTOR
    return not any(
        end - start >= 2 * stride and (start - first) % stride and _is_hole(body, int(start), int(end), stride)
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    )


def _is_hole(body: NDArray[np.uint8], start: int, end: int, stride: int) -> bool:
    """Whether the rows right before and right behind a run of zeros are bright to its very edge."""
    before, behind = body[max(0, start - stride) : start], body[end : end + stride]
    is_to_the_end = not behind.any()
    return bool((before != 0).mean() > 0.95 and before[-1]) and (
        is_to_the_end or bool((behind != 0).mean() > 0.95 and behind[0])
    )
