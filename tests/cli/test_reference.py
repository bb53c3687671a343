"""The reference page is what the code says."""

from __future__ import annotations

from cli import reference


def test_the_page_is_up_to_date():
    assert reference.PAGE.read_text(encoding="utf-8") == reference.reference(), "run python -m cli.reference"


def test_every_setting_code_and_field_has_a_meaning():
    rows = [line for line in reference.reference().splitlines() if line.startswith("| `") and line.count(" | ") > 0]
    assert len(rows) > 100
    assert [row for row in rows if row.rstrip().endswith("|  |")] == []
