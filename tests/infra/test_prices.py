"""The price of a processor's second is the same wherever it is written."""

from __future__ import annotations

from cli.backfill.estimate import lambda_dollars
from infra.prices import dollars
from infra.template import read_template


def test_the_dashboard_takes_the_price_of_each_processor_from_the_table():
    template = read_template()
    prices = {name: float(price["GigabyteSecond"]) for name, price in template["Mappings"]["Price"].items()}
    assert prices == {"x86": dollars("lambda_gb_second"), "arm64": dollars("lambda_gb_second_arm64")}
    assert {"x86_64", "arm64"} == set(template["Parameters"]["Architecture"]["AllowedValues"])


def test_a_backfill_on_arm_costs_a_fifth_less():
    (x86, _), (arm, _) = lambda_dollars(10**6, "x86_64"), lambda_dollars(10**6, "arm64")
    assert 0.79 < arm / x86 < 0.81
