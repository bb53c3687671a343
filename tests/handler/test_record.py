"""Schema 1 of the record, which programs rely on."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from sample_records import BUNDLE, GOLDEN, PREDICTION, UPLOAD, golden_record

from handler.errors import SupersededError, TryAgainError
from handler.store.record import FileFacts, Finding, build_record
from model_layer import ImageFacts, Rejection, RejectionCode


def test_the_golden_record():
    """If this fails, programs that read records will fail: make schema 2 with its own golden file instead."""
    assert json.loads(json.dumps(golden_record())) == json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (Rejection(RejectionCode.TRUNCATED), "rejected", "truncated"),
        (SupersededError("deleted", "The object was deleted."), "superseded", "deleted"),
        (TryAgainError("out_of_time", "There was no time."), "failed", "out_of_time"),
    ],
)
def test_without_a_prediction_every_field_is_there_and_none_is_made_up(answer, status, code):
    record = build_record(Finding(UPLOAD, answer), BUNDLE, "request")
    golden = json.loads(GOLDEN.read_text())
    assert set(record) == set(golden)
    assert set(record["object"]) == set(golden["object"])
    assert record["status"] == status
    assert record["reasons"] == [{"code": code, "sentence": answer.sentence}]
    for field in ("label", "label_name", "confidence", "probabilities", "prediction_set", "triage", "heatmap"):
        assert record[field] is None


def test_a_rejected_file_tells_what_is_known_of_it():
    facts = ImageFacts("png", 60_000, 60_000)
    record = build_record(
        Finding(UPLOAD, Rejection(RejectionCode.TOO_MANY_PIXELS, facts), FileFacts(None, 70)), BUNDLE, "request"
    )
    assert (record["object"]["format"], record["object"]["width"], record["object"]["bytes"]) == ("png", 60_000, 70)


def test_every_record_carries_the_notice():
    for answer in (PREDICTION, Rejection(RejectionCode.BLANK)):
        notice = build_record(Finding(UPLOAD, answer), BUNDLE, "request")["notice"]
        assert notice == "Research use only. Not a medical device."


def test_times_in_text_order_are_in_time_order():
    moments = [datetime(2026, 11, 23, 9, 30, 2, ms, UTC) for ms in (0, 1000, 500_000, 999_999)]
    written = [build_record(Finding(UPLOAD, PREDICTION), BUNDLE, "r", moment)["predicted_at"] for moment in moments]
    assert written == sorted(written)
    assert len(set(map(len, written))) == 1
