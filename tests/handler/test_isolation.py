"""What comes back without a word is tried alone, behind a record that says so; tests/faults kills real processes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pictures import jpeg
from s3_events import Put, handed_back, message, notification
from worker_rig import answer, states

from handler.errors import TryAgainError
from handler.events import read_event
from handler.record import Finding, build_record


def batch(*deliveries: tuple[Put, int], sent: datetime | None = None) -> dict:
    """An event of (upload, receive count) pairs, `message-0` first."""
    records = [message(number, notification(put), receives) for number, (put, receives) in enumerate(deliveries)]
    for one in records:
        one["attributes"]["SentTimestamp"] = str(int((sent or datetime(2026, 1, 1, tzinfo=UTC)).timestamp() * 1000))
    return {"Records": records}


@pytest.fixture
def puts(bucket) -> list[Put]:
    return [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(4)]


@pytest.fixture
def died_on(table, rig):
    """Leaves what a process leaves that died on an upload, `attempts` times."""

    def leave(put: Put, attempts: int) -> None:
        (upload,) = read_event(notification(put)).messages[0].uploads
        found = Finding(upload, TryAgainError("unfinished", "Begun."))
        assert table.put(build_record(found, rig.classifier.bundle, "dead"), attempts=attempts)

    return leave


@pytest.fixture
def fetched(rig) -> list[str]:
    """The keys that are fetched, in order."""
    keys: list[str] = []
    rig.s3.meta.events.register(
        "before-parameter-build.s3.GetObject", lambda params, **_: keys.append(params["Key"]), unique_id="order"
    )
    return keys


def test_a_suspect_is_recorded_as_begun_before_it_is_touched(rig, table, puts):
    seen = []
    rig.break_call("s3.GetObject", lambda _: seen.append({**states(table)}))
    assert handed_back(rig.handle(batch((puts[0], 2)))) == []
    assert seen == [{"0.jpg": "failed"}]
    assert states(table)["0.jpg"] in {"classified", "referred"}


def test_what_says_so_tells_a_person_what_happened(rig, table, puts):
    found = []
    rig.break_call("s3.GetObject", lambda _: found.extend(table.everything()))
    rig.handle(batch((puts[0], 2)))
    (reason,) = found[0]["reasons"]
    assert reason["code"] == "unfinished"
    assert "has not reported back" in reason["sentence"]


def test_what_is_new_is_brought_to_its_end_before_a_suspect_is_touched(rig, table, puts, fetched):
    seen = []
    rig.break_call("s3.GetObject", lambda n: seen.append(set(states(table))) if n == 2 else None)
    rig.handle(batch((puts[0], 3), (puts[1], 1), (puts[2], 1)))
    assert fetched[-1] == "0.jpg"
    assert seen == [{"0.jpg", "1.jpg", "2.jpg"}]


def test_suspects_are_tried_one_after_the_other_the_least_suspicious_first(rig, table, puts, fetched, died_on):
    died_on(puts[0], 1)
    begun = []
    rig.break_call("s3.GetObject", lambda _: begun.append(sum(s == "failed" for s in states(table).values())))
    rig.handle(batch((puts[0], 3), (puts[1], 3), (puts[2], 2)))
    assert fetched == ["2.jpg", "1.jpg", "0.jpg"]
    assert begun == [2, 2, 1], "never more than one begun beside the one that had died"


def test_what_this_process_handed_back_itself_is_no_suspect(rig, table, puts):
    writes = rig.break_call("dynamodb.PutItem", lambda _: None)
    rig.break_call("s3.GetObject", lambda n: answer(403) if n == 0 else None)
    assert handed_back(rig.handle(batch((puts[0], 1)))) == ["message-0"]
    assert handed_back(rig.handle(batch((puts[0], 2)))) == []
    assert len(writes) == 1


def test_the_last_receive_is_recorded_as_begun_in_any_case(rig, table, puts):
    """Nothing else would leave a `failed` record of an image that ends this process, or outlasts the invocation."""
    seen = []
    rig.break_call("s3.GetObject", lambda n: seen.append(states(table)) if n else answer(403))
    rig.handle(batch((puts[0], 4)))
    rig.handle(batch((puts[0], 5)))
    assert seen == [{"0.jpg": "failed"}]


def test_the_last_receive_is_recorded_as_begun_before_any_neighbour_is_touched(rig, table, puts):
    """A neighbour that ends this process must not take that record along."""
    seen = []
    rig.break_call("s3.GetObject", lambda n: seen.append(states(table)) if n == 0 else None)
    assert handed_back(rig.handle(batch((puts[0], 5), (puts[1], 1)))) == []
    assert seen == [{"0.jpg": "failed"}]


def test_an_attempt_that_reports_an_error_leaves_no_record(rig, table, puts):
    rig.break_call("s3.GetObject", lambda _: answer(403))
    assert handed_back(rig.handle(batch((puts[0], 3)))) == ["message-0"]
    assert states(table) == {}


def test_without_a_record_that_says_so_nothing_is_tried(make_rig, table, puts, monkeypatch):
    from handler import patience

    monkeypatch.setattr(patience, "PASSING", frozenset())
    rig = make_rig()
    rig.break_call("dynamodb.PutItem", lambda _: answer(403, '{"__type": "x#AccessDeniedException"}'))
    fetches = rig.break_call("s3.GetObject", lambda _: None)
    assert handed_back(rig.handle(batch((puts[0], 2)))) == ["message-0"]
    assert not fetches


# An upload on which a process died, beside a neighbour: (its deaths, the neighbour's receives, whether it is tried).
COMPANY = [(0, 4, True), (0, 5, False), (1, 1, True), (1, 3, True), (1, 4, False), (2, 1, False), (2, 3, False)]


@pytest.mark.parametrize(("deaths", "receives", "tried"), COMPANY)
def test_neighbours_that_could_not_bear_another_death_are_spared_it(
    rig, table, puts, fetched, died_on, deaths, receives, tried
):
    if deaths:
        died_on(puts[0], deaths)
    rig.handle(batch((puts[1], 1)))  # the neighbour is done, and its message only has to be acknowledged
    fetched.clear()
    returned = handed_back(rig.handle(batch((puts[0], 4), (puts[1], receives))))
    assert fetched == (["0.jpg"] if tried else [])
    assert returned == ([] if tried else ["message-0"]), "the neighbour is done in any case"


@pytest.mark.parametrize("deaths", [1, 2, 3])
def test_alone_in_its_batch_it_is_tried_while_receives_are_left(rig, table, puts, died_on, deaths):
    died_on(puts[0], deaths)
    assert handed_back(rig.handle(batch((puts[0], 5)))) == []
    assert states(table)["0.jpg"] in {"classified", "referred"}


def test_what_is_not_tried_any_more_keeps_a_record_that_says_why(rig, table, puts, died_on):
    died_on(puts[0], 2)
    assert handed_back(rig.handle(batch((puts[0], 5), (puts[1], 1)))) == ["message-0"]
    found = {one["object"]["key"]: one for one in table.everything()}
    assert found["0.jpg"]["status"] == "failed"
    assert found["0.jpg"]["reasons"][0]["code"] == "worker_died"


def test_a_redrive_begins_anew(rig, table, puts, died_on):
    died_on(puts[0], 2)
    event = batch((puts[0], 1), (puts[1], 1), sent=datetime.now(UTC) + timedelta(seconds=5))
    assert handed_back(rig.handle(event)) == []
    assert states(table)["0.jpg"] in {"classified", "referred"}


def test_a_duplicate_does_not_hide_that_a_process_died(rig, table, puts, fetched, died_on):
    died_on(puts[0], 2)
    assert handed_back(rig.handle(batch((puts[0], 1), (puts[1], 1)))) == ["message-0"]
    assert fetched == ["1.jpg"]


def test_the_last_of_all_chances_is_taken_though_neighbours_have_none_left_either(rig, table, puts):
    """Every message of the batch is on its last receive: without an attempt all of them would be lost."""
    assert handed_back(rig.handle(batch(*((put, 5) for put in puts)))) == []
    assert set(states(table).values()) <= {"classified", "referred"}


def test_the_number_of_attempts_is_no_part_of_the_record(rig, table, puts, died_on):
    died_on(puts[0], 1)
    (found,) = table.everything()
    assert "attempts" not in found
    rig.handle(batch((puts[0], 2)))
    (item,) = table._client.scan(TableName="predictions")["Items"]
    assert "attempts" not in item, "an answer is as if nothing had happened"
