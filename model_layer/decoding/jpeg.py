"""Strips a JPEG to the segments that its pixels need; all other metadata is dropped unread.

Pillow's own parser reads byte by byte and keeps every segment: a file of tiny segments would take it a minute. Markers
are those of ITU-T T.81, table B.1. Cost: one pass, linear in the bytes before the first scan, over at most
`MAX_SEGMENTS` segments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from model_layer.answers import ImageRejectedError, RejectionCode
from model_layer.decoding import exif
from model_layer.decoding.limits import MAX_SEGMENTS
from model_layer.decoding.undecoded import refuse_jpeg_frame

# Fill bytes (more FF before a marker) are skipped, and FF with a stuffed zero is no marker. The pattern has one FF, not
# FF+: a run of FF that ends in a zero would be searched to its end from each of its bytes, which is quadratic.
_MARKER = re.compile(rb"\xff([^\x00\xff])")
_ALONE = frozenset([0x01, *range(0xD0, 0xD9)])  # markers without a length: TEM, RST0 to RST7, SOI
_SOS, _EOI, _APP0, _APP1, _APP2, _APP14, _APP15, _COM = 0xDA, 0xD9, 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
_XMP, _PROFILE = b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
_FRAMES = frozenset([0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF])
_SCALABLE = frozenset([0xC0, 0xC1, 0xC2, 0xC9, 0xCA])  # by DCT, and known to libjpeg
_PROGRESSIVE = frozenset([0xC2, 0xC6, 0xCA, 0xCE])
_COEFFICIENT_BYTES = 2
_MAX_BLOCKS = 8  # of EXIF and of XMP: some programs write a second one, few a third

# Segments that state the kind of colours, with their least length: a shorter one is damaged, and is dropped.
_WHOLE = {_APP0: 14, _APP14: 12}


@dataclass(frozen=True, slots=True)
class StrippedJpeg:
    """A JPEG without the metadata that its pixels do not need."""

    data: bytes
    orientation: int
    profile: bytes | None
    adobe_rgb: bool
    """Whether EXIF says so."""
    scales: bool
    """Whether it can be decoded at a fraction of its scale."""
    coefficient_bytes: int
    """What its decoder holds until the last scan, at any scale; 0 where one scan has all components."""


def strip(data: bytes) -> StrippedJpeg:
    """Keeps tables, frame, scans and the kind of colours (JFIF, Adobe); reads profile and orientation.

    Raises:
        ImageRejectedError: `truncated` before the first scan, `too_costly` with too many segments before it, or
            `unsupported_format`.
    """
    kept, frame, metadata = [data[:2]], b"", _Metadata()
    position = 2
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, position)
        if not found:
            raise ImageRejectedError(RejectionCode.TRUNCATED if len(kept) > 1 else RejectionCode.CORRUPT)
        marker = found[1][0]
        if marker == _SOS:
            kept.append(data[found.start() :])
            return StrippedJpeg(
                b"".join(kept),
                exif.orientation(metadata.exifs, metadata.xmps),
                _joined(metadata.profile_pieces),
                any(exif.is_adobe_rgb(block) for block in metadata.exifs),
                bool(frame) and frame[0] in _SCALABLE,
                _held_coefficients(frame, data[found.end() + 2 : found.end() + 3]),
            )
        start, position = found.end(), _end(data, marker, found.end())
        body = data[start + 2 : position]
        if marker in _FRAMES:
            frame = frame or bytes([marker]) + body
        if marker in (_APP1, _APP2):
            metadata.take(marker, body)
        elif not _APP0 <= marker <= _APP15 and marker != _COM:
            refuse_jpeg_frame(marker, body)
            kept.append(data[found.end() - 2 : position])
        elif len(body) >= _WHOLE.get(marker, len(data)):
            kept.append(data[found.end() - 2 : position])
    raise ImageRejectedError(RejectionCode.TOO_COSTLY)


class _Metadata:
    """The metadata that is read: EXIF, XMP and the colour profile."""

    def __init__(self) -> None:
        self.exifs: list[bytes] = []
        self.xmps: list[bytes] = []
        self.profile_pieces: list[bytes] = []

    def take(self, marker: int, body: bytes) -> None:
        if marker == _APP1 and body.startswith(exif.MARK) and len(self.exifs) < _MAX_BLOCKS:
            self.exifs.append(body)
        elif marker == _APP1 and body.startswith(_XMP) and len(self.xmps) < _MAX_BLOCKS:
            self.xmps.append(body)
        elif marker == _APP2 and body.startswith(_PROFILE):
            self.profile_pieces.append(body[len(_PROFILE) :])


def _joined(pieces: list[bytes]) -> bytes | None:
    """A colour profile from its pieces (ICC.1, annex B.4), each behind its number and a count of all.

    Many programs write these wrongly, so the count is ignored, and the numbers are used only where they give a whole
    profile. The profile itself states its size.
    """
    numbered: dict[bytes, bytes] = {}
    for piece in pieces:
        numbered.setdefault(piece[:1], piece[2:])
    by_number = b"".join(numbered[number] for number in sorted(numbered))
    for profile in (by_number, b"".join(piece[2:] for piece in pieces)):
        size = int.from_bytes(profile[:4], "big")
        if 0 < size <= len(profile):
            return profile[:size]
    return by_number or None


def _held_coefficients(frame: bytes, scan_components: bytes) -> int:
    """Bytes that libjpeg holds until the last scan, from the frame's marker and body; 0 for a frame that breaks off.

    Each component has blocks in proportion to its sampling factors. A scan of all components is not held.
    """
    if len(frame) < 7 or len(frame) < 7 + 3 * frame[6]:
        return 0
    pixels = int.from_bytes(frame[2:4], "big") * int.from_bytes(frame[4:6], "big")
    if frame[0] not in _PROGRESSIVE and scan_components >= frame[6:7]:
        return 0
    factors = [(sampling >> 4, sampling & 15) for sampling in frame[8 : 7 + 3 * frame[6] : 3]]
    largest = max((across for across, _ in factors), default=1) * max((down for _, down in factors), default=1)
    samples = sum(across * down for across, down in factors) / max(largest, 1)
    return int(_COEFFICIENT_BYTES * pixels * samples)


def _end(data: bytes, marker: int, start: int) -> int:
    """Where the segment ends whose length field is at `start`."""
    if marker in _ALONE or marker == _EOI:
        return start
    end = start + max(2, int.from_bytes(data[start : start + 2], "big"))
    if end > len(data):
        raise ImageRejectedError(RejectionCode.TRUNCATED)
    return end
