"""Colour profiles for tests, written byte by byte, so that littleCMS can say what the pixels should be."""

from __future__ import annotations

import struct

import numpy as np

D65 = (0.3127, 0.3290)
SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *D65)
ADOBE = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *D65)
P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *D65)
BT2020 = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *D65)
WIDE_GAMUT = (0.7347, 0.2653, 0.1152, 0.8264, 0.1566, 0.0177, 0.3457, 0.3585)
"""x and y of red, green, blue and white. The last has a white of its own (D50)."""

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def rgb_profile(primaries: tuple[float, ...], gamma: float | None = None) -> bytes:
    """A matrix profile (ICC.1:2001-04) with a pure power as its curve, or sRGB's where there is no `gamma`."""
    curve = _gamma(gamma) if gamma else _table(SRGB_CURVE)
    columns = _colorants(primaries)
    tags = {name: b"XYZ \0\0\0\0" + _fixed(*column) for name, column in zip(RGB_TAGS, columns.T, strict=True)}
    return _profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def grey_profile(gamma: float) -> bytes:
    return _profile(b"GRAY", {b"kTRC": _gamma(gamma)})


RGB_TAGS = (b"rXYZ", b"gXYZ", b"bXYZ")
SRGB_CURVE = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in np.linspace(0, 1, 1024)]


def _gamma(exponent: float) -> bytes:
    return b"curv" + struct.pack(">LLH", 0, 1, round(exponent * 256)) + b"\0\0"


def _table(levels: list[float]) -> bytes:
    return b"curv" + struct.pack(f">LL{len(levels)}H", 0, len(levels), *(round(level * 65535) for level in levels))


def _fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}l", *(round(number * 65536) for number in numbers))


def _colorants(primaries: tuple[float, ...]) -> np.ndarray:
    """(3, 3): XYZ of red, green and blue as columns, adapted to D50."""
    xyz = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in zip(primaries[::2], primaries[1::2], strict=True)]).T
    columns, white = xyz[:, :3], xyz[:, 3]
    gains = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    return np.linalg.inv(_BRADFORD) @ gains @ _BRADFORD @ (columns * np.linalg.solve(columns, white))


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_D50)} | tags
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">LL", start + len(body), len(content))
        body += content
    head = struct.pack(">L4xL", start + len(body), 0x02100000) + b"mntr" + space + b"XYZ " + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + _fixed(*_D50)
    return head.ljust(128, b"\0") + struct.pack(">L", len(tags)) + table + body
