"""The pictures that `make demo` uploads when nobody brings their own."""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import ExifTags, Image

from demo.lesions.bad_files import BAD_FILES
from demo.lesions.looks import LOOKS
from demo.lesions.views import dermoscopy, phone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Item = TypeVar("Item")

EVERY_BAD = 4  # each fourth file is a bad one ...
EVERY_PHONE = 4  # ... and each fourth of the good ones is a phone's


def demo_images(seed: int = 0, count: int = 24) -> Iterator[tuple[str, bytes]]:
    """Yields (name, file content) of `count` files, the same for the same `seed`.

    Of 24, 14 are dermoscopy and 4 phone renderings, over all looks and all six Fitzpatrick skin types, in several
    formats and with some awkward names; 6 are bad on purpose, each in its own way. No two names are equal.
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
        # As phones do it: the pixels lie on their side, and a tag says how to turn them.
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
    """All of `items` again and again, shuffled anew each time if there is an `rng`: all come equally often."""
    hand = list(items)
    while True:
        order = range(len(hand)) if rng is None else rng.permutation(len(hand))
        yield from (hand[int(i)] for i in order)
