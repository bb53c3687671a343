"""The table's indexes: keys that spread, and pages that give every entry once, in order."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_records import TODAY, a_record
from worker_rig import BOTH_CLOUDS, TABLE

from handler.store import queries, record
from handler.store.queries import CursorError, page
from handler.store.record import BY_LABEL, BY_PROBLEM, SHARDS, index_keys, shards

DAYS = [TODAY + timedelta(days=n) for n in range(2)]


def test_one_label_is_spread_over_all_shards_evenly_enough():
    """10,000 writes/s of one label, and 1,000 writes/s at most for one partition."""
    images = 10_000
    found = [index_keys(a_record(key=f"{n}.jpg"))["label_shard"] for n in range(images)]
    assert set(found) == set(shards("mel", [TODAY]))
    assert max(found.count(shard) for shard in set(found)) < 1_000
    assert SHARDS == 16


def test_a_classified_image_is_no_problem_and_a_rejected_one_has_no_label():
    assert set(index_keys(a_record(status="referred"))) == {"label_shard", "confidence_rank", "problem_shard"}
    assert set(index_keys({**a_record(), "status": "classified"})) == {"label_shard", "confidence_rank"}
    assert set(index_keys(a_record("rejected"))) == {"problem_shard"}


def pages(index: str, subjects: list[str], size: int, days=DAYS, **filters) -> list[list[dict]]:
    found, cursor, client = [], None, boto3.client("dynamodb")
    while True:
        entries, cursor = page(client, TABLE, index, subjects, days, size, cursor, **filters)
        found.append(entries)
        if cursor is None:
            return found
        assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor), "it fits into a URL as it is"


@pytest.fixture
def filled(table, monkeypatch) -> list[dict]:
    """Records of two days, of which many share a time, a confidence, an image, or all of these; in few shards."""
    monkeypatch.setattr(record, "SHARDS", 3)  # a page takes a request for each
    records = []
    for n in range(18):
        at = datetime(2026, 11, 23, 9, tzinfo=UTC) + timedelta(days=n % 2, seconds=n % 3)
        key, version = f"{n % 5}.jpg", f"v{n}#1"
        status = "referred" if n % 4 else "rejected"
        changes = {"confidence": (n % 3) / 4} if status == "referred" else {}
        records.append(a_record(status, key=key, at=at, version=version, **changes))
        table.put(records[-1])
    return records


ORDER = {BY_LABEL: "confidence", BY_PROBLEM: "predicted_at"}


@pytest.mark.parametrize(("index", "subjects"), [(BY_LABEL, ["mel"]), (BY_PROBLEM, ["rejected", "referred"])])
@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(1, 20))
def test_whatever_the_size_of_a_page_every_entry_comes_once_and_in_order(filled, index, subjects, size):
    given_pages = pages(index, subjects, size)
    assert all(len(entries) == size for entries in given_pages[:-1])
    assert 0 < len(given_pages[-1]) <= size
    entries = [entry for entries in given_pages for entry in entries]
    expected = [one for one in filled if index == BY_PROBLEM or one["label"] == "mel"]
    assert sorted(entry["version"] for entry in entries) == sorted(one["version"] for one in expected)
    ranks = [entry[ORDER[index]] for entry in entries]
    assert ranks == sorted(ranks, reverse=True)


@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(1, 20), most_read=st.integers(1, 6), least=st.sampled_from([0, 0.2, 0.25, 0.3]))
def test_what_is_left_out_costs_no_entry_however_little_is_read_at_a_time(filled, size, most_read, least):
    """A filter makes pages short, also empty; their cursors go on behind what was read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queries, "MOST_READ", most_read)
        given_pages = pages(
            BY_LABEL, ["mel"], size, least_confidence=least, wanted=lambda entry: entry["image"].endswith("2.jpg")
        )
    assert all(len(entries) <= min(size, most_read) for entries in given_pages)
    expected = [
        one for one in filled if one["label"] == "mel" and one["confidence"] >= least and one["image"].endswith("2.jpg")
    ]
    entries = [entry for entries in given_pages for entry in entries]
    assert sorted(entry["version"] for entry in entries) == sorted(one["version"] for one in expected)
    ranks = [entry["confidence"] for entry in entries]
    assert ranks == sorted(ranks, reverse=True)


@BOTH_CLOUDS
def test_a_page_reads_on_where_the_last_one_stopped(filled, cloud):
    problems = pages(BY_PROBLEM, ["referred"], 7)
    assert [len(entries) for entries in problems] == [7, 6]
    assert [one for entries in problems for one in entries] == page(
        boto3.client("dynamodb"), TABLE, BY_PROBLEM, ["referred"], DAYS, 100
    )[0]


