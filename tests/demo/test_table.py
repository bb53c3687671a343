"""The table in the terminal."""

from __future__ import annotations

import io

from example_records import record

from demo.table import WIDEST_NAME, Table, summary


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(records, out=None) -> list[str]:
    out = out or io.StringIO()
    table = Table((r["object"]["key"] for r in records), out)
    table.head()
    table.rows(records)
    return out.getvalue().splitlines()


def test_a_row_shows_what_became_of_the_image():
    title, _, row = printed([record("mole.jpg", triage="urgent")])
    assert title.split() == ["image", "status", "label", "confidence", "triage", "ms"]
    assert row.split() == ["mole.jpg", "classified", "nv", "90.0%", "urgent", "4"]
    (rejected,) = printed([record("bad.jpg", "rejected")])[2:]
    assert rejected.split() == ["bad.jpg", "rejected", "(blank)", "-", "-", "4"]


def test_columns_stay_aligned_whatever_the_names_are():
    names = ["a.jpg", "x" * 300, "皮膚" * 40, "e\u0301.jpg", "Rücken.jpg"]
    lines = printed([record(name) for name in names])
    wide = {"皮": 2, "膚": 2, "\u0301": 0}
    columns = {sum(wide.get(c, 1) for c in line) for line in lines}
    assert len(columns) == 1
    assert columns.pop() < WIDEST_NAME + 64


def test_a_files_name_cannot_steer_the_terminal():
    rows = printed([record("a\x1b[2J\r\n\u202eb.jpg")])[2:]
    assert len(rows) == 1
    assert "\x1b" not in rows[0]
    assert "\u202e" not in rows[0]
    assert r"a\x1b[2J\r\n\u202eb.jpg" in rows[0]


def test_colours_only_in_a_terminal_that_wants_them(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    records = [record("  referred  classified.jpg", "referred")]
    (coloured,) = printed(records, Terminal())[2:]
    assert coloured.count("\x1b[33mreferred\x1b[0m") == 1
    assert coloured.startswith("  referred  classified.jpg  \x1b")
    assert "\x1b" not in "".join(printed(records))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in "".join(printed(records, Terminal()))


def test_the_summary_counts_each_status():
    records = [record("a"), record("b"), record("c", "rejected")]
    assert summary(records, 3, 1.25) == "3 uploads, 3 records in 1.2 s: 2 classified, 1 rejected."
