"""TIFFs put together tag by tag, so that a test can write what no common writer does."""

from __future__ import annotations

import itertools
import struct
import zlib
from dataclasses import dataclass, field

import numpy as np

_FORMS = {1: "B", 3: "H", 4: "L", 16: "Q"}


@dataclass
class Page:
    """One directory: its tags, the strips or tiles that they lead to, and the pages that it names (SubIFDs)."""

    tags: dict[int, tuple[int, tuple[int, ...]]]
    parts: list[bytes]
    tiled: bool = False
    below: list[Page] = field(default_factory=list)

    def also(self, **tags: int | bytes | tuple[int, ...]) -> Page:
        """Further tags, `t254=1`: a number, several, or bytes."""
        for name, value in tags.items():
            values = tuple(value) if isinstance(value, bytes | tuple) else (value,)
            kind = 1 if isinstance(value, bytes) else 3 if max(values) < 2**16 else 4
            self.tags[int(name[1:])] = (kind, values)
        return self


def page(
    samples: np.ndarray,
    photometric: int,
    *,
    bits: int | None = None,
    planar: bool = False,
    compression: int = 1,
    predictor: int = 1,
    extra: tuple[int, ...] = (),
    tile: tuple[int, int] | None = None,
    rows: int | None = None,
    order: str = "<",
) -> Page:
    """`samples`: (height, width) or (height, width, samples), of the type that is stored; of under 8 bits as uint8."""
    cube = samples.reshape(*samples.shape[:2], -1)
    height, width, count = cube.shape
    bits = bits or 8 * cube.dtype.itemsize
    kind = {"u": 1, "i": 2, "f": 3, "c": 6}[cube.dtype.kind]
    planes = [cube[..., n : n + 1] for n in range(count)] if planar else [cube]
    down, across = tile or (rows or height, width)
    parts = [
        _packed(_cut(plane, top, left, down, across, padded=bool(tile)), bits, compression, predictor, order)
        for plane in planes
        for top in range(0, height, down)
        for left in range(0, width, across)
    ]
    made = Page({}, parts, tiled=bool(tile))
    made.also(t256=width, t257=height, t258=(bits,) * count, t259=compression, t262=photometric, t277=count)
    made.also(t284=2 if planar else 1)
    made.also(**({"t322": across, "t323": down} if tile else {"t278": down}))
    if kind != 1:
        made.also(t339=(kind,) * count)
    if extra:
        made.also(t338=extra)
    if predictor != 1:
        made.also(t317=predictor)
    return made


def _cut(plane: np.ndarray, top: int, left: int, down: int, across: int, *, padded: bool) -> np.ndarray:
    part = plane[top : top + down, left : left + across]
    missing = ((0, down - part.shape[0]), (0, across - part.shape[1]), (0, 0))
    return np.pad(part, missing, mode="edge") if padded else part


def _packed(part: np.ndarray, bits: int, compression: int, predictor: int, order: str) -> bytes:
    if predictor == 2:
        part = np.diff(part, axis=1, prepend=part[:, :1] * 0).astype(part.dtype)
    if bits % 8:
        wide = part.reshape(part.shape[0], -1).astype(np.uint32)
        ones = (wide[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        data = np.packbits(ones.reshape(part.shape[0], -1).astype(np.uint8), axis=1).tobytes()
    else:
        data = part.astype(part.dtype.newbyteorder(order)).tobytes()
    match compression:
        case 8 | 32946:
            return zlib.compress(data)
        case 32773:
            runs = (data[at : at + 128] for at in range(0, len(data), 128))
            return b"".join(bytes([len(run) - 1]) + run for run in runs)
    return data


def tiff_file(*pages: Page, order: str = "<", big: bool = False, chained: bool = True) -> bytes:
    """A file whose chain holds `pages`, the first one first; each comes before what it leads to."""
    word, step = ("Q", 8) if big else ("L", 4)
    mark = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "H", 43 if big else 42)
    mark += struct.pack(order + "HH", 8, 0) if big else b""
    body = bytearray(mark + bytes(step))

    def put(data: bytes) -> int:
        body.extend(b"\0" * (-len(body) % 8))
        at = len(body)
        body.extend(data)
        return at

    def directory(one: Page) -> tuple[int, int]:
        """Where it begins, and where the place of the following one is told."""
        below = [directory(sub)[0] for sub in one.below]
        tags = dict(one.tags)
        if below:
            tags[330] = (4, tuple(below))
        offsets = tuple(put(part) for part in one.parts)
        tags[324 if one.tiled else 273] = (16 if big else 4, offsets)
        tags[325 if one.tiled else 279] = (16 if big else 4, tuple(map(len, one.parts)))
        rows = b""
        for tag, (kind, values) in sorted(tags.items()):
            data = struct.pack(f"{order}{len(values)}{_FORMS[kind]}", *values)
            inline = data.ljust(step, b"\0") if len(data) <= step else struct.pack(order + word, put(data))
            rows += struct.pack(f"{order}HH{word}", tag, kind, len(values)) + inline
        start = put(struct.pack(order + ("Q" if big else "H"), len(tags)) + rows + bytes(step))
        return start, len(body) - step

    places = [directory(one) for one in pages]
    struct.pack_into(order + word, body, len(mark), places[0][0])
    if chained:
        for (_, told_at), (start, _) in itertools.pairwise(places):
            struct.pack_into(order + word, body, told_at, start)
    return bytes(body)
