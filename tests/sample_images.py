"""Small images for tests, made from a seed."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def picture(seed: int = 0, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A smooth random blot on a skin-like ground, (width, height) pixels: no two seeds look alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    blot = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    ground = Image.new("RGB", size, tuple(int(v) for v in rng.integers(120, 230, 3)))
    return Image.blend(ground, blot, 0.6)


def encoded(image: Image.Image, format: str, **options) -> bytes:  # noqa: A002 (Pillow's own name)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def jpeg(seed: int = 0, size: tuple[int, int] = (160, 120), **options) -> bytes:
    return encoded(picture(seed, size), "JPEG", **options)


def png(seed: int = 0, size: tuple[int, int] = (160, 120), **options) -> bytes:
    return encoded(picture(seed, size), "PNG", **options)
