"""The contact sheet: the right picture beside the right words, for whatever was uploaded."""

from __future__ import annotations

import numpy as np
import pytest
from example_records import record
from PIL import Image
from sample_images import encoded, jpeg

from pictures.canvas import Style, shortened, shortened_end, width_of, wrapped
from pictures.card import SQUARE, WIDTH
from pictures.heat import overlay
from pictures.sheet import COLUMNS, HEADER, MARGIN, MOST_CARDS, chosen, contact_sheet

STATUSES = ("classified", "referred", "rejected", "superseded", "failed")


def no_image(key: str) -> bytes:
    raise KeyError(key)


def hottest(grey: np.ndarray, rows: int, columns: int) -> tuple[int, int]:
    """(row, column) of the cell of a `rows` x `columns` grid that is brightest."""
    height, width = grey.shape[0] // rows, grey.shape[1] // columns
    cells = grey[: rows * height, : columns * width].reshape(rows, height, columns, width).mean(axis=(1, 3))
    row, column = np.unravel_index(np.argmax(cells), cells.shape)
    return int(row), int(column)


@pytest.mark.parametrize(("rows", "columns"), [(7, 7), (4, 6), (1, 1), (14, 3)])
def test_the_heat_map_glows_where_the_evidence_is(rows, columns):
    """Row by row, the first row at the top: a transposed or mirrored map would point at healthy skin."""
    row, column = rows // 4, columns - 1
    values = [0] * (rows * columns)
    values[row * columns + column] = 100
    square = Image.new("RGB", (210, 210), (90, 90, 90))
    glow = overlay(square, {"rows": rows, "columns": columns, "values": values})
    assert hottest(np.asarray(glow, dtype=float)[:, :, 0], rows, columns) == (row, column)


def test_no_evidence_leaves_the_image_grey():
    image = Image.new("RGB", (64, 64), (200, 90, 60))
    shown = np.asarray(overlay(image, {"rows": 2, "columns": 2, "values": [0, 0, 0, 0]}))
    assert np.ptp(shown, axis=2).max() == 0


def test_a_card_shows_the_square_that_the_network_saw(tmp_path):
    """Of a tall photograph, the middle: its ends would put the heat map on the wrong place."""
    tall = Image.new("RGB", (300, 900), (0, 0, 255))
    tall.paste((255, 0, 0), (0, 300, 300, 600))
    path = tmp_path / "sheet.png"
    contact_sheet([record()], lambda _: encoded(tall, "PNG"), path)
    sheet = np.asarray(Image.open(path))
    shown = sheet[HEADER + 20 : HEADER + SQUARE - 20, MARGIN + 20 : MARGIN + SQUARE - 20]
    assert (shown == (255, 0, 0)).all()


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_gets_a_card(tmp_path, status):
    path = tmp_path / "sheet.png"
    assert contact_sheet([record("a.jpg", status)], lambda _: jpeg(), path) == 1
    empty = tmp_path / "empty.png"
    assert contact_sheet([], no_image, empty) == 0
    card = slice(HEADER, HEADER + SQUARE), slice(MARGIN, MARGIN + WIDTH)
    assert (np.asarray(Image.open(path))[card] != np.asarray(Image.open(empty))[card]).any()


@pytest.mark.parametrize("content", [b"", b"not an image", jpeg()[:500], None])
def test_an_image_that_is_gone_or_damaged_by_now_does_not_end_the_run(tmp_path, content):
    image_of = no_image if content is None else lambda _: content
    path = tmp_path / "sheet.png"
    assert contact_sheet([record()], image_of, path) == 1
    assert Image.open(path).format == "PNG"


def test_a_large_run_shows_some_of_every_status():
    """10,000 classified images must not push the three that failed off the sheet."""
    records = [record(f"{i:05}.jpg") for i in range(500)]
    records += [record(f"bad-{i}.jpg", status) for status in STATUSES[1:] for i in range(3)]
    shown = chosen(records)
    assert len(shown) == MOST_CARDS
    assert [r["status"] for r in shown if r["status"] != "classified"] == [s for s in STATUSES[1:] for _ in range(3)]
    assert [r["object"]["key"] for r in shown[:3]] == ["00000.jpg", "00001.jpg", "00002.jpg"]


def test_images_without_a_card_are_not_read(tmp_path):
    asked = []

    def image_of(key: str) -> bytes:
        asked.append(key)
        return jpeg()

    records = [record(f"{i}.jpg") for i in range(MOST_CARDS + 20)]
    assert contact_sheet(records, image_of, tmp_path / "sheet.png") == MOST_CARDS
    assert len(asked) == MOST_CARDS


def test_ugly_names_and_endless_words_stay_in_their_card(tmp_path):
    """The strips beside and between the cards stay empty whatever the texts are."""
    ugly = ["new\nline\t\x1b[31m.jpg", "x" * 900 + ".jpg", "Ärger/皮膚.jpg", "", "\u202egpj.exe"]
    words = {
        "label_name": "keratosis" * 30,
        "reasons": [{"code": "c" * 300, "sentence": "w" * 900 + " and " + "so on " * 300}],
        "probabilities": dict.fromkeys([f"label-{i}" * 9 for i in range(9)], 0.1),
        "prediction_set": [f"label-{i}" * 9 for i in range(9)],
        "label": "nv",
    }
    records = [record(name, "referred", **words) for name in ugly]
    records += [record("r.jpg", "rejected", reasons=words["reasons"]), record("s.jpg", "failed", reasons=[])]
    path = tmp_path / "sheet.png"
    contact_sheet(records, lambda _: jpeg(), path)
    sheet = np.asarray(Image.open(path))
    ground = sheet[0, 0]
    assert (sheet[HEADER:, : MARGIN - 2] == ground).all()
    assert (sheet[HEADER:-90, -(MARGIN - 3) :] == ground).all()
    gaps = [MARGIN + k * WIDTH + (k - 1) * 22 for k in range(1, COLUMNS)]
    assert all((sheet[HEADER:-90, left + 4 : left + 18] == ground).all() for left in gaps)


def test_texts_are_cut_to_the_room_they_have():
    style = Style(17, (0, 0, 0))
    name = "a rather long name of a photograph, taken on a Monday.jpg"
    assert width_of(shortened(name, style, 200), style) <= 200
    assert shortened(name, style, 200).startswith("a rath")
    assert shortened(name, style, 200).endswith(".jpg")
    assert shortened("a.jpg", style, 200) == "a.jpg"
    assert shortened_end(name, style, 200).startswith("a rather")
    lines = wrapped(name * 9, style, 200, 3)
    assert len(lines) == 3
    assert all(width_of(line, style) <= 200 for line in lines)
    assert wrapped("", style, 200, 3) == [""]
