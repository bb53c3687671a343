"""Tells coded data with a hole in it from data that an encoder wrote, where the decoder says nothing.

A lost sector or memory card cluster reads as zeros or as ones. Each function knows one kind of coded data in which a
long run of them cannot be; where it can, a second sign has to agree. All are linear in the data.
"""

from __future__ import annotations

# Half a disk sector of 512 bytes: a lost one holds these wherever it begins.
LOST_ZEROS, LOST_ONES = bytes(256), b"\xff" * 256
# HEVC breaks up every third zero (emulation prevention, ITU-T H.265, 7.4.2), so that a run is a few bytes at most.
_HEVC_ZEROS = bytes(16)


def is_sound_hevc(data: bytes, start: int, end: int) -> bool:
    """Whether a piece of a HEIC's image can have come from an encoder."""
    return data.find(_HEVC_ZEROS, start, end) < 0 and data.find(LOST_ONES, start, end) < 0
