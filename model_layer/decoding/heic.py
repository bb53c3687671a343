"""Reads a HEIC's table of contents, and counts how much libheif would have to decode before it begins.

libheif bounds each image by the size in the table (`ispe`), but not how often images refer to one another: a few
hundred bytes can ask for the same tile a thousand times. Boxes are those of ISO/IEC 14496-12 and 23008-12. Cost: at
most `MAX_BOXES` boxes; the loops over their entries are linear in the box.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from typing import TYPE_CHECKING

from model_layer.answers import ImageRejectedError, RejectionCode, incomplete
from model_layer.decoding.completeness import is_sound_hevc
from model_layer.decoding.limits import MAX_BOXES
from model_layer.decoding.undecoded import refuse_heif_items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model_layer.decoding.limits import DecodingLimits

# An image with its alpha plane, depth map, gain map and previews is well under this many times the limit.
_DECODED_AT_MOST = 4


def check(data: bytes, limits: DecodingLimits) -> None:
    """Refuses a file that no camera could have written, or that lacks a part.

    Raises:
        ImageRejectedError: `truncated` before the table ends, `too_costly`, `too_many_pixels` or `unsupported_format`.
        struct.error: the table is damaged.
    """
    boxes = _Boxes(data)
    table = next((span for kind, *span in boxes.within(0, len(data)) if kind == b"meta"), None)
    if table is None or boxes.clipped:
        raise ImageRejectedError(RejectionCode.TRUNCATED)
    start, end = table
    parts = {kind: (at, to) for kind, at, to in boxes.within(start + 4, end)}
    kinds = dict(_item_kinds(boxes, *parts.get(b"iinf", (0, 0))))
    refuse_heif_items({*kinds.values()})
    extents = list(_extents(data, *parts.get(b"iloc", (0, 0))))
    if sum(length for _, _, length in extents) > 2 * len(data):
        raise ImageRejectedError(RejectionCode.TOO_COSTLY)
    areas = _areas(boxes, *parts.get(b"iprp", (0, 0)))
    derived = list(_derived_from(boxes, *parts.get(b"iref", (0, 0))))
    if sum(areas.get(item, 0) for _, item in derived) > _DECODED_AT_MOST * limits.max_pixels:
        raise ImageRejectedError(RejectionCode.TOO_MANY_PIXELS)
    shown = _shown(_primary(boxes, *parts.get(b"pitm", (0, 0))), derived)
    for item, at, length in extents:
        if at is not None and item in shown and kinds.get(item) == b"hvc1" and not is_sound_hevc(data, at, at + length):
            raise incomplete()


class _Boxes:
    """The boxes of a file, at most `MAX_BOXES` in all."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.clipped = False
        """Whether the table of contents ends beyond the file's end."""
        self._left = MAX_BOXES

    def within(self, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """The boxes from `start` to `end`: type, and where the content begins and ends."""
        while start + 8 <= end:
            self._left -= 1
            if self._left < 0:
                raise ImageRejectedError(RejectionCode.TOO_COSTLY)
            size, kind = struct.unpack_from(">L4s", self.data, start)
            header = 8
            if size == 1:
                (size,) = struct.unpack_from(">Q", self.data, start + 8)
                header = 16
            following = start + size if size else end
            if following > end:
                self.clipped = self.clipped or kind == b"meta"
                following = end
            if following < start + header:
                raise ImageRejectedError(RejectionCode.CORRUPT)
            yield kind, start + header, following
            start = following

    def numbers(self, form: str, at: int) -> tuple[int, ...]:
        """Big-endian numbers at a position, by a form of `struct`."""
        return struct.unpack_from(">" + form, self.data, at)


def _primary(boxes: _Boxes, start: int, end: int) -> int:
    """pitm: the item that is the image."""
    return boxes.numbers("L" if boxes.data[start] else "H", start + 4)[0] if end else 0


def _shown(primary: int, derived: list[tuple[int, int]]) -> set[int]:
    """The image and the items that it is made of, without previews and depth maps."""
    parts = defaultdict(list)
    for whole, part in derived:
        parts[whole].append(part)
    shown, waiting = set[int](), [primary]
    while waiting:
        item = waiting.pop()
        if item not in shown:
            shown.add(item)
            waiting += parts[item]
    return shown


def _item_kinds(boxes: _Boxes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """iinf: each item and its four-letter type. Its entries (infe) hold both after their version."""
    if end:
        head = 6 if boxes.data[start] == 0 else 8
        for kind, at, _ in boxes.within(start + head, end):
            if kind == b"infe":
                version = boxes.data[at]
                id_size = 2 if version < 3 else 4
                letters = at + 4 + id_size + 2
                yield int.from_bytes(boxes.data[at + 4 : at + 4 + id_size], "big"), boxes.data[letters : letters + 4]


def _extents(data: bytes, start: int, end: int) -> Iterator[tuple[int, int | None, int]]:
    """iloc: pieces of items, as item, where the piece begins in the file (None: inside the table) and its length."""
    if not end:
        return
    version = data[start]
    offset_size, length_size = data[start + 4] >> 4, data[start + 4] & 15
    base_size, index_size = data[start + 5] >> 4, data[start + 5] & 15 if version else 0
    width = index_size + offset_size + length_size
    id_size = 4 if version == 2 else 2
    at = start + 6 + id_size
    for _ in range(int.from_bytes(data[start + 6 : at], "big")):
        item = int.from_bytes(data[at : at + id_size], "big")
        at += id_size
        # A piece is either in the file, or in a box of the table itself.
        in_file = not version or not data[at + 1] & 15
        at += 4 if version else 2
        base = int.from_bytes(data[at : at + base_size], "big")
        at += base_size
        extents = int.from_bytes(data[at : at + 2], "big")
        at += 2
        # Extents without any field take no bytes in the file, so a tiny file could claim 65,535 of them for each item.
        if at + extents * width > end or (extents > 1 and not width):
            raise ImageRejectedError(RejectionCode.CORRUPT)
        for _ in range(extents):
            at += width
            length = int.from_bytes(data[at - length_size : at], "big")
            offset = base + int.from_bytes(data[at - length_size - offset_size : at - length_size], "big")
            if in_file and offset + length > len(data):
                raise ImageRejectedError(RejectionCode.TRUNCATED)
            yield item, offset if in_file else None, length


def _areas(boxes: _Boxes, start: int, end: int) -> dict[int, int]:
    """iprp: the pixels of each item, which an association (ipma) links to a size (ispe)."""
    sizes: list[int] = []
    areas: dict[int, int] = defaultdict(int)
    for kind, at, to in boxes.within(start, end):
        if kind == b"ipco":
            for name, content, _ in boxes.within(at, to):
                width, height = boxes.numbers("LL", content + 4) if name == b"ispe" else (0, 0)
                sizes.append(width * height)
        elif kind == b"ipma":
            for item, index in _associations(boxes, at, to):
                if 0 < index <= len(sizes):
                    areas[item] = max(areas[item], sizes[index - 1])
    return areas


def _associations(boxes: _Boxes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """ipma: pairs of an item and the number of one of its properties, from 1."""
    version, wide = boxes.data[start], boxes.data[start + 3] & 1
    (entries,) = boxes.numbers("L", start + 4)
    at = start + 8
    for _ in range(entries):
        if at >= end:
            return
        item, count = boxes.numbers("LB" if version else "HB", at)
        at += 5 if version else 3
        for _ in range(count):
            yield item, boxes.numbers("H", at)[0] & 0x7FFF if wide else boxes.data[at] & 0x7F
            at += 2 if wide else 1


def _derived_from(boxes: _Boxes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """iref: pairs of an item and a part that it is made of (dimg), as often as they are named."""
    if end:
        form, width = ("L", 4) if boxes.data[start] else ("H", 2)
        for kind, at, to in boxes.within(start + 4, end):
            if kind == b"dimg":
                (count,) = boxes.numbers("H", at + width)
                (whole,) = boxes.numbers(form, at)
                for part in boxes.numbers(f"{min(count, (to - at) // width)}{form}", at + width + 2):
                    yield whole, part
