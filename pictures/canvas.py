"""A drawing surface with smooth edges, and text cut to the room it has: Pillow has neither. And the colours."""

from __future__ import annotations

import bisect
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, ImageDraw, ImageFont, ImageText

if TYPE_CHECKING:
    from collections.abc import Callable

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

SMOOTHING = 4  # shapes are drawn this many times larger and averaged down
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""

GROUND = (244, 242, 238)
CARD = (255, 255, 255)
EDGE = (224, 220, 213)
INK = (28, 27, 31)
MUTED = (113, 108, 103)
FAINT = (235, 232, 226)
WHITE = (255, 255, 255)
URGENT = (184, 28, 60)


class StatusColours(NamedTuple):
    """A strong colour for text and bars, a pale one for the ground behind them."""

    strong: Colour
    pale: Colour


STATUS = {
    "classified": StatusColours((15, 112, 104), (217, 240, 236)),
    "referred": StatusColours((168, 84, 8), (253, 237, 210)),
    "rejected": StatusColours((82, 90, 106), (228, 231, 237)),
    "superseded": StatusColours((88, 80, 140), (232, 229, 246)),
    "failed": StatusColours((168, 28, 36), (252, 226, 226)),
}
"""In the order of the sheet."""


class Style(NamedTuple):
    """How a text looks."""

    size: int
    """Pixels."""
    colour: Colour
    weight: float = 0
    """Pixels added to the strokes of Pillow's one built-in face: 0 is regular, 0.5 semi-bold."""


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


class Canvas:
    """An RGB image to draw on; y grows downwards."""

    def __init__(self, size: tuple[int, int], ground: Colour) -> None:
        """A canvas of (width, height) pixels in one colour."""
        self.image = Image.new("RGB", size, ground)
        self._draw = ImageDraw.Draw(self.image)

    def rounded(
        self, box: Box, radius: float, fill: Colour, corners: tuple[bool, bool, bool, bool] | None = None
    ) -> None:
        """A filled box with round corners; `corners` picks top left, top right, bottom right, bottom left."""
        left, top, right, bottom = (round(v) for v in box)
        if right <= left or bottom <= top:
            return
        mask = rounded_mask((right - left, bottom - top), radius, corners)
        self.image.paste(fill, (left, top), mask)

    def picture(
        self, image: Image.Image, at: tuple[int, int], radius: float, corners: tuple[bool, bool, bool, bool]
    ) -> None:
        """Pastes `image` with the chosen corners rounded."""
        self.image.paste(image, at, rounded_mask(image.size, radius, corners))

    def text(self, at: tuple[float, float], text: str, style: Style, anchor: str = "ls") -> float:
        """Draws one line at its baseline (or at Pillow's `anchor`); returns its width."""
        self._draw.text(
            at, text, fill=style.colour, font=_font(style.size), anchor=anchor,
            stroke_width=style.weight, stroke_fill=style.colour,
        )  # fmt: skip
        return width_of(text, style)

    def pill(self, at: tuple[float, float], text: str, style: Style, fill: Colour) -> float:
        """A label in a capsule whose right end is at `at`, centred vertically there; returns its width."""
        half = style.size * 0.82
        width = width_of(text, style) + 2 * style.size * 0.72
        right, middle = at
        self.rounded((right - width, middle - half, right, middle + half), half, fill)
        self.text((right - width / 2, middle), text, style, anchor="mm")
        return width


def fitting(text: str, style: Style, room: float, smallest: int) -> Style:
    """`style`, made smaller until `text` fits into `room` pixels or `smallest` is reached."""
    while style.size > smallest and width_of(text, style) > room:
        style = style._replace(size=style.size - 1)
    return style


def width_of(text: str, style: Style) -> float:
    """Pixels that one line takes."""
    return float(_font(style.size).getlength(text)) + 2 * style.weight


def drawable(text: str) -> str:
    """`text` without accents, which the built-in face lacks. Other characters that it lacks show as boxes."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def shortened(text: str, style: Style, room: float) -> str:
    """`text` with its middle cut out so that it fits into `room` pixels: the ends of a file name say most."""
    return _longest(text, style, room, lambda kept: text[: kept - kept // 2] + ELLIPSIS + text[len(text) - kept // 2 :])


def shortened_end(text: str, style: Style, room: float) -> str:
    """`text` cut at its end so that it fits into `room` pixels."""
    return _longest(text, style, room, lambda kept: text[:kept].rstrip(" ,;:") + ELLIPSIS)


def _longest(text: str, style: Style, room: float, cut: Callable[[int], str]) -> str:
    """`text` if it fits, else `cut` to as many characters as fit. No glyph is narrower than a pixel."""
    most = min(len(text), int(room))
    if len(text) == most and width_of(text, style) <= room:
        return text
    return cut(max(0, bisect.bisect_right(range(most), room, key=lambda kept: width_of(cut(kept), style)) - 1))


def wrapped(text: str, style: Style, room: float, lines: int) -> list[str]:
    """`text` in at most `lines` lines of `room` pixels. What does not fit is replaced by an ellipsis."""
    words = [shortened_end(word, style, room) for word in text.split()]
    flow = ImageText.Text(" ".join(words), _font(style.size))
    flow.wrap(int(room))
    rows = flow.text.split("\n", lines - 1)
    return [shortened_end(row.replace("\n", " "), style, room) for row in rows]


@cache
def rounded_mask(
    size: tuple[int, int], radius: float, corners: tuple[bool, bool, bool, bool] | None = None
) -> Image.Image:
    """Coverage (0..255) of a box with round corners and smooth edges."""
    large = Image.new("L", (size[0] * SMOOTHING, size[1] * SMOOTHING))
    ImageDraw.Draw(large).rounded_rectangle(
        (0, 0, large.width - 1, large.height - 1), radius * SMOOTHING, fill=255, corners=corners
    )
    return large.reduce(SMOOTHING)
