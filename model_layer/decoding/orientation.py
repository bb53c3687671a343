"""Which way up a photograph is, from EXIF or XMP, without decoding any other metadata."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from model_layer.decoding import exif as exif_block

if TYPE_CHECKING:
    from collections.abc import Iterable

_XMP = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([1-8])")


def orientation(exif: bytes | None, xmp: bytes | None = None) -> int:
    """1 to 8 as EXIF defines it, from an `exif` block (with or without its `Exif` mark), else from an `xmp` packet.

    1, upright, also for whatever cannot be read.
    """
    return first_orientation([exif] if exif else [], [xmp] if xmp else [])


def first_orientation(exifs: Iterable[bytes], xmps: Iterable[bytes]) -> int:
    """Of the first EXIF block that tells one, else of the first XMP packet: programs write a second one beside it."""
    for block in exifs:
        if found := exif_block.orientation(block):
            return found
    for packet in xmps:
        if match := _XMP.search(packet):
            return int(match[1])
    return 1
