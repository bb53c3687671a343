"""Decodes a JPEG and notices lost picture data, which libjpeg would fill with grey without an error.

libjpeg stops and asks for more where its input ends in the middle of a picture, but not where a marker comes too early.
So it gets the entropy-coded data of one scan at a time, without the marker that ends it, followed by padding. If it
still asks for more, the scan is too short. If it finished well before the scan's end, damaged data was decoded to too
many blocks. Damage in the middle shows in the same two ways, since the codes after it come out at another length.

Two things can hide such a difference. The first is restart markers: their number and order are checked (ITU-T T.81,
E.1.4), and where there is a run of zeros between them, every interval is checked against its own end. The second is
zeros that decode to the same length as the data they replaced: they count as damage where the Huffman tables show that
no encoder wrote them.

Cost: the image is decoded once; the walk over markers is linear, over at most `MAX_SEGMENTS` segments and `MAX_SCANS`
scans, and scans x pixels are at most `MAX_SCAN_PIXELS`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from PIL import Image, JpegImagePlugin

from model_layer.answers import ImageRejectedError, RejectionCode, incomplete
from model_layer.decoding.completeness import LOST_ONES, LOST_ZEROS
from model_layer.decoding.limits import MAX_SCAN_PIXELS, MAX_SCANS, MAX_SEGMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARKER = re.compile(rb"\xff[^\x00\xff]")
_NO_RESTART = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_RESTARTS_IN_ORDER = b"".join(bytes([0xFF, 0xD0 + number]) for number in range(8))
_WITHOUT_LENGTH = frozenset([0x01, *range(0xD0, 0xD9)])
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE, _ARITHMETIC = frozenset([0xC2, 0xC6, 0xCA, 0xCE]), frozenset(range(0xC9, 0xD0))
_DHT, _EOI, _SOS, _DRI = 0xC4, 0xD9, 0xDA, 0xDD

# Stuffed FF bytes: no Huffman code is all ones. libjpeg reads up to 8 bytes ahead of the block that it decodes.
_PADDING = b"\xff\0" * 10
# While libjpeg waits for a marker it consumes this at once; in the middle of a block it needs more, and takes nothing.
_PROBE = b"\xff\0"
# Some cameras leave a few bytes between the last block and the next marker.
_SPARE_BYTES = 32
_PADDED = bytes(64)


class JpegFile(JpegImagePlugin.JpegImageFile):
    """Pillow's JPEG, but loading it fails where picture data is lost."""

    def load(self) -> Any:
        """As Pillow's.

        Raises:
            ImageRejectedError: `incomplete`, or `truncated` where the file itself breaks off.
            OSError: libjpeg cannot decode it.
        """
        if self.tile:
            self.load_prepare()
            file: Any = self.fp
            _, extents, _, parameters = self.tile[0]
            decoder: Any = Image._getdecoder(self.mode, "jpeg", parameters, self.decoderconfig)  # noqa: SLF001
            try:
                decoder.setimage(self.im, extents)
                file.seek(0)
                _Feeder(decoder, self.im, file.read()).run()
            finally:
                decoder.cleanup()
            self.tile = []
        return super().load()


@dataclass(frozen=True, slots=True)
class _Segment:
    """Entropy-coded data with an end of its own: a scan, or one interval between restart markers."""

    start: int
    end: int
    is_whole_picture: bool
    may_have_zeros: bool
    """Whether an encoder can have written a run of zeros in it, as the codes of flat blocks."""


