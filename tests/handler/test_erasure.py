"""What is deleted from the bucket is erased from the table, in whatever order the news comes; nothing else is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from s3_events import Put, handed_back, notification, queue_event, record
from sample_images import jpeg
from worker_rig import BOTH_CLOUDS, answer, items, states

from handler.intake.events import read_event
from handler.intake.messages import iso8601

EVENTS = Path(__file__).parents[2] / "events"


def now(seconds: float = 0) -> str:
    return iso8601(datetime.now(UTC) + timedelta(seconds=seconds))


def created(put: Put, seconds: float = -5) -> dict:
    return {"Records": [record(put, time=now(seconds))]}


def deleted(bucket, put: Put, event: str = "ObjectRemoved", *, version: str | None = None) -> dict:
    """Deletes `put`'s object, or one `version` of it for good; gives the event that S3 writes of that."""
    answer = bucket.client.delete_object(Bucket=put.bucket, Key=put.key, **({"VersionId": version} if version else {}))
    kind = "DeleteMarkerCreated" if answer.get("DeleteMarker") and not version else "Delete"
    gone = Put(put.key, "", answer.get("VersionId"), put.bucket)
    return {"Records": [record(gone, f"{event}:{kind}", now())]}


def left(table) -> list[str]:
    """The images that have a record; marks of removals are none."""
    return sorted(states(table))


class TestInAVersionedBucket:
    pytestmark = BOTH_CLOUDS

    @pytest.mark.parametrize("event", ["ObjectRemoved", "LifecycleExpiration"])
    def test_a_delete_marker_erases_every_version_before_it(self, house, bucket, table, event):
        puts = [bucket.put("a.jpg", jpeg(1)), bucket.put("a.jpg", jpeg(2)), bucket.put("b.jpg", jpeg(3))]
        house.handle(queue_event(*map(created, puts)))
        assert len(list(table.everything())) == 3
        assert handed_back(house.handle(queue_event(deleted(bucket, puts[0], event)))) == []
        assert left(table) == ["b.jpg"]

    @pytest.mark.parametrize("event", ["ObjectRemoved", "LifecycleExpiration"])
    def test_one_version_that_is_gone_takes_only_its_own_record(self, house, bucket, table, event):
        first, second = bucket.put("a.jpg", jpeg(1)), bucket.put("a.jpg", jpeg(2))
        house.handle(queue_event(created(first), created(second)))
        house.handle(queue_event(deleted(bucket, first, event, version=first.version)))
        assert [one["object"]["version"] for one in table.everything()] == [second.version]

    def test_records_of_every_model_are_erased(self, make_house, bucket, table, tmp_path):
        from tiny_bundle import write_tiny_bundle

        folder = write_tiny_bundle(tmp_path / "newer")
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, "version": "0.0.2"}))
        put = bucket.put("a.jpg", jpeg(1))
        make_house().handle(queue_event(created(put)))
        make_house(MODEL_BUNDLE=folder).handle(queue_event(created(put)))
        make_house().handle(queue_event(deleted(bucket, put)))
        assert left(table) == []

    @pytest.mark.parametrize("for_good", [True, False])
    def test_a_delete_that_overtakes_the_create(self, house, bucket, table, for_good):
        put = bucket.put("a.jpg", jpeg(1))
        upload = created(put)
        removal = deleted(bucket, put, version=put.version if for_good else None)
        assert handed_back(house.handle(queue_event(removal))) == []
        assert handed_back(house.handle(queue_event(upload))) == []
        assert left(table) == []

    @pytest.mark.parametrize("for_good", [True, False])
    def test_both_in_one_batch(self, house, bucket, table, for_good):
        put = bucket.put("a.jpg", jpeg(1))
        events = [created(put), deleted(bucket, put, version=put.version if for_good else None)]
        assert handed_back(house.handle(queue_event(*events, events[0]))) == []
        assert left(table) == []

    @pytest.mark.parametrize("for_good", [True, False])
    def test_a_delete_that_is_handled_while_the_create_is_under_way(self, make_house, bucket, table, for_good):
        """Between its inference and its write: the removal finds no record, and the write comes after."""
        put = bucket.put("a.jpg", jpeg(1))
        upload, house, other = created(put), make_house(), make_house()

        def remove(_):
            assert handed_back(other.handle(queue_event(removal))) == []

        removal = deleted(bucket, put, version=put.version if for_good else None)
        writes = house.break_call("dynamodb.PutItem", remove)
        assert handed_back(house.handle(queue_event(upload))) == []
        assert writes
        assert left(table) == []

    def test_an_upload_after_the_delete_keeps_its_record(self, house, bucket, table):
        old = bucket.put("a.jpg", jpeg(1))
        removal = deleted(bucket, old)
        new = bucket.put("a.jpg", jpeg(2))
        house.handle(queue_event(created(new, seconds=5), created(old), removal))
        assert [one["object"]["version"] for one in table.everything()] == [new.version]

    def test_what_was_restored_keeps_its_record(self, house, bucket, table):
        """The delete marker was itself deleted before its event came through."""
        put = bucket.put("a.jpg", jpeg(1))
        house.handle(queue_event(created(put)))
        removal = deleted(bucket, put)
        marker = removal["Records"][0]["s3"]["object"]["versionId"]
        restored = deleted(bucket, put, version=marker)
        house.handle(queue_event(removal, restored, created(put)))
        assert left(table) == ["a.jpg"]

    @pytest.mark.parametrize("time", ["2026-11-23T09:30:00Z", None])
    @pytest.mark.parametrize("told_first", ["the removal", "the upload"])
    def test_what_stands_above_the_delete_marker_keeps_its_record(self, house, bucket, table, told_first, time):
        """A source that gives whole seconds puts it before the marker, one that gives no time wherever one likes."""
        old = bucket.put("a.jpg", jpeg(1))
        house.handle(queue_event({"Records": [record(old, time="2026-11-23T09:29:00Z")]}))
        removal = deleted(bucket, old)
        removal["Records"][0]["eventTime"] = "2026-11-23T09:30:00.200Z"
        new = bucket.put("a.jpg", jpeg(2))
        events = [removal, {"Records": [record(new, time=time)]}]
        for event in events if told_first == "the removal" else events[::-1]:
            assert handed_back(house.handle(queue_event(event))) == []
        assert [one["object"]["version"] for one in table.everything()] == [new.version]

    def test_an_old_delete_marker_with_a_later_time_erases_nothing_that_stands(self, house, bucket, table):
        old = bucket.put("a.jpg", jpeg(1))
        removal = deleted(bucket, old)
        new = bucket.put("a.jpg", jpeg(2))
        removal["Records"][0]["eventTime"] = now(60)
        house.handle(queue_event(created(new)))
        house.handle(queue_event(removal, created(new)))
        assert [one["object"]["version"] for one in table.everything()] == [new.version]

    @pytest.mark.parametrize("kind", ["ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated"])
    def test_a_forged_removal_erases_nothing(self, house, bucket, table, kind):
        put = bucket.put("a.jpg", jpeg(1))
        house.handle(queue_event(created(put)))
        house.handle(queue_event({"Records": [record(put, kind, now(60))]}, created(put)))
        assert left(table) == ["a.jpg"]


