"""The price of a processor's second is the same wherever it is written."""

from __future__ import annotations

from benchmarks.side_by_side.dollars import DOLLARS_PER_GB_SECOND
from cli.backfill.estimate import DOLLARS_A_GB_SECOND, dollars
from infra.template import read_template


def test_dashboard_estimate_and_benchmark_take_one_price_for_each_processor():
    template = read_template()
    prices = {name: float(price["GigabyteSecond"]) for name, price in template["Mappings"]["Price"].items()}
    assert {"x86_64": prices["x86"], "arm64": prices["arm64"]} == DOLLARS_A_GB_SECOND
    assert set(DOLLARS_A_GB_SECOND) == set(template["Parameters"]["Architecture"]["AllowedValues"])
    assert prices["x86"] == DOLLARS_PER_GB_SECOND


def test_a_backfill_on_arm_costs_a_fifth_less():
    (x86, _), (arm, _) = dollars(10**6, "x86_64"), dollars(10**6, "arm64")
    assert 0.79 < arm / x86 < 0.81
