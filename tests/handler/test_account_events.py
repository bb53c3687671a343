"""Events as they come in real accounts: by way of SNS, of restored objects, and of what nobody uploaded."""

from __future__ import annotations

import json

import pytest
from s3_events import BUCKET, Put, handed_back, message, notification, queue_event, record
from sample_images import jpeg
from worker_rig import BOTH_CLOUDS, counted, states

from handler.errors import TryAgainError, UnreadableMessageError
from handler.intake.events import read_event

TEST_EVENT = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET}
ONE, OTHER = Put("a b.jpg", "a" * 32, "v1"), Put("c.jpg", "c" * 32, "v2")


def by_topic(body: object) -> dict:
    """As SNS puts it into a queue, without raw delivery."""
    text = body if isinstance(body, str) else json.dumps(body)
    return {"Type": "Notification", "TopicArn": "arn:aws:sns:eu-central-1:123456789012:uploads", "Message": text}


def from_topic(*bodies: object) -> dict:
    """As SNS invokes the function."""
    return {"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": by_topic(body)} for body in bodies]}


def eventbridge(kind: str, put: Put, **facts: object) -> dict:
    named = {"key": put.key, "etag": put.etag, "version-id": put.version, **facts}
    return {"source": "aws.s3", "detail-type": kind, "detail": {"bucket": {"name": put.bucket}, "object": named}}


def keys(event: object) -> list[str]:
    return [upload.key for message in read_event(event).messages for upload in message.uploads]


class TestBySNS:
    @pytest.mark.parametrize("envelope", [by_topic, lambda body: body], ids=["wrapped", "raw delivery"])
    def test_into_a_queue_is_read_as_without_it(self, envelope):
        batch = read_event(queue_event(envelope(notification(ONE, OTHER)), envelope(notification(ONE))))
        assert batch.partial_response
        assert [[up.key for up in one.uploads] for one in batch.messages] == [["a b.jpg", "c.jpg"], ["a b.jpg"]]
        assert not any(one.problems for one in batch.messages)

    def test_its_test_event_is_done(self):
        (only,) = read_event(queue_event(by_topic(TEST_EVENT))).messages
        assert (only.uploads, only.problems) == ((), ())

    def test_from_eventbridge_and_of_removals_too(self):
        gone = {"Records": [record(ONE, "ObjectRemoved:Delete")]}
        batch = read_event(queue_event(by_topic(eventbridge("Object Created", ONE)), by_topic(gone)))
        assert [len(one.uploads) for one in batch.messages] == [1, 0]
        assert [len(one.removals) for one in batch.messages] == [0, 1]

    @pytest.mark.parametrize("text", ["no json", "null", "[" * 100_000, json.dumps(by_topic("{}")), 7, None, ["x"]])
    def test_what_is_in_no_known_envelope_is_a_problem_of_its_own_message(self, text):
        body = {"Type": "Notification", "Message": text}
        first, second = read_event(queue_event(body, by_topic(notification(ONE)))).messages
        assert (len(first.problems), first.uploads) == (1, ())
        assert len(second.uploads) == 1

    @BOTH_CLOUDS
    def test_to_the_function_is_recorded(self, rig, bucket, table):
        puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(3)]
        event = from_topic(notification(*puts[:2]), notification(puts[2]), TEST_EVENT)
        assert handed_back(rig.handle(event)) == []
        assert set(states(table)) == {"0.jpg", "1.jpg", "2.jpg"}

    def test_to_the_function_raises_for_what_must_come_again_behind_all_that_can_be_done(self, rig, bucket, table):
        event = from_topic(
            notification(Put("x.jpg", "a" * 32, bucket="not-ours")), notification(bucket.put("a", jpeg(1)))
        )
        with pytest.raises(TryAgainError, match="1 of 2 uploads"):
            rig.handle(event)
        assert list(states(table)) == ["a"]

    @pytest.mark.parametrize("bad", ["no json", "{}", notification(Put("x.jpg", "a" * 32, bucket="somebody-elses"))])
    def test_to_the_function_raises_for_what_nobody_understands(self, make_rig, bucket, table, bad):
        """Success would be the end of it; what raises comes again, and ends where SNS keeps failures."""
        rig = make_rig(UPLOADS_BUCKET=BUCKET)
        with pytest.raises(UnreadableMessageError):
            rig.handle(from_topic(bad, notification(bucket.put("a", jpeg(1)))))
        assert list(states(table)) == ["a"]


