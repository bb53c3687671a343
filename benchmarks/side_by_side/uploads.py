"""Typical uploads, drawn by a program: a third 12-megapixel phone JPEGs, the rest 600 x 450 as from a dermoscope.

No photograph is used. What matters for speed is like in a phone's: pixels, bytes (over 2 MB at 12 megapixels),
chroma subsampling, and a tag that says how to turn it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image

from demo.lesions import dermoscopy, phone

if TYPE_CHECKING:
    from pathlib import Path

BATCH = 32
EVERY_PHONE = 3
PHONE_PIXELS = (4032, 3024)
PHONE_GRAIN = 5.0
"""Sensor noise in levels of 255; at quality 85 it makes files of 2.3 MB."""
DISTINCT = {"phone": 4, "dermoscopy": 8}
"""Drawn once each, and uploaded under several keys."""


def draw(folder: Path) -> list[Path]:
    """The files of a batch in `folder`, in upload order; those that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(BATCH):
        kind = "phone" if number % EVERY_PHONE == 0 else "dermoscopy"
        file = folder / f"{number:02}-{kind}.jpg"
        if not file.exists():
            seed = (number // EVERY_PHONE if kind == "phone" else number) % DISTINCT[kind]
            file.write_bytes(phone_jpeg(seed) if kind == "phone" else dermoscopy_jpeg(seed))
        files.append(file)
    return files


def phone_jpeg(seed: int, *, progressive: bool = False) -> bytes:
    """A 12-megapixel snapshot that lies on its side, as phones store it."""
    rng = np.random.default_rng(seed)
    large = phone(seed).resize(PHONE_PIXELS, Image.Resampling.BICUBIC)
    grain = rng.standard_normal((PHONE_PIXELS[1], PHONE_PIXELS[0], 1), dtype=np.float32) * PHONE_GRAIN
    noisy = Image.fromarray(np.clip(np.asarray(large, np.float32) + grain, 0, 255).astype(np.uint8))
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    return _jpeg(noisy, quality=85, exif=tags, progressive=progressive)


def dermoscopy_jpeg(seed: int) -> bytes:
    """600 x 450 pixels, as HAM10000's."""
    return _jpeg(dermoscopy(seed), quality=90)


def _jpeg(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()
