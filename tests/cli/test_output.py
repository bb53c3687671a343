"""What commands write: CSV that no spreadsheet takes for formulas, JSON lines, tables and progress."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import output
from cli.output import Form, Progress, csv_cell, percent, write_rows

FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001
TEXT = st.text() | st.text("=+-@\t\r\n '\"＝,;")  # noqa: RUF001


@given(TEXT)
def test_no_text_is_a_formula_and_harmless_text_is_unchanged(text):
    cell = csv_cell(text)
    assert not cell.lstrip(" ").startswith(FORMULA)
    if not text.lstrip(" ").startswith(FORMULA) and not {"\0", "\r"} & set(text):
        assert cell == text


@given(st.lists(st.tuples(TEXT, st.integers() | st.floats(allow_nan=False) | st.none()), max_size=5))
def test_a_csv_reads_back_as_it_was_written(rows):
    out = io.StringIO()
    assert write_rows([{"name": name, "number": number} for name, number in rows], COLUMNS, Form.CSV, out) == len(rows)
    head, *lines = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert head == ["name", "number"]
    assert lines == [[csv_cell(name), "" if number is None else str(number)] for name, number in rows]


COLUMNS = {"name": None, "number": None}


def test_numbers_stay_numbers_and_lists_are_worded():
    assert [csv_cell(value) for value in (-1, -0.5, True, None, {"a": 1})] == ["-1", "-0.5", "true", "", '{"a": 1}']
    out = io.StringIO()
    write_rows([{"share": -0.25, "many": ["-a", "b"]}], {"share": percent, "many": ", ".join}, Form.CSV, out)
    assert out.getvalue() == 'share,many\n-0.25,"\'-a, b"\n'


@given(st.dictionaries(st.text(), st.text(), max_size=3))
def test_json_is_one_object_a_line(row):
    out = io.StringIO()
    write_rows([row], COLUMNS, Form.JSON, out)
    assert out.getvalue().count("\n") == 1
    assert json.loads(out.getvalue()) == row
    assert out.getvalue().strip("\n").isprintable()


def test_a_table_shows_each_row_in_one_line_whatever_its_text(capsys):
    rows = [{"name": "a\nb\x1b[2J" + "x" * 300, "number": 0.5}, {"name": "[red]b[/red]", "number": None}]
    assert write_rows(rows, {"name": None, "number": percent}, Form.TABLE) == 2
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "number"]
    assert first == "a\\nb\\x1b[2J" + "x" * 300 + "  50.0%"
    assert second.split() == ["[red]b[/red]", "-"]


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(output, "LINE_EVERY", 0)
    with Progress("uploading", 2) as progress:
        progress.advance()
        progress.advance()
    captured = capsys.readouterr()
    assert captured.err == "uploading: 1 of 2\nuploading: 2 of 2\n"
    assert not captured.out


def test_progress_is_silent_for_ten_seconds(capsys):
    with Progress("uploading", 2) as progress:
        progress.advance()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("answer", "agreed"), [("y\n", True), ("YES\n", True), ("n\n", False), ("", False)])
def test_only_yes_is_yes(answer, agreed, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert output.confirm("Sure?") is agreed
    assert capsys.readouterr().out == ""
