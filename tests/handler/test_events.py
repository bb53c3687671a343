"""Any event becomes the uploads that it speaks of, and what it does not say touches no other message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from s3_events import BUCKET, Put, message, notification, queue_event, record

from handler.intake.events import read_event

EVENTS = Path(__file__).parents[2] / "events"


def read_file(name: str):
    return read_event(json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8")))


def keys(batch) -> list[list[str]]:
    return [[upload.key for upload in message.uploads] for message in batch.messages]


def test_every_record_of_every_message_is_read_in_order():
    batch = read_file("sqs-many-records")
    assert batch.partial_response
    assert keys(batch) == [
        ["clinic/lesion-1.jpg", "clinic/lesion-2.jpg", "clinic/lesion-3.jpg"],
        ["clinic/lesion-4.jpg"],
        ["clinic/lesion-1.jpg"],
    ]


def test_keys_are_decoded_once_and_as_their_source_encodes_them():
    assert keys(read_file("sqs-ugly-keys")) == [
        [key]
        for key in (
            "a+b%20c.jpg",
            "a b c.jpg",
            "a/b%2Fc.jpg",
            "皮膚/été.jpg",
            "röntgen🔬.jpg",
            "quote\"and'apostrophe.jpg",
            "semicolon;ampersand&question?hash#.jpg",
            "folder//double.jpg",
            "tab\tnewline\n.jpg",
            ".hidden",
            "no-extension",
            "+%=",
        )
    ]
    assert keys(read_file("s3-direct")) == [["clinic/unversioned lesion.jpg"]]
    assert keys(read_file("eventbridge")) == [["clinic/a+b %20c.jpg"]], "EventBridge does not encode keys"


def test_an_upload_says_which_version_it_is():
    upload = read_file("eventbridge").messages[0].uploads[0]
    assert (upload.bucket, upload.version, upload.etag) == (BUCKET, "ExampleVersionId0000000000000001", f"{1:032x}")
    assert upload.object_version == upload.version
    assert upload.uploaded_at == "2026-11-23T09:30:00.000Z"

    unversioned = read_file("s3-direct").messages[0].uploads[0]
    assert unversioned.version is None
    assert unversioned.object_version == unversioned.etag == f"{1:032x}"


def test_the_null_version_is_told_by_its_etag_because_an_overwrite_reuses_it():
    (upload,) = read_event(notification(Put("a.jpg", "0" * 32, "null"))).messages[0].uploads
    assert upload.version is None
    assert upload.object_version == "0" * 32


def test_eventbridge_through_a_queue_is_read_too():
    body = json.loads((EVENTS / "eventbridge.json").read_text())
    assert keys(read_event(queue_event(body))) == [["clinic/a+b %20c.jpg"]]


def test_what_is_no_upload_is_done():
    (only,) = read_file("s3-test-event").messages
    assert not only.uploads
    assert not only.problems


@pytest.mark.parametrize("name", ["ObjectTagging:Put", "ObjectRestore:Post", "ReducedRedundancyLostObject"])
def test_events_of_other_kinds_are_done(name):
    (only,) = read_event({"Records": [record(Put("a.jpg", "a" * 32), name)]}).messages
    assert (only.uploads, only.removals, only.problems) == ((), (), ())


def test_a_message_that_is_not_understood_spoils_no_other():
    batch = read_file("sqs-not-an-upload")
    assert [len(message.problems) for message in batch.messages] == [1, 1, 1, 0]
    assert keys(batch) == [[], [], [], ["clinic/lesion-1.jpg"]]


def test_one_bad_record_leaves_the_others_of_its_message():
    good = Put("good.jpg", "a" * 32)
    (only,) = read_event(queue_event({"Records": [record(good), {"eventName": 7}, record(good)]})).messages
    assert len(only.uploads) == 2
    assert len(only.problems) == 1


@pytest.mark.parametrize(
    "put",
    [
        Put("", "a" * 32),
        Put("k" * 1025, "a" * 32),
        Put("é" * 513, "a" * 32),
        Put("a.jpg", ""),
        Put("a.jpg", "e" * 513),
        Put("a.jpg", "a" * 32, "v" * 513),
        Put("a.jpg", "line\nbreak"),
        Put("a.jpg", "a" * 32, bucket="arn:aws:s3:eu-central-1:1:accesspoint/other"),
        Put("a.jpg", "a" * 32, bucket="../secrets"),
        Put("a.jpg", "a" * 32, bucket=""),
    ],
    ids=lambda put: f"{put.bucket[:12]}/{put.key[:4]}-{put.etag[:4]}-{(put.version or '')[:4]}",
)
def test_what_could_name_no_object_of_s3_is_refused(put):
    (only,) = read_event(notification(put)).messages
    assert not only.uploads
    assert len(only.problems) == 1


def test_half_a_surrogate_pair_is_no_key():
    event = {"source": "aws.s3", "detail-type": "Object Created"}
    event["detail"] = {"bucket": {"name": BUCKET}, "object": {"key": "\ud83d", "etag": "a" * 32}}
    (only,) = read_event(event).messages
    assert not only.uploads
    assert only.problems


def test_the_longest_key_of_s3_is_read():
    put = Put("é" * 512, "a" * 32)
    assert keys(read_event(notification(put))) == [[put.key]]


def test_events_that_speak_of_one_upload_make_it_once():
    put = Put("a.jpg", "a" * 32, "v1")
    first, second = record(put, time="2026-11-23T09:30:00Z"), record(put, time="2026-11-23T09:31:00Z")
    (only,) = read_event({"Records": [first, second]}).messages
    assert len(set(only.uploads)) == 1


def test_receives_are_counted_where_the_queue_tells_them():
    batch = read_event({"Records": [message(0, "{}", receives=3), {**message(1, "{}"), "attributes": {}}]})
    assert [message.receives for message in batch.messages] == [3, 0]


def test_a_time_without_sense_is_left_out():
    put = Put("a.jpg", "a" * 32)
    for time in ("yesterday", "", "0001-01-01T00:00:00+14:00"):
        (upload,) = read_event({"Records": [record(put, time=time)]}).messages[0].uploads
        assert upload.uploaded_at is None


def test_ten_thousand_records_in_one_message():
    (only,) = read_event(queue_event({"Records": [record(Put(f"{i}.jpg", "a" * 32)) for i in range(10_000)]})).messages
    assert len(only.uploads) == 10_000
