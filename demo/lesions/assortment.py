"""The files of the demo: good pictures of many kinds, and files that people upload by mistake."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import ExifTags, Image

from demo.lesions.looks import LOOKS
from demo.lesions.views import dermoscopy, phone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Item = TypeVar("Item")

EVERY_BAD = 4  # every fourth file is a bad one
EVERY_PHONE = 4  # every fourth good one is a phone's


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
    """20 kB of noise with an image's name."""
    return np.random.default_rng([seed, 3]).bytes(20_000)


def text(seed: int) -> bytes:
    """Notes of a visit, saved with an image's name."""
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
"""By file name, a function from a seed to the file's bytes. Each file must end as `rejected`, and stop no other."""


def demo_images(seed: int = 0, count: int = 24) -> Iterator[tuple[str, bytes]]:
    """Yields (name, file content) of `count` files, the same for the same `seed`.

    Of 24, 14 are dermoscopy and 4 phone renderings, covering all looks, all six Fitzpatrick skin types, several formats
    and some awkward names; 6 are bad, each in its own way. All names differ.
    """
    rng = np.random.default_rng(seed)
    looks = _endless(rng, sorted(LOOKS))
    tones = _endless(rng, range(1, 7))
    bad = _endless(None, BAD_FILES)
    good = dermoscopic = snapshots = 0
    for index in range(count):
        own = seed * 1_000_003 + index
        if index % EVERY_BAD == EVERY_BAD - 1:
            name = next(bad)
            round_ = index // (EVERY_BAD * len(BAD_FILES))
            yield (_numbered(name, round_) if round_ else name), BAD_FILES[name](own)
        elif good % EVERY_PHONE == EVERY_PHONE - 1:
            good, snapshots = good + 1, snapshots + 1
            yield _snapshot(snapshots, phone(own, fitzpatrick=next(tones)))
        else:
            good, dermoscopic = good + 1, dermoscopic + 1
            yield _dermoscopic(dermoscopic, dermoscopy(own, next(looks), next(tones)))


def _dermoscopic(number: int, image: Image.Image) -> tuple[str, bytes]:
    match number % 14:
        case 4:
            return f"dermoscopy-{number:02}.png", _encoded(image, "PNG")
        case 7:
            return f"dermoscopy-{number:02}.webp", _encoded(image, "WEBP", quality=88)
        case 10:
            return f"dermoscopy-{number:02}.tif", _encoded(image, "TIFF", compression="tiff_lzw")
        case 12:
            return f"dermoscopy {number:02}, left+right.jpg", _encoded(image, "JPEG", quality=90)
        case _:
            return f"dermoscopy-{number:02}.jpg", _encoded(image, "JPEG", quality=90)


def _snapshot(number: int, image: Image.Image) -> tuple[str, bytes]:
    if number % 4 == 2:
        # As phones store it: the pixels lie on their side, and a tag says how to turn them.
        tags = Image.Exif()
        tags[ExifTags.Base.Orientation] = 6
        turned = image.transpose(Image.Transpose.ROTATE_90)
        return f"phone-{number:02} upright.jpg", _encoded(turned, "JPEG", quality=85, exif=tags)
    if number % 4 == 3:
        return f"phone-{number:02} Rücken.jpg", _encoded(image, "JPEG", quality=85)
    return f"phone-{number:02}.jpg", _encoded(image, "JPEG", quality=85)


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _numbered(name: str, number: int) -> str:
    path = PurePosixPath(name)
    return f"{path.stem} {number + 1}{path.suffix}"


def _endless(rng: np.random.Generator | None, items: Iterable[Item]) -> Iterator[Item]:
    """All of `items` again and again, shuffled each time if there is an `rng`, so all come equally often."""
    hand = list(items)
    while True:
        order = range(len(hand)) if rng is None else rng.permutation(len(hand))
        yield from (hand[int(i)] for i in order)
