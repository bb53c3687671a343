"""Finds holes in image data where the decoder reports no error.

A sector, page or memory card cluster that was never written reads as zeros or as ones. Flat pictures contain such runs
too, so each function also checks what else must agree in its kind of data before a run counts as a hole. Cost: linear
in the file, and little where there is no run. `webp` and `jpeg_scans` have checks of their own.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import ImageFile, TiffImagePlugin

# Half a disk sector of 512 bytes: a lost sector contains such a run wherever it begins.
LOST_ZEROS, LOST_ONES = bytes(256), b"\xff" * 256
# HEVC breaks up every third zero (emulation prevention, ITU-T H.265, 7.4.2), so a run is a few bytes at most.
_HEVC_ZEROS = bytes(64)
_SECTOR = 512
_COMPRESSION, _PLANES = 259, 284  # TIFF tags
_LZW, _JPEG, _PACKBITS = 5, 7, 32773


def has_lost_block(data: bytes, start: int = 0, end: int | None = None) -> bool:
    """Whether there is a run of zeros or ones as long as a sector."""
    return data.find(LOST_ZEROS, start, end) >= 0 or data.find(LOST_ONES, start, end) >= 0


def is_sound_hevc(data: bytes, start: int, end: int) -> bool:
    """Whether an encoder can have written this piece of a HEIC's image."""
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


def is_sound_tiff(data: bytes, image: TiffImagePlugin.TiffImageFile) -> bool:
    """False where a strip or tile has a hole: compressed by LZW, PackBits or JPEG as a run, or uncompressed.

    LZW and PackBits write any run in a few bytes. Of JPEG's usual tables, only those for colours use zeros for flat
    blocks, which matters where colours are stored in planes of their own.
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

    Unlike a border or a mask, a hole is several rows long, and begins and ends inside rows that are not black.
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
        return True  # a hole of two rows would show in every column
    sectors = body[: len(body) // _SECTOR * _SECTOR].view(np.uint64).reshape(-1, _SECTOR // 8)
    is_zero = np.concatenate([[False], ~sectors.any(axis=1), [False]])
    edges = np.flatnonzero(is_zero[1:] != is_zero[:-1]) * _SECTOR
    return not any(
        end - start >= 2 * stride and (start - first) % stride and _is_hole(body, int(start), int(end), stride)
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    )


def _is_hole(body: NDArray[np.uint8], start: int, end: int, stride: int) -> bool:
    """Whether the rows directly before and after a run of zeros are bright up to its edges."""
    before, behind = body[max(0, start - stride) : start], body[end : end + stride]
    is_to_the_end = not behind.any()
    return bool((before != 0).mean() > 0.95 and before[-1]) and (
        is_to_the_end or bool((behind != 0).mean() > 0.95 and behind[0])
    )