class _Feeder:
    def __init__(self, decoder: Any, image: Any, data: bytes) -> None:
        self._decoder, self._image = decoder, image
        self._data, self._view = data, memoryview(data)
        self._at = 0
        """The first byte that libjpeg has not taken."""
        self._is_done = False

    def run(self) -> None:
        walk = _Walk(self._data)
        segments = list(walk.segments())  # all, so that they are counted before the first is decoded
        if walk.is_arithmetic:
            self._feed(self._view)  # libjpeg's arithmetic decoder cannot wait for more input
        elif not walk.has_every_scan:
            raise _short(self._data, walk.end)
        else:
            for segment in segments:
                self._decode(segment)
            self._feed(b"\xff\xd9")
        if not self._is_done:
            raise ImageRejectedError(RejectionCode.TRUNCATED)

    def _decode(self, segment: _Segment) -> None:
        end = segment.end
        is_padded = self._data.endswith(_PADDED, segment.start, end)
        padding = segment.start + len(self._data[segment.start : end].rstrip(b"\0")) if is_padded else end
        if self._has_lost_block(segment, padding) or self._is_over_at(padding - _SPARE_BYTES, segment):
            raise self._incomplete(segment)
        if is_padded and not segment.may_have_zeros:
            if not self._is_over_at(padding + _SPARE_BYTES // 2, segment):
                raise self._incomplete(segment)
            self._at = end  # the picture is whole, and the zeros after it do no harm
            return
        if self._is_over_at(end - _SPARE_BYTES, segment):
            raise self._incomplete(segment)
        rest = bytes(self._view[self._at : end]) + _PADDING
        if self._feed(rest) < len(rest) or self._feed(_PROBE) < len(_PROBE):
            raise self._incomplete(segment)
        self._at = end

    def _has_lost_block(self, segment: _Segment, end: int) -> bool:
        """Whether there is a run of bytes that no encoder writes."""
        if not segment.may_have_zeros and self._data.find(LOST_ZEROS, segment.start, end) >= 0:
            return True
        ones = self._data.find(LOST_ONES, segment.start, end)
        return ones >= 0 and bool(self._data[ones:end].strip(b"\xff"))  # before a marker they are fill bytes

    def _is_over_at(self, position: int, segment: _Segment) -> bool:
        """Decodes up to `position`, and returns whether libjpeg waits for a marker there though the segment goes on."""
        while position > self._at and self._data[position - 1] == 0xFF:
            position -= 1
        if position <= max(self._at, segment.start) or _RESTART.search(self._data, position, segment.end):
            return False  # it may wait for the header, or for the next interval
        self._at += self._feed(self._view[self._at : position])
        if self._at < position:
            return False
        following = position + 1
        while self._data[following - 1] == 0xFF:
            following += 1
        self._at += self._feed(self._view[position:following])
        return self._at == following

    def _feed(self, data: memoryview | bytes) -> int:
        """How many bytes libjpeg consumed; all of them once its picture is whole."""
        if not self._is_done:
            taken, error = self._decoder.decode(data)
            if error < 0:
                raise OSError("libjpeg cannot decode this")
            self._is_done = taken < 0
        return len(data) if self._is_done else taken

    def _incomplete(self, segment: _Segment) -> ImageRejectedError:
        return _short(self._data, segment.end, self._lost_share(segment))

    def _lost_share(self, segment: _Segment) -> float | None:
        """The missing share of the picture, 0 to 1; None where it comes in several scans or intervals."""
        if not segment.is_whole_picture:
            return None
        zeros = self._data.find(_PADDED, segment.start, segment.end)
        if zeros >= 0:  # blocks after them are in the wrong place
            return (segment.end - zeros) / (segment.end - segment.start)
        rows = (self._image.getbbox() or (0, 0, 0, 0))[3]  # rows that libjpeg has not delivered are still black
        return 1 - float(rows) / float(self._image.size[1])


@dataclass(slots=True)
class _Component:
    across: int
    down: int
    """Blocks side by side and one above the other in one coded unit."""
    low_bits: list[int] = field(default_factory=lambda: [-1] * 64)
    """For each coefficient the lowest bit that scans have brought so far; -1 for none."""


@dataclass(frozen=True, slots=True)
class _Frame:
    marker: int
    width: int
    height: int
    components: dict[int, _Component]

    def units(self, scanned: list[int]) -> int:
        """The number of coded units (MCU) in a scan of these components (T.81, A.2)."""
        across = max(component.across for component in self.components.values())
        down = max(component.down for component in self.components.values())
        if len(scanned) > 1:
            return -(-self.width // (8 * across)) * -(-self.height // (8 * down))
        only = self.components[scanned[0]]  # blocks beyond its own edge are left out
        width, height = -(-self.width * only.across // across), -(-self.height * only.down // down)
        return -(-width // 8) * -(-height // 8)


class _Walk:
    """Goes from marker to marker, to the end of the picture."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._frame: _Frame | None = None
        self._interval = 0
        self._first_symbols: dict[int, int] = {}
        """For each Huffman table (class and number) the symbol whose code is all zeros."""
        self.is_arithmetic = False
        self.end = len(data)
        """Position of the marker that ends the picture, or of the file's end."""

    @property
    def has_every_scan(self) -> bool:
        """Whether scans have brought every bit of every coefficient."""
        return self._frame is not None and not any(any(c.low_bits) for c in self._frame.components.values())

    def segments(self) -> Iterator[_Segment]:
        """Every scan, or its intervals, in the order of the file.

        Raises:
            ImageRejectedError: restart markers are missing or out of order, or there are too many segments or scans.
        """
        following, scans = 2, 0
        for _ in range(MAX_SEGMENTS):
            marker, body, following = self._next(following)
            if marker == _EOI:
                return
            if marker in _FRAMES:
                self._frame = self._read_frame(marker, body + 2)
                self.is_arithmetic = marker in _ARITHMETIC
            elif marker == _DHT:
                self._read_tables(body + 2, following)
            elif marker == _DRI:
                self._interval = self._number(body + 2)
            elif marker == _SOS:
                scans += 1
                scan = self._read_scan(body + 2, following)
                if scans > self._most_scans():
                    break
                yield from self._intervals(scan)
                following = self.end = scan.end
                if scan.is_whole_picture:
                    return
        raise ImageRejectedError(RejectionCode.TOO_COSTLY)

    def _most_scans(self) -> int:
        pixels = self._frame.width * self._frame.height if self._frame else 0
        return min(MAX_SCANS, MAX_SCAN_PIXELS // max(pixels, 1))

    def _next(self, position: int) -> tuple[int, int, int]:
        """The next marker, where its segment begins, and where it ends; EOI where the data breaks off."""
        found = _MARKER.search(self._data, position)
        self.end = found.start() if found else len(self._data)
        marker, body = (self._data[found.end() - 1], found.end()) if found else (_EOI, len(self._data))
        if marker in _WITHOUT_LENGTH or marker == _EOI:
            return marker, body, body
        following = body + max(2, self._number(body))
        if following <= len(self._data):
            return marker, body, following
        self.end = len(self._data)
        return _EOI, body, body

    def _number(self, at: int) -> int:
        return int.from_bytes(self._data[at : at + 2], "big")

    def _read_frame(self, marker: int, at: int) -> _Frame:
        data = self._data
        entries = range(at + 6, at + 6 + 3 * data[at + 5], 3)
        components = {data[e]: _Component(data[e + 1] >> 4, data[e + 1] & 15) for e in entries}
        return _Frame(marker, self._number(at + 3), self._number(at + 1), components)

    def _read_tables(self, at: int, end: int) -> None:
        while at + 17 < end:
            self._first_symbols[self._data[at]] = self._data[at + 17]
            at += 17 + sum(self._data[at + 1 : at + 17])

    def _read_scan(self, at: int, start: int) -> _Segment:
        """The scan whose header is at `at` and data at `start`; records which coefficients it brings."""
        if self._frame is None:
            raise ImageRejectedError(RejectionCode.CORRUPT)
        count = self._data[at]
        entries = range(at + 1, at + 1 + 2 * count, 2)
        scanned = [self._data[entry] for entry in entries]
        is_progressive = self._frame.marker in _PROGRESSIVE
        first, last, bits = self._data[at + 1 + 2 * count : at + 4 + 2 * count] if is_progressive else (0, 63, 0)
        for name in scanned:
            low_bits = self._frame.components[name].low_bits
            low_bits[first : last + 1] = [bits & 15] * (min(last, 63) + 1 - first)
        # Symbol 0 ends a block. Any other symbol for a code of zeros would fill blocks with the highest frequencies.
        ends = [self._first_symbols.get(0x10 | self._data[entry + 1] & 15, 0) == 0 for entry in entries]
        is_whole_picture = not is_progressive and count == len(self._frame.components)
        end = self._end_of_scan(start)
        if not self.is_arithmetic:
            self._check_restarts(start, end, self._frame.units(scanned))
        return _Segment(start, end, is_whole_picture, may_have_zeros=is_progressive or all(ends))

    def _end_of_scan(self, start: int) -> int:
        found = (_NO_RESTART if self._interval else _MARKER).search(self._data, start)
        return found.start() if found else len(self._data)

    def _check_restarts(self, start: int, end: int, units: int) -> None:
        if not self._interval:
            return
        expected = -(-units // self._interval) - 1
        markers = b"".join(_RESTART.findall(self._data, start, end))
        in_order = (_RESTARTS_IN_ORDER * (expected // 8 + 1))[: 2 * expected + 2]
        if markers not in (in_order[:-2], in_order):  # some encoders write one after the last interval, too
            missing = expected - len(markers) // 2
            lost = missing / (expected + 1) if missing > 0 else None
            raise _short(self._data, end, lost)

    def _intervals(self, scan: _Segment) -> Iterator[_Segment]:
        start, end = scan.start, scan.end
        if self._interval and scan.may_have_zeros and self._data.find(LOST_ZEROS, start, end) >= 0:
            for restart in _RESTART.finditer(self._data, start, end):
                yield replace(scan, start=start, end=restart.start(), is_whole_picture=False)
                start = restart.start()
        yield replace(scan, start=start, is_whole_picture=scan.is_whole_picture and not self._interval)


def _short(data: bytes, end: int, lost: float | None = None) -> ImageRejectedError:
    """For scan data up to `end` that lacks something: `truncated` where the file ends there."""
    return incomplete(lost) if end < len(data) else ImageRejectedError(RejectionCode.TRUNCATED)
