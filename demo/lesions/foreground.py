"""What lies between the skin and the sensor: hair, gel bubbles, a ruler, a pen's mark, the lens."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from demo.lesions.noise import Field, smoothstep
from demo.lesions.skin import Colours, blended

SUPERSAMPLING = 3  # Pillow's lines have hard edges; they are drawn larger and averaged down


def _layer(size: tuple[int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    height, width = size
    layer = Image.new("L", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    return layer, ImageDraw.Draw(layer)


def _coverage(layer: Image.Image, blur: float = 0.0) -> Field:
    reduced = layer.reduce(SUPERSAMPLING)
    if blur:
        reduced = reduced.filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(reduced, dtype=np.float32) / np.float32(255)


def with_hair(rng: np.random.Generator, colours: Colours, count: int, width: float) -> Colours:
    """`count` bent, tapering hairs about `width` pixels thick, mostly combed one way, with a faint shadow each."""
    if not count:
        return colours
    size = colours.shape[0], colours.shape[1]
    layer, draw = _layer(size)
    combed = float(rng.uniform(0, 2 * math.pi))
    dark = bool(rng.random() < 0.75)
    for _ in range(count):
        x, y = (float(v) for v in rng.uniform(-0.1, 1.1, 2) * (size[1], size[0]))
        heading = combed + float(rng.normal(0, 0.45))
        bend = float(rng.normal(0, 0.9))
        length = float(rng.uniform(0.25, 1.0)) * size[0]
        steps = 40
        points = []
        for step in range(steps + 1):
            points.append((x * SUPERSAMPLING, y * SUPERSAMPLING))
            angle = heading + bend * step / steps
            x, y = x + math.cos(angle) * length / steps, y + math.sin(angle) * length / steps
        thickness = width * float(rng.uniform(0.6, 1.25)) * SUPERSAMPLING
        for step in range(steps):
            taper = 1 - 0.75 * (step / steps) ** 2
            draw.line(points[step : step + 2], fill=255, width=max(1, round(thickness * taper)), joint="curve")
    hair = _coverage(layer, 0.5)
    shadow = np.roll(_coverage(layer, 2.5), (2, 2), (0, 1))
    tint = (0.10, 0.065, 0.05) if dark else (0.80, 0.70, 0.58)
    colours = colours * (1 - 0.22 * shadow[..., None])
    return blended(colours, tint, hair * (0.88 if dark else 0.55))


def with_bubbles(rng: np.random.Generator, colours: Colours, count: int) -> Colours:
    """Bubbles of the contact gel: a bright crescent, a dark rim, the flash's reflection."""
    height, width = colours.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    for _ in range(count):
        radius = float(rng.uniform(3, 11))
        cx, cy = float(rng.uniform(0, width)), float(rng.uniform(0, height))
        near = np.hypot(x - cx, y - cy) / radius
        lit = ((cx - x) + (cy - y)) / (radius * 1.6)  # light from the upper left
        rim = np.exp(-(((near - 0.92) / 0.13) ** 2))
        colours = blended(colours, (0.12, 0.09, 0.09), 0.40 * rim * smoothstep(0.3, -0.7, lit))
        colours = blended(colours, (1.0, 0.99, 0.98), 0.60 * rim * smoothstep(-0.1, 0.8, lit))
        glint = np.hypot(x - cx + radius * 0.35, y - cy + radius * 0.35) / (radius * 0.24)
        colours = blended(colours, (1.0, 1.0, 1.0), 0.95 * smoothstep(1.3, 0.5, glint))
    return colours


def with_ruler(rng: np.random.Generator, colours: Colours, millimetre: float) -> Colours:
    """A scale printed on the contact plate, along the lower or the left edge; `millimetre` in pixels."""
    size = colours.shape[0], colours.shape[1]
    layer, draw = _layer(size)
    below = bool(rng.random() < 0.6)
    length = size[1] if below else size[0]
    base = (size[0] if below else 0) + (-1 if below else 1) * size[0] * 0.055
    font = ImageFont.load_default(size=15 * SUPERSAMPLING)
    for tick in range(int(length / millimetre) + 1):
        along = (tick + 0.5) * millimetre
        reach = 19 if tick % 10 == 0 else 13 if tick % 5 == 0 else 8
        tip = base - reach if below else base + reach
        ends = ((along, base), (along, tip)) if below else ((base, along), (tip, along))
        draw.line([(p * SUPERSAMPLING, q * SUPERSAMPLING) for p, q in ends], fill=255, width=round(1.5 * SUPERSAMPLING))
        if tick % 10 == 0 and tick:
            at = (along, base - 26) if below else (base + 28, along)
            draw.text((at[0] * SUPERSAMPLING, at[1] * SUPERSAMPLING), str(tick // 10), fill=255, font=font, anchor="mm")
    return blended(colours, (0.09, 0.09, 0.11), 0.78 * _coverage(layer, 0.4))


def with_pen_mark(rng: np.random.Generator, colours: Colours, radius: float) -> Colours:
    """A surgeon's violet ring around the lesion, `radius` pixels wide, not quite closed."""
    size = colours.shape[0], colours.shape[1]
    layer, draw = _layer(size)
    start = float(rng.uniform(0, 2 * math.pi))
    wobble = rng.normal(0, 0.05, 4)
    points = []
    for step in range(121):
        angle = start + step / 120 * math.pi * 1.93
        reach = radius * (1 + sum(w * math.sin((k + 1) * angle) for k, w in enumerate(wobble)) + step / 1500)
        points.append(
            ((size[1] / 2 + reach * 1.15 * math.cos(angle)) * SUPERSAMPLING,
             (size[0] / 2 + reach * math.sin(angle)) * SUPERSAMPLING)
        )  # fmt: skip
    draw.line(points, fill=255, width=round(4.5 * SUPERSAMPLING), joint="curve")
    uneven = np.clip(0.75 + 0.25 * rng.standard_normal(size, dtype=np.float32), 0, 1)
    return blended(colours, (0.27, 0.22, 0.52), 0.62 * uneven * _coverage(layer, 1.1))


def with_vignette(rng: np.random.Generator, colours: Colours, *, tube: bool) -> Colours:
    """The lens darkens towards its corners; with `tube` the dermoscope's round, black edge is in view."""
    height, width = colours.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    dx, dy = (float(v) for v in rng.normal(0, 0.02, 2) * width)
    away = np.hypot(x - width / 2 - dx, y - height / 2 - dy) / (width / 2)
    colours = colours * (1 - float(rng.uniform(0.05, 0.22)) * away[..., None] ** 2)
    if tube:
        edge = float(rng.uniform(0.90, 1.05))
        colours = blended(colours, (0.015, 0.012, 0.015), smoothstep(edge - 0.07, edge + 0.035, away))
    return colours
