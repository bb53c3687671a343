"""Draws pictures without a lesion: documents, screens, noise, clouds, gradients, shapes, bare skin.

The model should refer them, like photographs of anything except skin. Nothing is learned from them; they only
show whether the model notices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIDE = 448
"""Pixels; larger than the network's input, as uploads are."""
WORDS = ("patient", "name", "date", "birth", "letter", "dear", "colleague", "thank", "you", "invoice", "total", "page")

# Skin from light to dark, sRGB, spread over the range of the individual typology angle.
SKIN = ((244, 214, 196), (232, 190, 164), (208, 158, 128), (176, 122, 92), (130, 86, 62), (86, 56, 42))


def made_up(count: int, seed: int = 0) -> Iterator[tuple[str, Image.Image]]:
    """Yields `count` pictures of every kind with the kind's name; the same seed gives the same pictures."""
    for name, draw in KINDS.items():
        rng = np.random.default_rng((seed, *name.encode()))
        for _ in range(count):
            yield name, draw(rng)


def document(rng: np.random.Generator) -> Image.Image:
    """A page of print, photographed a little askew."""
    page = Image.new("RGB", (SIDE, SIDE), _near((245, 242, 235), 8, rng))
    draw, size = ImageDraw.Draw(page), int(rng.integers(11, 26))
    font = ImageFont.load_default(size)
    for y in range(int(rng.integers(8, 60)), SIDE - size, int(size * rng.uniform(1.3, 2.0))):
        if rng.random() < 0.85:
            line = " ".join(rng.choice(WORDS, int(rng.integers(2, 9))))
            draw.text((int(rng.integers(10, 50)), y), line, fill=_near((40, 40, 45), 25, rng), font=font)
    return page.rotate(rng.uniform(-8, 8), Image.Resampling.BICUBIC, fillcolor=_near((120, 100, 80), 40, rng))


def screen(rng: np.random.Generator) -> Image.Image:
    """Windows, buttons and bars of flat colour."""
    picture = Image.new("RGB", (SIDE, SIDE), _any_colour(rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(4, 25))):
        x, y = rng.uniform(0, SIDE, 2)
        width, height = rng.uniform(20, SIDE / 2, 2)
        draw.rounded_rectangle([x, y, x + width, y + height], 6, fill=_any_colour(rng), outline=_any_colour(rng))
        draw.text((x + 4, y + 4), str(rng.choice(WORDS)), fill=_any_colour(rng), font=ImageFont.load_default(14))
    return picture


def white_noise(rng: np.random.Generator) -> Image.Image:
    """Independent random pixels, in colour or grey, at any contrast."""
    channels = 3 if rng.random() < 0.5 else 1
    levels = 128 + rng.uniform(20, 127) * rng.uniform(-1, 1, (SIDE, SIDE, channels))
    return Image.fromarray(np.broadcast_to(levels, (SIDE, SIDE, 3)).astype(np.uint8))


def clouds(rng: np.random.Generator) -> Image.Image:
    """Noise of all scales between two colours, half of the time those of skin."""
    field = np.zeros((SIDE, SIDE))
    for octave in range(1, 7):
        grain = Image.fromarray(rng.random((2**octave, 2**octave)).astype(np.float32))
        field += np.asarray(grain.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 2 ** (octave * rng.uniform(0.4, 1))
    field = (field - field.min()) / np.ptp(field)
    return _between(field, *_two_colours(rng))


def gradient(rng: np.random.Generator) -> Image.Image:
    """A gradient between two colours, half of the time those of skin."""
    x, y = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    angle = rng.uniform(0, 2 * np.pi)
    field = (np.cos(angle) * x + np.sin(angle) * y) / 2.9 + 0.5
    return _between(field, *_two_colours(rng))


def shapes(rng: np.random.Generator) -> Image.Image:
    """Lines and polygons of any colour on any background."""
    picture = Image.new("RGB", (SIDE, SIDE), _any_colour(rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(3, 20))):
        corners = [tuple(point) for point in rng.uniform(0, SIDE, (int(rng.integers(2, 6)), 2))]
        if len(corners) == 2:
            draw.line(corners, fill=_any_colour(rng), width=int(rng.integers(1, 20)))
        else:
            draw.polygon(corners, fill=_any_colour(rng))
    return picture


def bare_skin(rng: np.random.Generator) -> Image.Image:
    """Skin without a lesion: an even tone, light falling off to one side, fine grain."""
    tone = np.array(_near(SKIN[int(rng.integers(len(SKIN)))], 6, rng), dtype=float)
    x, y = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.12) * (np.cos(angle) * x + np.sin(angle) * y)
    grain = Image.fromarray(rng.normal(0, 1, (SIDE // 3, SIDE // 3)).astype(np.float32)).resize((SIDE, SIDE))
    skin = tone * light[..., None] + rng.uniform(0.5, 4) * np.asarray(grain)[..., None]
    return Image.fromarray(np.clip(skin, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5)))


KINDS: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "document": document,
    "screen": screen,
    "white noise": white_noise,
    "clouds": clouds,
    "gradient": gradient,
    "shapes": shapes,
    "bare skin": bare_skin,
}


def _between(field: np.ndarray, low: tuple[int, ...], high: tuple[int, ...]) -> Image.Image:
    """Maps a `field` of 0..1 to colours from `low` to `high`."""
    colours = np.array(low) + field[..., None] * (np.array(high) - np.array(low))
    return Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))


def _any_colour(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(level) for level in rng.integers(0, 256, 3))


def _two_colours(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if rng.random() < 0.5:
        return _any_colour(rng), _any_colour(rng)
    light, dark = sorted(rng.choice(len(SKIN), 2, replace=False))
    return _near(SKIN[light], 8, rng), _near(SKIN[dark], 8, rng)


def _near(colour: tuple[int, ...], spread: float, rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(level) for level in np.clip(np.array(colour) + rng.normal(0, spread, 3), 0, 255))
