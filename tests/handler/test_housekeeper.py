"""The housekeeper: no message ends without a record of each of its uploads, and it alone erases."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import pytest
from s3_events import Put, message, notification, queue_event, record
from sample_images import jpeg
from worker_rig import Countdown, House, answer, break_client, counted, states

from handler.errors import ErrorCode, TryAgainError, UnreadableMessageError
from handler.intake.events import read_event
from handler.intake.messages import Removal, Upload, removal_body
from handler.store.record import Finding, build_record

DENIED = answer(400, '{"__type": "x#AccessDeniedException"}')


def sent(house: House, body: object, **attributes) -> None:
    """A message whose receives are used up."""
    text = body if isinstance(body, str) else json.dumps(notification(body) if isinstance(body, Put) else body)
    house.sqs.send_message(QueueUrl=house.queue, MessageBody=text, **attributes)


def failed(house: House, put: Put, *, model: str | None = None, code: str = "storage_unavailable", now=None) -> dict:
    """The record of an upload that a worker could explain."""
    bundle = house.rig.classifier.bundle
    bundle = dataclasses.replace(bundle, version=model) if model else bundle
    upload = Upload(put.bucket, put.key, put.version, put.etag, None)
    return {**build_record(Finding(upload, TryAgainError(ErrorCode(code), "Why.")), bundle, "request", now)}


def test_an_upload_without_a_record_gets_one_and_its_message_is_a_dead_letter(house, bucket, table, capsys):
    put = bucket.put("a.jpg", jpeg(1))
    attribute = {"source": {"DataType": "String", "StringValue": "clinic"}}
    sent(house, put, MessageAttributes=attribute)
    counted(capsys)
    assert house.clean() == []
    (found,) = table.everything()
    assert (found["status"], found["reasons"][0]["code"]) == ("failed", "given_up")
    assert (found["object"]["key"], found["object"]["version"]) == ("a.jpg", put.version)
    (letter,) = house.buried()
    assert json.loads(letter["Body"]) == notification(put)
    assert letter["MessageAttributes"] == attribute
    assert counted(capsys)["Failed"] == [1]


def test_a_redrive_of_it_is_answered(house, bucket, table):
    put = bucket.put("a.jpg", jpeg(1))
    sent(house, put)
    house.clean()
    house.handle(queue_event(put))
    assert states(table)["a.jpg"] in {"classified", "referred"}


def test_what_a_worker_wrote_stays(house, bucket, table):
    put = bucket.put("a.jpg", jpeg(1))
    table.put(failed(house, put), attempts=2)
    sent(house, put)
    house.clean()
    (found,) = table.everything()
    assert found["reasons"][0]["code"] == "storage_unavailable"
    assert len(house.buried()) == 1


def test_an_upload_that_has_its_answer_is_no_dead_letter(house, bucket, table):
    """A worker that died before it could say so leaves such messages."""
    answered, unanswered = bucket.put("a.jpg", jpeg(1)), bucket.put("b.jpg", jpeg(2))
    house.rig.handle(queue_event(answered))
    before = list(table.everything())
    sent(house, answered)
    assert house.clean() == []
    assert list(table.everything()) == before
    assert house.buried() == []
    sent(house, notification(answered, unanswered))
    assert house.clean() == []
    assert len(house.buried()) == 1, "one of them is not"
    assert states(table)["b.jpg"] == "failed"


@pytest.mark.parametrize(("when", "counts"), [("2999-01-01", True), ("2026-01-01", False)])
def test_a_record_of_another_model_counts_if_it_is_about_this_message(house, bucket, table, when, counts):
    """During a roll-out a worker of either model may have explained it; but a backfill asks for the new one."""
    put = bucket.put("a.jpg", jpeg(1))
    table.put(failed(house, put, model="old", now=datetime.fromisoformat(when).replace(tzinfo=UTC)))
    sent(house, put)
    house.clean()
    own = house.rig.classifier.bundle.version
    assert {found["model"]["version"] for found in table.everything()} == ({"old"} if counts else {"old", own})
    assert len(house.buried()) == 1


@pytest.mark.parametrize("has_record", [True, False])
def test_nothing_stays_of_an_upload_that_was_removed(house, bucket, table, has_record):
    """Its removal came first, and no worker got as far as looking."""
    put = bucket.put("a.jpg", jpeg(1))
    bucket.client.delete_object(Bucket=put.bucket, Key=put.key, VersionId=put.version)
    sent(house, {"Records": [record(Put("a.jpg", "", put.version), "ObjectRemoved:Delete")]})
    house.clean()
    if has_record:
        table.put(failed(house, put))
    sent(house, put)
    assert house.clean() == []
    assert states(table) == {}
    assert house.buried() == []


@pytest.mark.parametrize(
    "body",
    [
        "no JSON",
        {"no": "event"},
        {"Records": [record(Put("a.jpg", "", "v", "another-bucket"), "ObjectRemoved:Delete")]},
    ],
)
def test_what_nobody_understands_is_a_dead_letter_at_once(make_house, table, body):
    house = make_house(UPLOADS_BUCKET="dermbatch-images")
    sent(house, body)
    assert house.clean() == []
    assert len(house.buried()) == 1


@pytest.mark.parametrize("call", ["PutItem", "Query", "BatchGetItem"])
def test_a_message_that_meets_a_fault_comes_again_and_its_neighbour_does_not(house, bucket, table, call):
    first, second = bucket.put("a.jpg", jpeg(1)), bucket.put("b.jpg", jpeg(2))
    sent(house, first)
    house.break_call(f"dynamodb.{call}", lambda n: DENIED if n == 0 else None)
    (body,) = house.clean()
    assert json.loads(body) == notification(first)
    assert house.buried() == [], "not before its record is there"
    sent(house, second)
    assert house.clean() == []
    assert states(table) == {"a.jpg": "failed", "b.jpg": "failed"}
    assert len(house.buried()) == 2


def test_a_letter_that_sqs_does_not_take_comes_again(house, bucket, table):
    put = bucket.put("a.jpg", jpeg(1))
    sent(house, put)
    break_client(house.sqs, "sqs.SendMessage", lambda n: answer(403) if n == 0 else None)
    assert len(house.clean()) == 1
    assert states(table) == {"a.jpg": "failed"}
    assert house.clean() == []
    assert len(house.buried()) == 1


def test_a_message_for_which_there_is_no_time_comes_again(house, bucket, table):
    put = bucket.put("a.jpg", jpeg(1))
    sent(house, put)
    assert len(house.clean(Countdown(0))) == 1
    assert (states(table), house.buried()) == ({}, []), "nothing of it was begun"
    assert house.clean() == []
    assert states(table) == {"a.jpg": "failed"}
    assert len(house.buried()) == 1


def test_switched_off_removals_are_done_and_records_stay(make_house, bucket, table):
    house = make_house(ERASE_REMOVED="false")
    put = bucket.put("a.jpg", jpeg(1))
    house.handle(queue_event(put))
    bucket.client.delete_object(Bucket=put.bucket, Key=put.key, VersionId=put.version)
    sent(house, {"Records": [record(Put("a.jpg", "", put.version), "ObjectRemoved:Delete")]})
    assert house.clean() == []
    assert len(states(table)) == 1
    assert house.buried() == []


@pytest.mark.parametrize(("ignored", "letters"), [("true", 0), ("false", 1)])
def test_system_files_are_what_they_are_to_the_worker(make_house, bucket, table, ignored, letters):
    house = make_house(IGNORE_SYSTEM_FILES=ignored)
    sent(house, bucket.put("photos/.DS_Store", b"x"))
    assert house.clean() == []
    assert (len(house.buried()), len(states(table))) == (letters, letters)


def test_an_event_that_comes_from_no_queue_is_refused(house):
    with pytest.raises(UnreadableMessageError, match="from its queues only"):
        house.housekeeper.handle(notification(Put("a.jpg", "0" * 32)), Countdown(60))
    stranger = {"Records": [{**message(0, "{}"), "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:no-such"}]}
    assert house.housekeeper.handle(stranger, Countdown(60))["batchItemFailures"] == [{"itemIdentifier": "message-0"}]


@pytest.mark.parametrize(
    "removal",
    [
        Removal("b-1", "a+b c/%20é🔬\n.jpg", "v1", marker=False, removed_at="2026-11-23T09:30:00.125Z"),
        Removal("b-1", "a.jpg", "v1", marker=True, removed_at="2026-11-23T09:30:00.000Z"),
        Removal("b-1", "a.jpg", None, marker=True, removed_at="2026-11-23T09:30:00.125Z"),
        Removal("b-1", "a.jpg", None, marker=False, removed_at="2026-11-23T09:30:00.125Z"),
    ],
)
def test_a_removal_that_is_passed_on_is_read_as_it_was(removal):
    (read,) = read_event(json.loads(removal_body(removal))).messages
    assert read.removals == (removal,)
