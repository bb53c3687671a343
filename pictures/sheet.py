"""The contact sheet of a run: a header with the totals, a grid of cards, and the notice."""

from __future__ import annotations

import io
from collections import Counter
from typing import TYPE_CHECKING, Any

from PIL import Image

from handler.store.record import NOTICE
from model_layer import DecodingLimits, ImageRejectedError, decode
from pictures.canvas import CARD, EDGE, GROUND, INK, MUTED, STATUS, URGENT, Canvas, Style, width_of
from pictures.card import HEIGHT, SQUARE, WIDTH, draw_card
from pictures.heat import legend
from pictures.names import key_of, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

MOST_CARDS = 60
"""Few programs open a larger picture. The records of the others are in `predictions.jsonl`."""

COLUMNS = 4
GAP = 22
MARGIN = 56
HEADER = 316
FOOTER = 92
SYNTHETIC = "These images are drawn by a program; the labels that a model gives them mean nothing."


def contact_sheet(
    records: Sequence[Mapping[str, Any]],
    image_of: Callable[[str], bytes],
    path: Path,
    *,
    synthetic: bool = False,
    seconds: float | None = None,
) -> int:
    """Writes the PNG at `path`; returns the number of its cards (at most `MOST_CARDS`).

    `records` are of schema 1, as in `predictions.jsonl`. `image_of` returns an image's bytes for its key, and is called
    only for images whose card shows a heat map. `synthetic` adds the line that the labels mean nothing, `seconds` the
    duration of the run.
    """
    shown = chosen(records)
    rows = max(1, -(-len(shown) // COLUMNS))
    width = 2 * MARGIN + COLUMNS * WIDTH + (COLUMNS - 1) * GAP
    canvas = Canvas((width, HEADER + rows * (HEIGHT + GAP) + FOOTER), GROUND)
    _draw_header(canvas, records, len(shown), seconds=seconds, synthetic=synthetic)
    for index, record in enumerate(shown):
        row, column = divmod(index, COLUMNS)
        at = (MARGIN + column * (WIDTH + GAP), HEADER + row * (HEIGHT + GAP))
        draw_card(canvas, at, record, _square(record, image_of))
    _draw_footer(canvas)
    buffer = io.BytesIO()
    canvas.image.save(buffer, "PNG", optimize=True)
    path.write_bytes(buffer.getvalue())
    return len(shown)


def chosen(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most `MOST_CARDS` of `records`, by status and name, some of each status: the rare ones say most."""
    groups = [[r for r in sorted(records, key=name_of) if r["status"] == status] for status in STATUS]
    turns = [(turn, rank) for rank, group in enumerate(groups) for turn in range(len(group))]
    dealt = sorted(turns)[:MOST_CARDS]  # the first of each status, then the second of each, ...
    return [groups[rank][turn] for turn, rank in sorted(dealt, key=lambda pair: (pair[1], pair[0]))]


def _square(record: Mapping[str, Any], image_of: Callable[[str], bytes]) -> Image.Image | None:
    """The square that the network saw, by the worker's own decoder: same guards, orientation and colours."""
    if not record.get("heatmap"):
        return None
    try:
        # The worker has read this file under its own limits; these only bound the sheet's memory.
        return Image.fromarray(
            decode(image_of(key_of(record)), SQUARE, DecodingLimits(max_bytes=10**9, max_pixels=10**9)).pixels
        )
    except (ImageRejectedError, OSError, KeyError):
        return None


def _draw_header(
    canvas: Canvas, records: Sequence[Mapping[str, Any]], shown: int, *, seconds: float | None, synthetic: bool
) -> None:
    right = canvas.image.width - MARGIN
    canvas.text((MARGIN - 2, 104), "dermbatch", Style(68, INK, 1.1))
    took = f", in {seconds:.1f} s" if seconds is not None else ""
    line = f"{len(records):,} uploads, one record each{took}" if len(records) != 1 else f"1 upload, one record{took}"
    if shown < len(records):
        line += f"   \N{MIDDLE DOT}   {shown} are shown, all are in predictions.jsonl"
    canvas.text((MARGIN, 150), line, Style(25, MUTED))

    canvas.text((right, 82), NOTICE, Style(27, URGENT, 0.5), anchor="rs")
    if synthetic:
        canvas.text((right, 116), SYNTHETIC, Style(20, MUTED), anchor="rs")
    model = next((r["model"] for r in records if r.get("model")), None)
    if model:
        digest = str(model.get("digest", ""))[:19]
        canvas.text((right, 150), f"{model['name']} {model['version']}   {digest}", Style(20, MUTED), anchor="rs")
    _draw_counts(canvas, Counter(str(r["status"]) for r in records))


def _draw_counts(canvas: Canvas, counts: Counter[str]) -> None:
    """The share of each status as a bar with its key, and the key of the heat maps at the right."""
    top, left, right = 188, MARGIN, canvas.image.width - MARGIN
    canvas.rounded((left - 1, top - 1, right + 1, top + 97), 17, EDGE)
    canvas.rounded((left, top, right, top + 96), 16, CARD)
    bar_left, bar_right, x = left + 28, right - 480, float(left + 28)
    total = sum(counts.values()) or 1
    present = [status for status in STATUS if counts[status]]
    for status in present:
        span = (bar_right - bar_left) * counts[status] / total
        canvas.rounded((x, top + 26, x + max(span - 4, 3), top + 40), 4, STATUS[status].strong)
        x += span
    x = float(bar_left)
    for status in present:
        strong = STATUS[status].strong
        canvas.rounded((x, top + 61, x + 12, top + 73), 6, strong)
        x += 20
        x += canvas.text((x, top + 75), f"{counts[status]:,}", Style(23, INK, 0.4)) + 8
        x += canvas.text((x, top + 75), status, Style(21, MUTED)) + 34

    strip = legend(424, 14)
    key_left = right - 28 - strip.width
    canvas.picture(strip, (key_left, top + 26), 4, (True, True, True, True))
    small = Style(18, MUTED)
    words = "evidence for the label"
    canvas.text((key_left, top + 74), "none", small)
    canvas.text((key_left + (strip.width - width_of(words, small)) / 2, top + 74), words, small)
    canvas.text((right - 28, top + 74), "strongest", small, anchor="rs")


def _draw_footer(canvas: Canvas) -> None:
    y = canvas.image.height - 44
    style = Style(20, MUTED)
    left = "Left: the centre square that the network saw. Right: where in it the evidence for the label lies."
    canvas.text((MARGIN, y), left, style)
    canvas.text((canvas.image.width - MARGIN, y), NOTICE, Style(20, URGENT, 0.25), anchor="rs")
