"""A 12-megapixel JPEG to the network's input: ours, and Pillow's decoding in full."""

from __future__ import annotations

import io
import time
from statistics import median

import numpy as np
from PIL import Image, ImageOps

from benchmarks.side_by_side.rows import Row, at_most, less_is_better
from model_layer import decode

SIZE = 224


def decoding(photographs: list[bytes], pairs: int) -> list[Row]:
    """Time and mean difference of a pixel, over `photographs`."""
    ours, full, differences = [], [], []
    for number in range(pairs + 1):
        data = photographs[number % len(photographs)]
        began = time.process_time()
        own = decode(data, SIZE).pixels
        middle = time.process_time()
        whole = in_full(data)
        ended = time.process_time()
        if number:
            ours.append((middle - began) * 1000)
            full.append((ended - middle) * 1000)
            differences.append(float(np.abs(own.astype(np.int16) - whole).mean()))
    return [
        less_is_better("decoding a 12-megapixel JPEG", ours, full, "ms", times=4),
        at_most("its mean difference from the full decode, of 255", median(differences), "levels", 1),
    ]


def milliseconds_of_a_batch(files: list[bytes]) -> float:
    """Processor time of decoding, an image, over a typical batch."""
    began = time.process_time()
    for data in files:
        decode(data, SIZE)
    return (time.process_time() - began) * 1000 / len(files)


def in_full(data: bytes) -> np.ndarray:
    """Every pixel decoded and turned upright, the centre square resized with antialiasing."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box), np.int16)
