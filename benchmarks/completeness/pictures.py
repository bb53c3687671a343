"""Drawn pictures that a check for damage could get wrong: flat borders, masks and grounds, beside plain ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from demo.lesions import LOOKS, dermoscopy, phone

Setting = Callable[[Image.Image, np.random.Generator], Image.Image]


def drawn(seed: int) -> Image.Image:
    """One picture, RGB; the same for the same seed."""
    rng = np.random.default_rng([seed, 12])
    looks = sorted(LOOKS)
    plain = phone(seed) if seed % 4 == 3 else dermoscopy(seed, looks[seed % len(looks)], 1 + seed % 6)
    scale = float(rng.choice([0.3, 0.4, 0.5, 0.7, 1.0]))
    plain = plain.resize((round(plain.width * scale), round(plain.height * scale)), Image.Resampling.BICUBIC)
    return SETTINGS[seed % len(SETTINGS)](plain, rng)


def _bordered(colour: int) -> Setting:
    def bordered(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        top, bottom, left, right = (int(v) for v in rng.integers(0, 200, 4))
        canvas = Image.new("RGB", (picture.width + left + right, picture.height + top + bottom), (colour,) * 3)
        canvas.paste(picture, (left, top))
        return canvas

    return bordered


def _bottom(colour: int) -> Setting:
    """The lower half has one colour, as a scanner's lid or a slide's ground; libjpeg fills lost data with 128."""

    def half(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        height = picture.height + int(rng.integers(picture.height // 2, 2 * picture.height))
        canvas = Image.new("RGB", (picture.width, height), (colour,) * 3)
        canvas.paste(picture, (0, 0))
        return canvas

    return half


def _masked(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Through a dermatoscope's round opening, black around it."""
    radius = min(picture.size) * float(rng.uniform(0.3, 0.5))
    x, y = picture.width / 2, picture.height / 2
    mask = Image.new("L", picture.size, 0)
    ImageDraw.Draw(mask).ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return Image.composite(picture, Image.new("RGB", picture.size), mask)


def _small_on_flat(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    canvas = Image.new("RGB", (1000, 700), tuple(int(v) for v in rng.integers(0, 256, 3)))
    small = picture.resize((200, 150))
    canvas.paste(small, (int(rng.integers(0, 800)), int(rng.integers(0, 550))))
    return canvas


def _slope(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Grades of colour as a program draws them."""
    channels = [Image.linear_gradient("L").rotate(90 * int(turn)) for turn in rng.integers(0, 4, 3)]
    return Image.merge("RGB", channels).resize(picture.size)


def _noisy(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    levels = np.asarray(picture, np.int16) + rng.integers(-40, 41, (picture.height, picture.width, 3), dtype=np.int16)
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def _noisy_on_flat(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Mostly noise, so that the rare codes for flat parts are long."""
    canvas = Image.new("RGB", (picture.width, picture.height + 24), (255,) * 3)
    canvas.paste(_noisy(picture, rng), (0, 0))
    return canvas


def _graphics(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """With bars, lines and a ruler drawn into it."""
    picture = picture.copy()
    pen = ImageDraw.Draw(picture)
    for _ in range(8):
        left, top, right, bottom = (int(v) for v in rng.integers(0, min(picture.size), 4))
        box = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
        pen.rectangle(box, fill=int(rng.choice([0, 0x808080, 0xFFFFFF])))
    top = int(rng.integers(0, picture.height - 9))
    pen.rectangle((0, top, picture.width, top + 8), fill=0)
    return picture


def _plain(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    return picture


SETTINGS: list[Setting] = [
    _plain,
    _bordered(0),
    _plain,
    _bordered(255),
    _bottom(128),
    _masked,
    _plain,
    _bottom(0),
    _small_on_flat,
    _bottom(255),
    lambda picture, _: picture.filter(ImageFilter.GaussianBlur(12)),
    lambda picture, _: picture.resize((40, 30)).resize((800, 600), Image.Resampling.NEAREST),  # squares of one colour
    _slope,
    _noisy,
    _noisy_on_flat,
    _graphics,
]
