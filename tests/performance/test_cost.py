"""docs/cost.md and docs/capacity.md say what prices, measurements and template give; the others say the same."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.cost import bill, capacity, documents, facts
from benchmarks.hidden_units import hiding
from benchmarks.record_size import item_bytes
from cli.app import backfill
from cli.backfill import estimate
from infra.prices import PRICES, dollars
from infra.template import read_template

ROOT = Path(__file__).parents[2]
AGAIN = "run python -m benchmarks.cost"


@pytest.mark.parametrize("document", documents.DOCUMENTS, ids=lambda document: document.name)
def test_the_document_quotes_the_arithmetic(document):
    text = document.read_text(encoding="utf-8")
    assert documents.refreshed(text) == text, AGAIN


def test_the_documents_cannot_keep_an_old_price(monkeypatch):
    text = documents.DOCUMENTS[0].read_text(encoding="utf-8")
    monkeypatch.setitem(PRICES, "s3_put", PRICES["s3_put"]._replace(dollars=9e-6))
    assert "| $9.00 |" in documents.refreshed(text)


@pytest.mark.parametrize("document", documents.DOCUMENTS[:2], ids=lambda document: document.name)
def test_no_figure_is_typed_beside_the_tables(document):
    """Dollars, rates and shares come from the program."""
    typed = re.sub(r"<!-- cost:.*?<!-- end -->", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert re.findall(r"\$\d|\d/s|\d %", typed) == []


def test_every_table_is_in_one_of_the_documents():
    text = "".join(document.read_text(encoding="utf-8") for document in documents.DOCUMENTS)
    assert sorted(re.findall(r"<!-- cost:([a-z0-9-]+) -->", text)) == sorted(documents.TABLES)


def test_the_first_day_names_what_the_network_takes_on_each_processor():
    page = " ".join((ROOT / "docs" / "first-day.md").read_text(encoding="utf-8").split())
    found = re.search(r"takes some (\d+) ms on one with .* some (\d+) ms on a newer one and (\d+) on an old one", page)
    assert found
    former = facts.measured("former")
    old = (facts.shipped()[0].seconds - (former["seconds"] - former["of_it_the_network"])) * 1000
    fast, newer = (facts.measured(name)["of_it_the_network"] * 1000 for name in ("vnni", "avx2"))
    assert [int(figure) for figure in found.groups()] == [round(ms, -1) for ms in (fast, newer, old)]


def test_the_bill_by_hand():
    """1,769 MB for 0.1 s: 0.1728 GB-seconds an image, 2.88 dollars a million."""
    processor = facts.Processor("x", 0.1, measured=True, shipped=True, cold_start=1.0)
    assert bill.lambda_seconds(processor).dollars == pytest.approx(1e5 * 1769 / 1024 * 0.0000166667)
    assert bill.month(0, processor) == bill.total(bill.fixed())
    more = bill.month(2_000_000, processor) - bill.month(1_000_000, processor)
    assert more == pytest.approx(2.879 + bill.total(bill.the_rest()) + 5.0, abs=0.001)


def test_slower_processors_come_first_and_only_one_row_is_of_the_former_network():
    seconds = [processor.seconds for processor in facts.processors()]
    assert seconds == sorted(seconds, reverse=True)
    assert [processor.shipped for processor in facts.processors()] == [False, True, True, True]
    assert "AVX2" in facts.shipped()[0].name, "Lambda promises no more"


def test_alarms_are_paid_by_their_metrics():
    resources = read_template()["Resources"].values()
    alarms = [each["Properties"] for each in resources if each["Type"].endswith("::Alarm") and "Condition" not in each]
    assert facts.alarm_metrics() == sum(json.dumps(alarm).count('"MetricName"') for alarm in alarms)


SAMS_REPOSITORIES = """
from samcli.lib.bootstrap.companion_stack import companion_stack_manager as module

module.CompanionStackManager.__init__ = lambda self, *_: setattr(
    self, "_builder", module.CompanionStackBuilder(module.CompanionStack("x")))