class TestWithoutVersions:
    pytestmark = BOTH_CLOUDS

    def test_a_delete_erases_what_was_there(self, house, unversioned_bucket, table):
        old, new = unversioned_bucket.put("a.jpg", jpeg(1)), unversioned_bucket.put("a.jpg", jpeg(2))
        house.handle(queue_event(created(old), created(new)))
        assert len(list(table.everything())) == 2
        house.handle(queue_event(deleted(unversioned_bucket, new)))
        assert left(table) == []

    def test_a_delete_that_overtakes_the_create(self, house, unversioned_bucket, table):
        put = unversioned_bucket.put("a.jpg", jpeg(1))
        upload, removal = created(put), deleted(unversioned_bucket, put)
        house.handle(queue_event(removal))
        house.handle(queue_event(upload))
        assert left(table) == []

    def test_the_same_content_that_came_back_keeps_its_record(self, house, unversioned_bucket, table):
        put = unversioned_bucket.put("a.jpg", jpeg(1))
        house.handle(queue_event(created(put)))
        removal = deleted(unversioned_bucket, put)
        assert unversioned_bucket.put("a.jpg", jpeg(1)) == put
        house.handle(queue_event(removal, created(put, seconds=5), created(put)))
        assert left(table) == ["a.jpg"]

    def test_an_overwrite_is_no_deletion(self, house, unversioned_bucket, table):
        old = unversioned_bucket.put("a.jpg", jpeg(1))
        house.handle(queue_event(created(old)))
        new = unversioned_bucket.put("a.jpg", jpeg(2))
        house.handle(queue_event(created(new, seconds=5)))
        assert len(list(table.everything())) == 2


