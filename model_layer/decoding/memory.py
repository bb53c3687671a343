"""Tells a worker that is short of memory from an image that is damaged.

Decoders say alike of both that they cannot go on, many of them in words of their own. The first passes, and the image
must come again; the second is an answer for good.
"""

from __future__ import annotations

import mmap

from model_layer.decoding.limits import BYTES_A_PIXEL

_ANY_IMAGE = 32 * 2**20  # bytes: the file, buffers, the decoder's own


def raise_if_short(pixels: int = 0) -> None:
    """To be asked when a decoder has failed on an image of so many pixels. Reserves memory, and does not touch it.

    Raises:
        MemoryError: this process cannot be given what such an image takes.
    """
    try:
        # Not a bytearray: that would write zeros to all of it.
        mmap.mmap(-1, _ANY_IMAGE + BYTES_A_PIXEL * pixels).close()
    except OSError:
        raise MemoryError from None
