"""The reference page is what the code says."""

from __future__ import annotations

import json
import re

from cli import reference


def test_the_page_is_up_to_date():
    assert reference.PAGE.read_text(encoding="utf-8") == reference.reference(), "run python -m cli.reference"


def test_every_setting_code_and_field_has_a_meaning():
    rows = [line for line in reference.reference().splitlines() if line.startswith("| `") and line.count(" | ") > 0]
    assert len(rows) > 100
    assert [row for row in rows if row.rstrip().endswith("|  |")] == []


def test_every_field_of_a_record_is_listed():
    golden = json.loads((reference.PAGE.parents[1] / "tests" / "golden" / "record-1.json").read_text(encoding="utf-8"))
    section = reference.reference().partition("## The record")[2].partition("Fields of")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(golden)