module.CompanionStackManager.get_repository_mapping = lambda self: self._builder.repo_mapping
module.CompanionStackManager.sync_repos = lambda self: None  # and not onto an account
print(len(module.sync_ecr_stack("template.yaml", "x", None, None, None, {})))
"""


def test_each_function_has_the_repository_that_sam_makes_for_it_whether_or_not_the_stack_has_it():
    python = ROOT / ".venv-sam" / "bin" / "python"
    if not python.exists():
        pytest.skip("needs aws-sam-cli in .venv-sam")
    told = subprocess.run([python, "-c", SAMS_REPOSITORIES], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(told.stdout) == facts.repositories() > len(facts.functions())


def test_what_an_image_takes_is_as_counted():
    """Counted anew: a record or a log line that has grown fails here."""
    command = [sys.executable, "-m", "benchmarks.cost.units", "--images", str(facts.units()["images"])]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found, kept = json.loads(run.stdout), facts.units()
    how = "run python -m benchmarks.cost.units --out benchmarks/results/cost/units.json, then python -m benchmarks.cost"
    for name in ("schema", "requests", "write_units", "read_units", "metrics", "log_lines"):
        assert found[name] == kept[name], how
    for name in ("record_bytes", "index_entry_bytes"):
        assert found[name] == pytest.approx(kept[name], rel=0.02), how
    assert found["log_bytes"] == pytest.approx(kept["log_bytes"], rel=0.05), how


@pytest.mark.parametrize(("rate", "shards", "partitions"), [(3000, 16, 4), (10_000, 16, 40), (10_000, 64, 40)])
def test_the_chance_of_a_hot_partition_is_that_of_thrown_dice(rate, shards, partitions):
    dice = random.Random(1)
    throws = 4000
    hot = 0
    for _ in range(throws):
        fullest = max(Counter(dice.randrange(partitions) for _ in range(shards)).values())
        hot += fullest * rate / shards > capacity.PARTITION_WRITES
    assert capacity.too_hot(rate, shards, partitions) == pytest.approx(hot / throws, abs=0.03)


def test_a_rate_that_one_partition_takes_is_never_too_hot_and_more_than_all_take_always():
    assert capacity.too_hot(1000, 16, 4) == 0
    assert capacity.too_hot(4100, 16, 4) == 1


def test_the_dashboard_quotes_the_same_prices():
    prices = {
        name: float(value)
        for group in read_template()["Mappings"]["Price"].items()
        for name, value in ((f"{group[0]}.{key}", value) for key, value in group[1].items())
    }
    assert prices
    for name, value in prices.items():
        arm64 = "_arm64" if re.search("arm64", name, re.IGNORECASE) else ""
        expected = dollars("lambda_request") if "Request" in name else dollars(f"lambda_gb_second{arm64}")
        assert value == pytest.approx(expected, rel=1e-9), name


def test_a_dry_run_estimates_from_the_same_measurements():
    slowest, fastest = facts.shipped()[0].seconds, facts.shipped()[-1].seconds
    assert (round(fastest, 2), round(slowest, 2)) == estimate.SECONDS
    assert abs(bill.total(bill.the_rest()) - estimate.OTHERS) <= 0.5, f"OTHERS is {bill.total(bill.the_rest()):.1f}"
    low, high = estimate.lambda_dollars(1_000_000, "x86_64")
    assert high == pytest.approx(bill.lambda_seconds(facts.shipped()[0]).dollars, rel=0.05)
    assert low == pytest.approx(bill.lambda_seconds(facts.shipped()[-1]).dollars, rel=0.15)


def test_what_a_backfill_lets_wait_is_done_within_a_day_on_the_slowest_processor():
    waiting = backfill.__kwdefaults__["max_waiting"]
    assert waiting == capacity.BACKFILL_WAITING
    slowest = facts.processors()[0].seconds
    assert waiting * slowest / facts.parameter("BulkMaximumConcurrency") < 86_400


def test_a_process_whose_units_are_hidden_sees_avx2_and_no_more(tmp_path):
    hidden = hiding(tmp_path / "hidden.so")
    if hidden is None:
        pytest.skip("needs Linux on x86-64, a processor with CPUID faulting, and a C compiler")
    script = "from numpy._core._multiarray_umath import __cpu_features__ as seen; print(*(n for n in seen if seen[n]))"
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, env=os.environ | hidden, capture_output=True, text=True, check=True)
    units_seen = run.stdout.split()
    assert "AVX2" in units_seen
    assert not [name for name in units_seen if name.startswith(("AVX512", "AMX"))]


def test_an_items_size_is_dynamodbs():
    assert item_bytes({"ab": {"S": "ü"}}) == 2 + 2
    assert item_bytes({"n": {"N": "27"}}) == 1 + 2
    assert item_bytes({"n": {"N": "-0.1234500"}}) == 1 + 1 + 3 + 1
    assert item_bytes({"b": {"B": b"123"}}) == 1 + 3
    assert item_bytes({"t": {"BOOL": True}}) == 1 + 1
    assert item_bytes({"l": {"L": [{"S": "a"}, {"S": "b"}]}}) == 1 + 3 + 2 * (1 + 1)
    assert item_bytes({"m": {"M": {"key": {"S": "v"}}}}) == 1 + 3 + 1 + 3 + 1
