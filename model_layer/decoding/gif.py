"""Strips a GIF to what its first frame needs; comments and other extensions are dropped.

Pillow reads extensions byte by byte, and for some animations reserves the frame's area while it opens the file, before
its size can be checked. Blocks are those of the GIF89a specification. Cost: linear in the bytes before the first frame,
with at most `MAX_CHUNKS` extensions of at most `MAX_CHUNKS` blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

from model_layer.answers import ImageRejectedError, RejectionCode
from model_layer.decoding.limits import MAX_CHUNKS

_CONTROL = b"!\xf9\x04"
_HAS_PALETTE, _PALETTE_SIZE, _IS_TRANSPARENT = 0x80, 0x07, 0x01


@dataclass(frozen=True, slots=True)
class StrippedGif:
    """A GIF without the extensions that its first frame does not need."""

    data: bytes
    size: tuple[int, int]
    """Width and height that hold both the canvas and the first frame, in pixels."""


def strip(data: bytes) -> StrippedGif:
    """Keeps header, palette, the first frame with its transparent colour, and everything after it.

    Raises:
        ImageRejectedError: `truncated` before the first frame, `corrupt`, or `too_costly`.
    """
    if len(data) < 13:
        raise ImageRejectedError(RejectionCode.TRUNCATED)
    control, position = b"", 13
    if data[10] & _HAS_PALETTE:
        position += 3 << (data[10] & _PALETTE_SIZE) + 1
    head = data[:position]
    for _ in range(MAX_CHUNKS):
        match data[position : position + 1]:
            case b"!":
                if data.startswith(_CONTROL, position) and data[position + 3 : position + 4] > b"":
                    transparent = data[position + 3] & _IS_TRANSPARENT
                    # How to dispose of the frame matters only to the next one.
                    control = _CONTROL + bytes([transparent]) + data[position + 4 : position + 7] + b"\0"
                position = _behind_blocks(data, position + 2)
            case b",":
                return StrippedGif(head + control + data[position:], _size(data, position))
            case b"":
                raise ImageRejectedError(RejectionCode.TRUNCATED)
            case b";":
                raise ImageRejectedError(RejectionCode.CORRUPT)  # no frame
            case _:
                position += 1
    raise ImageRejectedError(RejectionCode.TOO_COSTLY)


def _behind_blocks(data: bytes, position: int) -> int:
    """Where the next block begins, after an extension's chain of blocks of up to 255 bytes and its closing zero."""
    for _ in range(MAX_CHUNKS):
        if position >= len(data):
            raise ImageRejectedError(RejectionCode.TRUNCATED)
        length = data[position]
        position += 1 + length
        if not length:
            return position
    raise ImageRejectedError(RejectionCode.TOO_COSTLY)


def _size(data: bytes, frame: int) -> tuple[int, int]:
    if frame + 10 > len(data):
        raise ImageRejectedError(RejectionCode.TRUNCATED)
    left, top, width, height = (int.from_bytes(data[at : at + 2], "little") for at in range(frame + 1, frame + 9, 2))
    canvas = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    return max(canvas[0], left + width), max(canvas[1], top + height)