class TestRestored:
    @pytest.mark.parametrize("event", ["ObjectRestore:Completed", "s3:ObjectRestore:Completed"])
    def test_an_object_is_an_upload(self, event):
        assert keys({"Records": [record(ONE, event) | {"glacierEventData": {}}]}) == ["a b.jpg"]

    def test_an_object_told_by_eventbridge_is_an_upload(self):
        assert keys(eventbridge("Object Restore Completed", ONE)) == ["a b.jpg"]

    @pytest.mark.parametrize("event", ["ObjectRestore:Post", "ObjectRestore:Delete"])
    def test_a_restore_that_begins_or_expires_is_none(self, event):
        assert keys({"Records": [record(ONE, event)]}) == []
        assert keys(eventbridge("Object Restore Initiated", ONE)) == []


NO_UPLOADS = [
    "dir/", "clinic/2026/", "clinic_$folder$", "a/$folder$", "a/dir_$folder$", ".DS_Store", "a/.DS_Store", "Thumbs.db",
    "a/THUMBS.DB", "desktop.ini", "a/Desktop.ini", "._IMG_0001.jpg", "a/._x", "__MACOSX/a/._x.jpg",
]  # fmt: skip
UPLOADS = ["DS_Store", "a.DS_Store", "._dir/a.jpg", ".hidden", "thumbs.db.jpg", "$folder$/a.jpg", "_.jpg", "a._b.jpg"]


def sized(put: Put, size: object) -> dict:
    one = record(put)
    one["s3"]["object"]["size"] = size
    return {"Records": [one]}


class TestWhatNobodyUploaded:
    @pytest.mark.parametrize("key", NO_UPLOADS)
    def test_is_no_upload_in_any_form(self, key):
        put = Put(key, "a" * 32)
        for event in (sized(put, 0), eventbridge("Object Created", put, size=0), queue_event(by_topic(sized(put, 0)))):
            (only,) = read_event(event).messages
            assert (only.uploads, only.problems, only.ignored) == ((), (), 1)

    @pytest.mark.parametrize("key", UPLOADS)
    def test_a_name_that_only_looks_alike_is_one(self, key):
        assert keys(notification(Put(key, "a" * 32))) == [key]

    @pytest.mark.parametrize("key", ["dir/", "a//"])
    def test_a_picture_under_the_name_of_a_folder_is_one(self, key):
        assert keys(sized(Put(key, "a" * 32), 30_000)) == [key]

    def test_its_removal_is_still_one(self):
        (only,) = read_event({"Records": [record(Put("dir/", "a" * 32), "ObjectRemoved:Delete")]}).messages
        assert len(only.removals) == 1, "its record, from before they were ignored, is erased"

    @BOTH_CLOUDS
    def test_leaves_no_record_and_one_counted_line_in_the_log(self, rig, bucket, table, log, capsys):
        puts = [bucket.put(key, b"") for key in NO_UPLOADS]
        counted(capsys)
        assert handed_back(rig.handle(queue_event(*(sized(put, 0) for put in puts), bucket.put("a", jpeg(1))))) == []
        assert list(states(table)) == ["a"]
        lines = [line for line in log() if "ignored" in line["message"]]
        assert [line["count"] for line in lines] == [len(NO_UPLOADS)]
        assert counted(capsys)["Ignored"] == [len(NO_UPLOADS)]

    def test_is_answered_like_any_file_when_that_is_wanted(self, make_rig, bucket, table):
        rig = make_rig(IGNORE_SYSTEM_FILES="false")
        puts = [bucket.put(key, b"") for key in ("dir/", ".DS_Store")]
        rig.handle(queue_event(*puts))
        assert states(table) == {"dir/": "rejected", ".DS_Store": "rejected"}


def test_a_message_says_when_it_was_first_received():
    one, other = message(0, notification(ONE)), message(1, notification(OTHER))
    one["attributes"]["ApproximateFirstReceiveTimestamp"] = "1764064800125"
    other["attributes"]["ApproximateFirstReceiveTimestamp"] = "yesterday"
    assert [m.first_received_at for m in read_event({"Records": [one, other]}).messages] == [1764064800.125, None]
