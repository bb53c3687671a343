"""Files that people upload by mistake: each must end as a `rejected` record, and none may stop the others."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from demo.lesions.views import dermoscopy


def truncated(seed: int) -> bytes:
    """A JPEG whose upload broke off after 60 % of its bytes."""
    buffer = io.BytesIO()
    dermoscopy(seed).save(buffer, "JPEG", quality=90)
    data = buffer.getvalue()
    return data[: len(data) * 6 // 10]


def blank(seed: int) -> bytes:
    """A PNG of one even grey: the lens cap was on."""
    grey = 24 + seed % 32
    buffer = io.BytesIO()
    Image.new("RGB", (600, 450), (grey, grey, grey + 4)).save(buffer, "PNG")
    return buffer.getvalue()


def random_bytes(seed: int) -> bytes:
    """20 kB of noise under an image's name."""
    return np.random.default_rng([seed, 3]).bytes(20_000)


def text(seed: int) -> bytes:
    """Notes of a visit, saved under an image's name."""
    return f"Visit {seed + 1}: the photograph is on the other computer.\n".encode() * 4


def huge_header(seed: int) -> bytes:
    """A PNG of a few bytes whose header promises 60,000 x 60,000 pixels: 10.8 GB, were it decoded."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = zlib.compress(np.random.default_rng([seed, 4]).bytes(256))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def tiny(seed: int) -> bytes:
    """A PNG of 8 x 8 pixels: an icon, not a photograph."""
    pixels = np.random.default_rng([seed, 5]).integers(90, 220, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


BAD_FILES = {
    "broken-off.jpg": truncated,
    "lens-cap.png": blank,
    "noise.jpg": random_bytes,
    "notes of the visit.jpg": text,
    "over-large-header.png": huge_header,
    "icon.png": tiny,
}
"""File name to maker, a seed in and the file's bytes out."""
