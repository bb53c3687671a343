"""What the decoder promises for any bytes, as one function that raises where a promise is broken."""

from __future__ import annotations

import functools
import io
import struct
import time
import zlib

import numpy as np
from PIL import Image

from model_layer.answers import ImageRejectedError, RejectionCode
from model_layer.decoding import DecodedImage, DecodingLimits, decode

SIZE = 32
# Large images are the bombs' subject; here they would only be slow.
LIMITS = DecodingLimits(max_pixels=1_000_000)

SECONDS = 2.0
"""Processor time of one decode. Above it a file is a finding: small as it is, it asks for more than it may.

Measured, not stopped by a clock: whoever shares the machine makes nothing a finding. Instrumented code is slower.
"""


class BrokenPromiseError(Exception):
    """The decoder did what it says it never does."""


def check_promises(data: bytes) -> None:
    """Decodes `data`, twice with another image in between: a square of pixels or a rejection, the same both times.

    Raises:
        BrokenPromiseError: it was neither, or another the second time, or took more than `SECONDS`.
        Exception: whatever else left the decoder.
    """
    started = time.thread_time()
    first = _outcome(data)
    seconds = time.thread_time() - started
    if seconds > SECONDS:
        raise BrokenPromiseError(f"{len(data)} bytes took {seconds:.1f} s.")
    if isinstance(first, str):
        if first not in set(RejectionCode):
            raise BrokenPromiseError(f"{first} is no code of a rejection.")
        return
    if first.pixels.shape != (SIZE, SIZE, 3) or first.pixels.dtype != np.uint8:
        raise BrokenPromiseError(f"Pixels of shape {first.pixels.shape} and type {first.pixels.dtype}.")
    _outcome(_neighbour())
    second = _outcome(data)
    if isinstance(second, str) or not np.array_equal(first.pixels, second.pixels):
        raise BrokenPromiseError("The same bytes were decoded to two different images.")


def _outcome(data: bytes) -> DecodedImage | str:
    try:
        return decode(data, SIZE, LIMITS)
    except ImageRejectedError as error:
        return error.code


@functools.cache
def _neighbour() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((200, 150), 80).save(buffer, "PNG")
    return buffer.getvalue()


def with_right_checksums(data: bytes) -> bytes:
    """A PNG with its checksums mended: else nearly every change would end there, and nothing behind it be reached."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    mended, at = bytearray(data), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        mended[end : end + 4] = struct.pack(">L", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(mended)
