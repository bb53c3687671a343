"""A JPEG's markers, walked once: what the pixels need is kept, all other metadata is dropped unread.

Pillow's own parser goes on byte by byte and keeps every segment; a file of nothing but tiny segments would hold it for
a minute. Markers are those of ITU-T T.81, table B.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from model_layer.decoding.limits import MAX_SEGMENTS
from model_layer.decoding.orientation import orientation
from model_layer.rejections import ImageRejectedError

_MARKER = re.compile(rb"\xff+([^\x00\xff])")  # fill bytes before it, and stuffed zeros after an FF, are no markers
_ALONE = frozenset([0x01, *range(0xD0, 0xD9)])  # markers without a length: TEM, RST0 to RST7, SOI
_SOS, _EOI, _APP0, _APP1, _APP2, _APP14, _APP15, _COM = 0xDA, 0xD9, 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
_EXIF, _XMP, _PROFILE = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"


@dataclass(frozen=True, slots=True)
class StrippedJpeg:
    """A JPEG without the metadata that its pixels do not need."""

    data: bytes
    orientation: int
    progressive: bool


def strip(data: bytes) -> StrippedJpeg:
    """Keeps tables, frame, scans, colour profile and what tells the colour space (JFIF, Adobe).

    Raises:
        ImageRejectedError: `truncated` before the first scan, or `too_costly` of segments before it.
    """
    kept, exif, xmp, progressive = [data[:2]], None, None, False
    position = 2
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, position)
        if not found:
            raise ImageRejectedError("truncated" if len(kept) > 1 else "corrupt")
        marker = found[1][0]
        if marker == _SOS:
            kept.append(data[found.start() :])
            return StrippedJpeg(b"".join(kept), orientation(exif, xmp), progressive)
        start, position = found.end(), _end(data, marker, found.end())
        body = data[start + 2 : min(position, start + 80)]
        if marker == _APP1 and body.startswith(_EXIF):
            exif = exif or data[start + 2 : position]
        elif marker == _APP1 and body.startswith(_XMP):
            xmp = xmp or data[start + 2 : position]
        elif not _APP0 <= marker <= _APP15 and marker != _COM:
            progressive = progressive or marker in (0xC2, 0xC6, 0xCA, 0xCE)
            kept.append(data[found.end() - 2 : position])
        elif marker in (_APP0, _APP14) or (marker == _APP2 and body.startswith(_PROFILE)):
            kept.append(data[found.end() - 2 : position])
    raise ImageRejectedError("too_costly")


def _end(data: bytes, marker: int, start: int) -> int:
    """Where the segment ends whose length field is at `start`."""
    if marker in _ALONE or marker == _EOI:
        return start
    end = start + max(2, int.from_bytes(data[start : start + 2], "big"))
    if end > len(data):
        raise ImageRejectedError("truncated")
    return end
