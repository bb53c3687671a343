"""`dermbatch compare`: figures of two versions on records that a real table holds."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from stored_items import item_of

from cli.app import main
from cli.compare import paired_change, wilson
from handler.intake.messages import Upload
from handler.store.record import Finding, build_record
from model_layer import Heatmap, ImageFacts, Prediction, Reason, ReferralCode, Status

DAY = datetime(2026, 11, 23, 9, tzinfo=UTC)
ANSWER = Prediction(
    status=Status.CLASSIFIED,
    label="nv",
    label_name="nevus",
    confidence=0.9,
    probabilities={"nv": 0.9, "mel": 0.1},
    prediction_set=("nv",),
    triage="routine",
    reasons=(),
    heatmap=Heatmap(1, 1, (0,)),
    facts=ImageFacts("jpeg", 10, 10),
)
MELANOMA = replace(ANSWER, label="mel", label_name="melanoma", confidence=0.8, triage="urgent")
REFERRED = replace(ANSWER, status=Status.REFERRED, reasons=(Reason(ReferralCode.UNCERTAIN, "It is uncertain."),))


@pytest.fixture
def two_models(reached):
    """Ten uploads under version 1 on one day, and nine of them under version 2 a week later, in items of schema 2."""
    dynamodb = reached.endpoint.client("dynamodb")
    changed = {0: MELANOMA, 1: MELANOMA, 2: REFERRED}
    for number in range(10):
        upload = Upload(reached.bucket, f"{number}.jpg", f"v{number}", "e", None)
        for version, answer, at in (("1", ANSWER, DAY), ("2", changed.get(number, ANSWER), DAY + timedelta(days=7))):
            if (number, version) != (9, "2"):
                bundle = SimpleNamespace(name="m", version=version, digest="sha256:0")
                one = build_record(Finding(upload, answer), bundle, "request", at)
                dynamodb.put_item(TableName=reached.table, Item=item_of(one, schema=int(version)))
    return ["--stack", reached.name, "--day", f"{DAY:%Y-%m-%d}"]


@pytest.mark.integration
def test_figures_and_the_images_that_differ(two_models, capsys):
    assert main(["compare", "1", "2", *two_models]) == 0
    out = capsys.readouterr().out
    assert "9 uploads with records of both; 9 have a label under both." in out
    assert "1 upload of A without a record of B: left out." in out
    assert "Same label: 77.8% (45.3% to 93.7%)." in out
    assert "Referred: 0.0% -> 11.1%, +11.1 points" in out
    assert "Urgent: 0.0% -> 22.2%, +22.2 points" in out
    assert [line.split() for line in out.splitlines() if line.startswith(("A / B", "nv "))] == [
        ["A", "/", "B", "mel", "nv"], ["nv", "2", "7"],
    ]  # fmt: skip
    assert "3 images with another status, label or triage." in out
    assert main(["compare", "1", "2", *two_models, "--json", "--limit", "2"]) == 0
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert len(rows) == 2
    assert "2 of 3 images that differ are shown" in captured.err


@pytest.mark.integration
def test_nothing_to_compare_is_one_sentence_that_names_the_versions(two_models, capsys):
    assert main(["compare", "1", "3", *two_models]) == 1
    assert capsys.readouterr().err == (
        "compare: On these days no upload of them has a record of 3 too; versions with records: 1.\n"
    )
    assert main(["compare", "9", "1", *two_models]) == 1
    assert "no record of them is of 9; versions with records: 1." in capsys.readouterr().err


def test_intervals_are_those_of_the_paper():
    """Examples of Newcombe's two papers of 1998."""
    low, high = paired_change([(True, True)] * 36 + [(False, True)] * 12 + [(True, False)] * 2)
    assert low == pytest.approx(0.0569, abs=0.003)
    assert high == pytest.approx(0.3404, abs=0.003)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=0.0005)


@pytest.mark.parametrize("both", [[(True, True)] * 5, [(False, False)] * 5, [(False, True)] * 5, [(True, False)]])
def test_intervals_hold_the_change_and_are_never_nothing(both):
    low, high = paired_change(both)
    change = sum(b - a for a, b in both) / len(both)
    assert -1 <= low <= change <= high <= 1 + 1e-9
    assert high - low > 0.1
