"""The bench's arithmetic, and that docs say what its results say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.side_by_side.documents import AVX2_ONLY, DOCUMENT, RESULT, number, refreshed
from benchmarks.side_by_side.dollars import bill, dollars_per_million
from benchmarks.side_by_side.models import closure
from benchmarks.side_by_side.rows import at_most, less_is_better, more_is_better

ROOT = Path(__file__).parents[2]
KEYS = {"what", "ours", "baseline", "unit", "ratio", "target", "holds"}

measured = pytest.mark.skipif(not RESULT.exists(), reason="make bench BENCH_OPTIONS=--commit has left no results yet")


@measured
def test_the_document_quotes_the_results():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert "<!-- bench:table -->" in text
    assert re.findall(r"<!-- bench:([a-z0-9-]+) -->\n<!-- end -->", text) == [], "a table that nothing fills"
    assert refreshed(text) == text, "run python -m benchmarks.side_by_side.documents"


@measured
def test_the_document_cannot_keep_an_old_figure(tmp_path):
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    result["rows"][0]["ours"] = 987.0
    changed = tmp_path / "bench.json"
    changed.write_text(json.dumps(result), encoding="utf-8")
    assert "987" in refreshed(DOCUMENT.read_text(encoding="utf-8"), changed)


@measured
def test_the_readme_gives_both_ratios_to_a_keras_worker():
    what = "end to end, the emulator's time left out"
    rows = [json.loads(file.read_text(encoding="utf-8"))["rows"] for file in (AVX2_ONLY / "bench.json", RESULT)]
    slow, fast = (next(row["ratio"] for row in each if row["what"] == what) for each in rows)
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"{slow:.1f} times as many images a second with AVX2 only, {fast:.1f} times with 8-bit" in text


@measured
def test_the_results_have_the_agreed_form():
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    assert all(set(row) >= KEYS for row in result["rows"])
    assert {"processor", "cores", "python", "commit", "load_average"} <= set(result["machine"])
    assert {line["memory_mb"] for line in result["dollars"]} == {1769, 3538}


def test_a_ratio_is_the_median_of_pairs_not_the_ratio_of_medians():
    row = less_is_better("x", ours=[1, 2, 4], baseline=[10, 10, 10], unit="s", times=8)
    assert (row.ours, row.baseline, row.ratio, row.spread) == (2, 10, 5, (2.5, 10))
    assert row.holds is False


@pytest.mark.parametrize(("times", "holds"), [(4, True), (5, True), (5.1, False)])
def test_a_rate_holds_from_its_target_on(times, holds):
    assert more_is_better("x", ours=[50], baseline=[10], unit="images/s", times=times).holds is holds


def test_an_absolute_target():
    assert at_most("x", 20.0, "MB", 20).holds
    assert not at_most("x", 20.1, "MB", 20).holds


def test_dollars_by_hand():
    """1,769 MB for 0.1 s: 0.1728 GB-seconds an image, 2.88 dollars a million; 31,250 requests, 0.6 cents."""
    assert dollars_per_million(0.1, 1769) == pytest.approx(1e5 * 1769 / 1024 * 0.0000166667 + 0.00625)
    assert dollars_per_million(0.1, 1769) == pytest.approx(2.886, abs=0.001)


def test_a_bill_has_a_line_for_each_size():
    lines = bill({("ours", 1): 0.1, ("keras", 1): 0.5, ("ours", 2): 0.05, ("keras", 2): 0.3})
    assert [(line["memory_mb"], line["cores"]) for line in lines] == [(1769, 1), (3538, 2)]
    assert lines[0]["baseline_dollars"] > 4.9 * lines[0]["ours_dollars"]


def test_a_closure_follows_requirements_and_leaves_extras_out():
    found = closure(["boto3"])
    assert {"boto3", "botocore", "s3transfer", "jmespath", "urllib3"} <= found
    assert "awscrt" not in found, "an extra of botocore's"


def test_numbers_for_people():
    assert [number(x) for x in (0.0456, 4.567, 45.67, 1234.5)] == ["0.05", "4.57", "45.7", "1,234"]