def test_what_is_written_between_two_pages_moves_no_entry(table, filled):
    client = boto3.client("dynamodb")
    first, cursor = page(client, TABLE, BY_PROBLEM, ["rejected"], DAYS, 3)
    later = datetime(2026, 11, 24, 10, tzinfo=UTC)
    table.put(a_record("rejected", key="later.jpg", at=later))
    second, _ = page(client, TABLE, BY_PROBLEM, ["rejected"], DAYS, 3, cursor)
    assert sorted(one["version"] for one in [*first, *second]) == sorted(
        one["version"] for one in filled if one["status"] == "rejected"
    )


@pytest.mark.parametrize(
    "cursor",
    ["x", "nonsense", "bnVsbA", "é", "[]", "A" * 10_000, "WzEsMiwzLDRd", "WyJieV9sYWJlbCIsICJcdWQ4MDAiLCAiYSIsICJiIl0"],
)
def test_a_cursor_of_ones_own_making_is_an_error_with_a_sentence(table, cursor):
    with pytest.raises(CursorError, match="cursor is not one"):
        page(boto3.client("dynamodb"), TABLE, BY_LABEL, ["mel"], DAYS, 3, cursor)


def test_a_cursor_of_the_other_index_is_an_error(filled):
    _, cursor = page(boto3.client("dynamodb"), TABLE, BY_PROBLEM, ["referred"], DAYS, 3)
    with pytest.raises(CursorError):
        page(boto3.client("dynamodb"), TABLE, BY_LABEL, ["mel"], DAYS, 3, cursor)


@pytest.mark.parametrize(
    ("asked", "about_problems", "versions"),
    [
        ({}, False, lambda one: one["label"]),
        ({"label": "mel"}, False, lambda one: one["label"] == "mel"),
        ({"status": "rejected"}, True, lambda one: one["status"] == "rejected"),
        ({"status": "referred"}, True, lambda one: one["status"] == "referred"),
        ({"status": "classified"}, False, lambda one: one["status"] == "classified"),
        (
            {"status": "referred", "least_confidence": 0.25},
            False,
            lambda one: one["status"] == "referred" and one["confidence"] >= 0.25,
        ),
        ({"triage": "urgent"}, False, lambda one: one["triage"] == "urgent"),
        ({"status": "rejected", "triage": "urgent"}, False, lambda _: False),
    ],
)
def test_a_question_takes_the_index_that_can_answer_it(filled, asked, about_problems, versions):
    question = queries.Question(DAYS, **asked)
    assert question.about_problems is about_problems
    found, cursor = question.page(boto3.client("dynamodb"), TABLE, ["mel", "nv"], 100)
    assert sorted(entry["version"] for entry in found) == sorted(one["version"] for one in filled if versions(one))
    assert cursor is None


def test_every_entry_leads_to_its_record(filled, table):
    found = queries.entries(boto3.client("dynamodb"), TABLE, BY_PROBLEM, ["referred", "rejected"], DAYS)
    keys = [(entry["image"], entry["version"]) for entry in found]
    assert {(one["image"], one["version"]) for one in table.get_many([*keys, ("no", "record")])} == set(keys)
    (whole,) = table.get_many(keys[:1])
    assert whole == table.get(*keys[0])
    assert len(keys) == len(filled)


def test_a_cursor_belongs_to_its_question(filled):
    client = boto3.client("dynamodb")
    question = queries.Question(DAYS, status="referred")
    first, cursor = question.page(client, TABLE, ["mel"], 2)
    rest, end = question.page(client, TABLE, ["mel"], 100, cursor)
    assert end is None
    assert len(first + rest) == sum(one["status"] == "referred" for one in filled)
    for other in (queries.Question(DAYS[:1], status="referred"), queries.Question(DAYS, status="rejected")):
        with pytest.raises(CursorError):
            other.page(client, TABLE, ["mel"], 2, cursor)
    for wrong in ("", "x", ".", f"{cursor.partition('.')[0]}.", f"{cursor}x!"):
        with pytest.raises(CursorError):
            question.page(client, TABLE, ["mel"], 2, wrong)


def test_a_cursor_of_a_day_and_all_since_is_good_on_the_next_day(filled):
    client = boto3.client("dynamodb")
    days = sorted(DAYS)
    evening = queries.Question(days[:-1], status="referred", open_ended=True)
    first, cursor = evening.page(client, TABLE, ["mel"], 1)
    morning = queries.Question(days, status="referred", open_ended=True)
    rest, end = morning.page(client, TABLE, ["mel"], 100, cursor)
    everything, _ = evening.page(client, TABLE, ["mel"], 100)
    assert (first + rest, end) == (everything, None), "what the new day brought comes before the cursor"
    for other in (
        queries.Question(days, status="referred"),
        queries.Question(days[1:], status="referred", open_ended=True),
    ):
        with pytest.raises(CursorError):
            other.page(client, TABLE, ["mel"], 1, cursor)
