"""One record as a card: the image, its heat map and the model's label, or the reason why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from pictures.canvas import (
    CARD,
    EDGE,
    FAINT,
    INK,
    MUTED,
    SMOOTHING,
    STATUS,
    URGENT,
    WHITE,
    Canvas,
    Style,
    drawable,
    fitting,
    shortened,
    shortened_end,
    wrapped,
)  # fmt: skip
from pictures.heat import overlay
from pictures.names import name_of

if TYPE_CHECKING:
    from collections.abc import Mapping

WIDTH = 460
SQUARE = WIDTH // 2
HEIGHT = SQUARE + 200
RADIUS = 16
INSET = 20

NAME = Style(17, MUTED)
HEADLINE = Style(26, INK, 0.45)
NUMBER = Style(24, INK, 0.4)
SMALL = Style(16, MUTED)
PILL = 15

_TOP = {"left": (True, False, False, False), "right": (False, True, False, False), "both": (True, True, False, False)}


def draw_card(canvas: Canvas, at: tuple[int, int], record: Mapping[str, Any], square: Image.Image | None) -> None:
    """Draws `record` with its top left corner at `at`.

    `square` is the part of the image that the network saw, or None if it could not be read.
    """
    left, top = at
    canvas.rounded((left - 1, top - 1, left + WIDTH + 1, top + HEIGHT + 2), RADIUS + 1, EDGE)
    canvas.rounded((left, top, left + WIDTH, top + HEIGHT), RADIUS, CARD)
    if square is not None and record.get("heatmap"):
        plain = square.resize((SQUARE, SQUARE), Image.Resampling.LANCZOS)
        canvas.picture(plain, (left, top), RADIUS, _TOP["left"])
        canvas.picture(overlay(plain, record["heatmap"]), (left + SQUARE, top), RADIUS, _TOP["right"])
        canvas.rounded((left + SQUARE - 1, top, left + SQUARE + 1, top + SQUARE), 0, CARD)
    else:
        canvas.picture(_placeholder(str(record["status"])), (left, top), RADIUS, _TOP["both"])

    _draw_name(canvas, left + INSET, top + SQUARE + 34, record)
    if record.get("label"):
        _draw_answer(canvas, left + INSET, top + SQUARE + 72, record)
    else:
        _draw_reason(canvas, left + INSET, top + SQUARE + 72, record)


def _draw_name(canvas: Canvas, x: float, y: float, record: Mapping[str, Any]) -> None:
    room = WIDTH - 2 * INSET
    status = str(record["status"])
    colours = STATUS[status]
    right = x + room
    right -= canvas.pill((right, y - 6), status, Style(PILL, colours.strong, 0.25), colours.pale) + 7
    if record.get("triage") == "urgent":
        right -= canvas.pill((right, y - 6), "urgent", Style(PILL, WHITE, 0.25), URGENT) + 7
    canvas.text((x, y), shortened(drawable(name_of(record)), NAME, right - x - 8), NAME)


def _draw_answer(canvas: Canvas, x: float, y: float, record: Mapping[str, Any]) -> None:
    room = WIDTH - 2 * INSET
    confidence = float(record["confidence"])
    colours = STATUS[str(record["status"])]
    percent = f"{confidence:.0%}"
    canvas.text((x + room, y), percent, NUMBER, anchor="rs")
    name = str(record["label_name"])
    name = name[:1].upper() + name[1:]
    headline = fitting(name, HEADLINE, room - 84, 19)
    canvas.text((x, y), shortened_end(name, headline, room - 84), headline)
    canvas.rounded((x, y + 15, x + room, y + 23), 4, FAINT)
    canvas.rounded((x, y + 15, x + max(8, room * confidence), y + 23), 4, colours.strong)
    canvas.text((x, y + 50), shortened_end(_alternatives(record), SMALL, room), SMALL)
    if record.get("reasons"):
        quiet = Style(SMALL.size, colours.strong)
        for row, line in enumerate(wrapped(str(record["reasons"][0]["sentence"]), quiet, room, 3)):
            canvas.text((x, y + 76 + 22 * row), line, quiet)


def _alternatives(record: Mapping[str, Any]) -> str:
    """The rest of the prediction set in words."""
    others = [str(code) for code in record.get("prediction_set", ()) if code != record["label"]]
    if not others:
        return "no other label in its prediction set"
    likely = ", ".join(f"{code} {float(record['probabilities'][code]):.0%}" for code in others[:4])
    more = f" and {len(others) - 4} more" if len(others) > 4 else ""
    return f"could also be {likely}{more}"


def _draw_reason(canvas: Canvas, x: float, y: float, record: Mapping[str, Any]) -> None:
    room = WIDTH - 2 * INSET
    reason = (record.get("reasons") or [{"code": str(record["status"]), "sentence": ""}])[0]
    headline = str(reason["code"]).replace("_", " ").capitalize()
    canvas.text((x, y), shortened_end(headline, HEADLINE, room), HEADLINE)
    for row, line in enumerate(wrapped(str(reason["sentence"]), SMALL, room, 3)):
        canvas.text((x, y + 31 + 23 * row), line, SMALL)


def _placeholder(status: str) -> Image.Image:
    """A hatched ground with the outline of a picture, struck through."""
    colours = STATUS[status]
    large = Image.new("RGB", (WIDTH * SMOOTHING, SQUARE * SMOOTHING), colours.pale)
    draw = ImageDraw.Draw(large)
    stripe = tuple(round(0.965 * c) for c in colours.pale)
    pitch = 22 * SMOOTHING
    for start in range(-large.height, large.width, pitch):
        draw.line((start, large.height, start + large.height, 0), fill=stripe, width=pitch // 2)

    def scaled(*points: float) -> list[float]:
        centre = (WIDTH / 2, SQUARE / 2)
        return [(p + centre[k % 2]) * SMOOTHING for k, p in enumerate(points)]

    faded = tuple(round((2 * c + 3 * p) / 5) for c, p in zip(colours.strong, colours.pale, strict=True))
    stroke = 4 * SMOOTHING
    draw.rounded_rectangle(scaled(-42, -32, 42, 32), 9 * SMOOTHING, outline=faded, width=stroke)
    draw.ellipse(scaled(14, -20, 28, -6), fill=faded)
    draw.line(scaled(-36, 22, -14, -6, 4, 14, 14, 5, 34, 24), fill=faded, width=stroke, joint="curve")
    draw.line(scaled(-50, 44, 50, -44), fill=colours.pale, width=4 * stroke)
    draw.line(scaled(-48, 42, 48, -42), fill=faded, width=stroke)
    return large.reduce(SMOOTHING)
