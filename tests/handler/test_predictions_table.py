"""Records in DynamoDB: exact, one for each upload and model, and found again by the questions that people ask."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from questions import latest_problems, most_confident
from sample_records import ANSWERS, GOLDEN, RANK, TODAY, a_record, golden_record
from worker_rig import BOTH_CLOUDS, TABLE

from handler.errors import TryAgainError
from handler.store.table import PredictionsTable

pytestmark = BOTH_CLOUDS


def test_what_is_written_is_read_back_exactly(table):
    record = golden_record()
    assert table.put(record)
    assert table.get(record["image"], record["version"]) == record == json.loads(GOLDEN.read_text())
    assert list(table.everything()) == list(table.history(record["image"])) == [record]


def test_numbers_are_the_decimals_that_they_print_as(table):
    table.put({**golden_record(), "confidence": 0.1 + 0.2})
    (item,) = boto3.client("dynamodb").scan(TableName=TABLE)["Items"]
    assert item["confidence"] == {"N": "0.30000000000000004"}
    assert item["probabilities"]["M"]["mel"] == {"N": "0.431207"}
    assert next(table.everything())["confidence"] == 0.1 + 0.2


def test_what_is_no_number_is_refused(table):
    with pytest.raises(TypeError):
        table.put({**golden_record(), "confidence": float("nan")})


@pytest.mark.parametrize(("first", "second"), list(itertools.product(ANSWERS, repeat=2)))
def test_which_of_two_records_stands(table, first, second):
    assert table.put(a_record(first, request_id="first"))
    replaces = RANK[second] > RANK[first] or (first, second) == ("failed", "failed")  # the later one knows more
    assert table.put(a_record(second, request_id="second")) is replaces
    (found,) = table.everything()
    assert found["request_id"] == ("second" if replaces else "first")


def test_only_what_stands_for_good_is_final(table):
    records = [a_record(status, key=status) for status in ANSWERS]
    for record in records:
        table.put(record)
    missing = ("dermbatch-images/missing", "v#1")
    keys = [(record["image"], record["version"]) for record in records]
    found = table.states([*keys, *keys, missing])
    assert {key for key, state in found.items() if state.final} == set(keys[2:])
    assert set(found) == set(keys)
    assert table.states([]) == {}


def test_more_keys_than_one_lookup_takes(table):
    records = [a_record(key=f"{n}.jpg") for n in range(0, 250, 2)]
    for record in records:
        table.put(record)
    asked = [(f"dermbatch-images/{n}.jpg", records[0]["version"]) for n in range(250)]
    assert len(table.states(asked)) == 125


def test_a_table_that_is_not_there_is_an_error_to_try_again(table):
    missing = PredictionsTable(boto3.client("dynamodb"), "elsewhere")
    with pytest.raises(TryAgainError, match="PutItem failed with ResourceNotFoundException"):
        missing.put(a_record())
    with pytest.raises(TryAgainError, match="BatchGetItem failed with ResourceNotFoundException"):
        missing.states([("a", "b")])


class TestQuestions:
    def test_most_confident_first_over_shards_and_days(self, table):
        confidences = [round(0.013 * n, 6) for n in range(70)]
        for n, confidence in enumerate(confidences):
            at = datetime(2026, 11, 23, 9, tzinfo=UTC) + timedelta(days=n % 3)
            table.put(a_record(key=f"{n}.jpg", at=at, confidence=confidence))
        client = boto3.client("dynamodb")
        days = [TODAY + timedelta(days=n) for n in range(3)]

        found = most_confident(client, TABLE, "mel", days, limit=1000)
        assert [entry["confidence"] for entry in found] == sorted(confidences, reverse=True)
        assert set(found[0]) == {"image", "version", "status", "label", "confidence", "triage", "predicted_at"}
        assert most_confident(client, TABLE, "mel", days, limit=5) == found[:5]
        assert [entry["confidence"] for entry in most_confident(client, TABLE, "mel", [TODAY], limit=1000)] == sorted(
            confidences[::3], reverse=True
        )
        assert most_confident(client, TABLE, "nv", days) == []

    @pytest.mark.parametrize("status", ANSWERS)
    def test_latest_problems_first(self, table, status):
        for n in range(40):
            at = datetime(2026, 11, 23, 9, tzinfo=UTC) + timedelta(seconds=n)
            table.put(a_record(status, key=f"{n}.jpg", at=at))
        found = latest_problems(boto3.client("dynamodb"), TABLE, status, [TODAY], limit=1000)
        assert [entry["image"] for entry in found] == [f"dermbatch-images/{n}.jpg" for n in reversed(range(40))]
        assert found[0]["reasons"][0]["code"]
        assert set(found[0]) == {"image", "version", "status", "reasons", "predicted_at"}

    def test_a_failure_that_was_made_good_is_no_problem_any_more(self, table):
        table.put(a_record("failed"))
        table.put(a_record("rejected"))
        client = boto3.client("dynamodb")
        assert latest_problems(client, TABLE, "failed", [TODAY]) == []
        assert len(latest_problems(client, TABLE, "rejected", [TODAY])) == 1