def test_eventbridge_tells_of_deletions_too(house, bucket, table):
    put = bucket.put("a.jpg", jpeg(1))
    house.handle(queue_event(created(put)))
    marker = bucket.client.delete_object(Bucket=put.bucket, Key=put.key)["VersionId"]
    detail = {"bucket": {"name": put.bucket}, "object": {"key": put.key, "version-id": marker}}
    detail |= {"reason": "DeleteObject", "deletion-type": "Delete Marker Created"}
    event = {"source": "aws.s3", "detail-type": "Object Deleted", "time": now(), "detail": detail}
    house.handle(queue_event(event))
    assert left(table) == []


def test_switched_off_records_stay_and_marks_are_not_even_looked_for(make_house, bucket, table):
    house = make_house(ERASE_REMOVED="false")
    put = bucket.put("a.jpg", jpeg(1))
    lookups = house.break_call("dynamodb.BatchGetItem", lambda _: None)
    house.handle(queue_event(created(put)))
    assert handed_back(house.handle(queue_event(deleted(bucket, put)))) == []
    assert left(table) == ["a.jpg"]
    assert len(lookups) == 1


def test_erased_leaves_no_name_behind(house, bucket, table):
    put = bucket.put("Jane-Doe.jpg", jpeg(1))
    house.handle(queue_event(created(put)))
    house.handle(queue_event(deleted(bucket, put)))
    (mark,) = items()
    assert "Jane" not in json.dumps(mark)
    assert set(mark) == {"image", "version", "removed_at", "marker", "expires_at"}
    month = timedelta(days=57).total_seconds()
    assert abs(int(mark["expires_at"]["N"]) - datetime.now(UTC).timestamp() - month) < 600


@pytest.mark.parametrize("call", ["s3.HeadObject", "dynamodb.Query", "dynamodb.DeleteItem", "dynamodb.PutItem"])
def test_a_removal_that_meets_a_fault_comes_again(house, bucket, table, call):
    put = bucket.put("a.jpg", jpeg(1))
    house.handle(queue_event(created(put)))
    event = queue_event(deleted(bucket, put))
    house.break_call(call, lambda n: answer(403, '{"__type": "x#AccessDeniedException"}') if n == 0 else None)
    assert handed_back(house.rig.handle(event)) == [], "the worker has passed it on"
    assert len(house.clean()) == 1
    assert left(table) == ["a.jpg"]
    assert house.clean() == []
    assert left(table) == []


@pytest.mark.parametrize("queue", ["", "https://sqs.eu-central-1.amazonaws.com/123456789012/none"])
def test_a_removal_that_cannot_be_passed_on_comes_again(house, make_rig, bucket, table, queue):
    put = bucket.put("a.jpg", jpeg(1))
    house.handle(queue_event(created(put)))
    event = queue_event(deleted(bucket, put), put)
    assert handed_back(make_rig(REMOVALS_QUEUE_URL=queue).handle(event)) == ["message-0"], "and its neighbour is done"
    assert house.clean() == []
    assert left(table) == ["a.jpg"]
    assert handed_back(house.handle(event)) == []
    assert left(table) == []


@pytest.mark.parametrize("receives", [1, 5])
def test_so_does_an_upload_whose_removal_came_first(house, make_rig, bucket, table, receives):
    put = bucket.put("a.jpg", jpeg(1))
    upload = created(put)
    house.handle(queue_event(deleted(bucket, put)))
    event = queue_event(upload, receives=receives)
    assert handed_back(make_rig(REMOVALS_QUEUE_URL="").handle(event)) == ["message-0"]
    assert left(table) == ["a.jpg"]
    assert handed_back(house.handle(event)) == []
    assert left(table) == []


def test_the_worker_alone_erases_nothing(house, bucket, table):
    """Its role could not: it decodes strangers' files."""
    put, other = bucket.put("a.jpg", jpeg(1)), bucket.put("b.jpg", jpeg(2))
    house.rig.handle(queue_event(created(put)))
    denied = answer(400, '{"__type": "x#AccessDeniedException"}')
    calls = [house.break_call(f"dynamodb.{name}", lambda _: denied) for name in ("DeleteItem", "Query", "UpdateItem")]
    events = [deleted(bucket, put), created(other), deleted(bucket, other)]
    assert handed_back(house.rig.handle(queue_event(*events))) == []
    assert left(table) == ["a.jpg", "b.jpg"]
    assert calls == [[], [], []]


