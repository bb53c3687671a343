"""A WebP's canvas from its header, and a decoder that notices a hole in the pixel data.

Pillow's decoder reserves two canvases before it can be asked for their size, so `canvas` reads the size first. Chunks
are those of RFC 9649. Cost: `canvas` reads 30 bytes; the search for a hole is linear in the file, and compares pixels
only where it finds a run of zeros or ones.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import WebPImagePlugin

from model_layer.answers import ImageRejectedError, RejectionCode, incomplete
from model_layer.decoding.completeness import LOST_ZEROS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

_BAND_PIXELS = 2**20  # compared at a time
_MACROBLOCK = 16  # pixels


def canvas(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, as the first chunk states them.

    Raises:
        ImageRejectedError: `truncated` or `corrupt`.
    """
    if len(data) < 30:
        raise ImageRejectedError(RejectionCode.TRUNCATED)
    match data[12:16]:
        case b"VP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case b"VP8 " if data[23:26] == b"\x9d\x01\x2a":
            return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
        case b"VP8L" if data[20] == 0x2F:
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise ImageRejectedError(RejectionCode.CORRUPT)


class WebPFile(WebPImagePlugin.WebPImageFile):
    """Pillow's WebP; loading it raises `ImageRejectedError` (`incomplete`) where the first frame has a hole."""

    _is_checked = False

    def load(self) -> Any:
        if not self._is_checked:
            file: Any = self.fp
            data = file.getvalue()
            super().load()
            self._is_checked = True
            if not _is_sound(data, self):
                raise incomplete()
        return super().load()


def _is_sound(data: bytes, image: Image.Image) -> bool:
    """Whether the first frame's pixels are as even as a run of zeros or ones in its data implies.

    A lossy macroblock without detail takes 25 codes of at most 8 bits. A lossless pixel that its neighbours predict
    takes four codes, each the shortest of 256 and so at most 8 bits. A picture that lacks that many even blocks or
    predicted pixels in a row did not produce the run.
    """
    frame = _first_frame(data)
    if frame is None:
        return True
    is_lossless, start, end = frame
    run = max(_longest_lost(data, start, end, 0), _longest_lost(data, start, end, 0xFF))
    if not run:
        return True
    if is_lossless:
        return _longest_predicted(image) >= min(run // 4, _BAND_PIXELS // 4)
    return _longest_flat(image) >= run // 25


def _first_frame(data: bytes) -> tuple[bool, int, int] | None:
    """Whether the coded pixels are lossless, and where they begin and end."""
    position = 12
    while position + 8 <= len(data):
        kind, length = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        start, end = position + 8, min(len(data), position + 8 + length)
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8L", start, end
        # An animation's frame holds its chunks after 16 bytes of its own.
        position = start + 16 if kind == b"ANMF" else end + length % 2
    return None


def _longest_lost(data: bytes, start: int, end: int, filling: int) -> int:
    """The length of the longest run of the byte `filling`; 0 where no run is half a sector long."""
    block, other = bytes([filling]) * len(LOST_ZEROS), re.compile(rb"[^\x%02x]" % filling)
    longest = 0
    while (at := data.find(block, start, end)) >= 0:
        found = other.search(data, at, end)
        start = found.start() if found else end
        longest = max(longest, start - at)
    return longest


def _longest_flat(image: Image.Image) -> int:
    """How many macroblocks in a row have one colour in the middle, which edge filters do not change."""
    columns, rows = -(-image.width // _MACROBLOCK), -(-image.height // _MACROBLOCK)
    middle = _MACROBLOCK // 2
    lines = [min(row * _MACROBLOCK + middle, image.height - 1) for row in range(rows)]
    across = np.minimum(np.arange(columns) * _MACROBLOCK + middle, image.width - 1)
    middles = np.concatenate([np.asarray(image.crop((0, line, image.width, line + 1)))[0, across] for line in lines])
    flat = _longest_run((middles[1:] == middles[:-1]).all(axis=1))
    # Where the lowest row's middle is beyond the picture's edge, filters change all of that row.
    return flat + (columns if 0 < image.height % _MACROBLOCK <= middle else 0)


def _longest_predicted(image: Image.Image) -> int:
    """How many pixels in a row equal the one to the left or above, or continue the slope of both."""
    longest, rows = 0, max(1, _BAND_PIXELS // image.width)
    above = np.asarray(image.crop((0, 0, image.width, 1)))
    above = np.concatenate([above[:, :1], above[:, :-1]], axis=1)  # the first row has only a left neighbour
    for top in range(0, image.height, rows):
        shown = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
        above = np.concatenate([above[-1:], shown[:-1]])
        left = np.concatenate([above[:, :1], shown[:, :-1]], axis=1)
        corner = np.concatenate([above[:, :1], above[:, :-1]], axis=1)
        predicted = (shown == left).all(axis=2) | (shown == above).all(axis=2)
        predicted |= (shown == left + above - corner).all(axis=2)  # wraps at 8 bits, as the format does
        longest = max(longest, _longest_run(predicted.ravel()))
        above = shown
    return longest


def _longest_run(marks: NDArray[np.bool_]) -> int:
    """How many in a row are true."""
    bounds = np.concatenate([[-1], np.flatnonzero(~marks), [len(marks)]])
    return int(np.diff(bounds).max()) - 1