def test_an_upload_whose_marks_cannot_be_read_comes_again(house, bucket, table):
    put = bucket.put("a.jpg", jpeg(1))
    upload, removal = created(put), deleted(bucket, put)
    house.handle(queue_event(removal))
    house.break_call("dynamodb.BatchGetItem", lambda n: answer(400, '{"__type": "x#AccessDenied"}') if n == 1 else None)
    assert handed_back(house.handle(queue_event(upload))) == ["message-0"]
    assert handed_back(house.handle(queue_event(upload))) == []
    assert left(table) == []


@pytest.mark.parametrize("readable", [True, False])
def test_nor_does_a_failed_record_stay_of_what_was_deleted(make_house, bucket, table, readable, monkeypatch):
    """It holds the key, and nothing may come after it: its dead letter may be purged."""
    from handler import aws

    monkeypatch.setattr(aws, "PASSING", frozenset())
    house = make_house()
    put = bucket.put("a.jpg", jpeg(1))
    upload, removal = created(put), deleted(bucket, put, version=put.version)
    house.handle(queue_event(removal))
    house.break_call("s3.GetObject", lambda _: answer(403))
    denied = answer(400, '{"__type": "x#AccessDenied"}')
    house.break_call("dynamodb.BatchGetItem", lambda n: None if readable or n == 0 else denied)
    assert handed_back(house.handle(queue_event(upload, receives=5))) == ["message-0"]
    assert left(table) == ([] if readable else ["a.jpg"])


def test_a_removal_without_a_time_is_not_understood(house, table):
    event = {"Records": [record(Put("a.jpg", "", "v"), "ObjectRemoved:Delete", "yesterday")]}
    assert handed_back(house.handle(queue_event(event))) == ["message-0"]


def test_the_latest_of_several_removals_counts(house, bucket, table):
    put = bucket.put("a.jpg", jpeg(1))
    removal = deleted(bucket, put)
    earlier = json.loads(json.dumps(removal))
    earlier["Records"][0]["eventTime"] = now(-3600)
    house.handle(queue_event(removal))
    house.handle(queue_event(earlier))
    house.handle(queue_event(created(put)))
    assert left(table) == []


def test_the_event_file_is_read_as_a_removal():
    (message,) = read_event(json.loads((EVENTS / "s3-removed.json").read_text())).messages
    (removal,) = message.removals
    assert (removal.key, removal.marker) == ("clinic/lesion-1.jpg", True)
    assert removal.removed_at == "2026-11-23T09:30:00.125Z"


def test_removals_beside_uploads_of_a_notification(house, bucket, table):
    first, second = bucket.put("a.jpg", jpeg(1)), bucket.put("b.jpg", jpeg(2))
    house.handle(queue_event(created(first)))
    mixed = {"Records": [*deleted(bucket, first)["Records"], *notification(second)["Records"]]}
    assert handed_back(house.handle(queue_event(mixed))) == []
    assert left(table) == ["b.jpg"]


THROTTLED = answer(400, '{"__type": "x#ProvisionedThroughputExceededException"}')
SLOW_DOWN = answer(503, "<Error><Code>SlowDown</Code></Error>")


@pytest.mark.parametrize(
    ("call", "times", "fault"),
    [
        ("dynamodb.PutItem", 4, THROTTLED),
        ("dynamodb.Query", 4, THROTTLED),
        ("dynamodb.DeleteItem", 4, THROTTLED),
        ("s3.HeadObject", 2, SLOW_DOWN),
    ],
)
def test_a_throttled_removal_is_waited_for(house, bucket, table, call, times, fault):
    put = bucket.put("a.jpg", jpeg(1))
    house.handle(queue_event(created(put)))
    requests = house.break_call(call, lambda number: fault if number < times else None)
    assert handed_back(house.handle(queue_event(deleted(bucket, put)))) == []
    assert left(table) == []
    then = 2 if call == "s3.HeadObject" else 1  # for the delete marker, and for what may stand above it
    assert len(requests) == times + then
