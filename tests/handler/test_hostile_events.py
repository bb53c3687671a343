"""Events that somebody forged, or that nobody would expect: refused, or answered within bounds."""

from __future__ import annotations

import json
import time

import pytest
from s3_events import BUCKET, Put, handed_back, notification, queue_event, record
from sample_images import jpeg
from worker_rig import BOTH_CLOUDS, Context, Countdown, counted, states

from handler import telemetry

KEYS = [
    "皮膚/été.jpg",
    "röntgen🔬.jpg",
    "e\u0301 is not é.jpg",
    "\u202egpj.txt",
    "null\x00byte",
    "tab\tnewline\nbell\x07escape\x1b[2J",
    "../../etc/passwd",
    "a/../b.jpg",
    "./.",
    "//",
    "%2e%2e%2f",
    "' OR 1=1 --",
    '{"$ne": null}',
    "#0#1",
    "k" * 1024,
    "é" * 512,
]


EVENTS = (
    "ObjectCreated:Put",
    "ObjectRemoved:Delete",
    "ObjectRemoved:DeleteMarkerCreated",
    "LifecycleExpiration:Delete",
)


class TestForeignBuckets:
    @pytest.fixture
    def guarded(self, make_rig):
        return make_rig(UPLOADS_BUCKET=BUCKET)

    @pytest.fixture
    def calls(self, guarded) -> list[str]:
        """Every request that leaves the worker."""
        made: list[str] = []
        for client in (guarded.s3, guarded.dynamodb):
            client.meta.events.register("before-call", lambda model, **_: made.append(model.name))
        return made

    def test_are_refused_before_anything_is_read_or_written(self, guarded, bucket, table, calls):
        bucket.client.create_bucket(
            Bucket="somebody-elses", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        bucket.client.put_object(Bucket="somebody-elses", Key="a.jpg", Body=jpeg(1))
        forged = [record(Put("a.jpg", "a" * 32, bucket="somebody-elses"), kind) for kind in EVENTS]
        assert handed_back(guarded.handle(queue_event(*({"Records": [one]} for one in forged)))) == [
            f"message-{n}" for n in range(len(EVENTS))
        ]
        assert calls == []
        assert states(table) == {}

    def test_do_not_hold_up_what_stands_beside_them(self, guarded, bucket, table):
        put = bucket.put("a.jpg", jpeg(1))
        event = queue_event(notification(Put("x", "a" * 32, bucket="somebody-elses"), put), put)
        assert handed_back(guarded.handle(event)) == ["message-0"]
        assert set(states(table)) == {"a.jpg"}

    def test_are_counted_and_not_named_in_the_log(self, guarded, table, log, capsys):
        counted(capsys)
        guarded.handle(queue_event(Put("Jane-Doe.jpg", "a" * 32, bucket="somebody-elses")))
        assert counted(capsys)["ForeignBucket"] == [1]
        assert "not this worker's" in json.dumps(log())
        assert "Jane-Doe" not in json.dumps(log())
        assert "somebody-elses" not in json.dumps(log())

    def test_names_that_only_look_alike_are_foreign(self, guarded, table, calls):
        names = [BUCKET.upper(), f"{BUCKET}.s3.amazonaws.com", f"{BUCKET}-2", BUCKET[:-1]]
        event = queue_event(*(Put("a.jpg", "a" * 32, bucket=name) for name in names))
        assert len(handed_back(guarded.handle(event))) == len(names)
        assert calls == []

    def test_without_the_setting_any_bucket_will_do(self, rig, bucket, table):
        assert handed_back(rig.handle(queue_event(bucket.put("a.jpg", jpeg(1))))) == []


@BOTH_CLOUDS
def test_any_key_is_one_object_of_the_bucket_and_nothing_else(rig, bucket, table):
    """No key climbs out of the bucket, ends early, or is taken for another one."""
    contents = {key: jpeg(n) for n, key in enumerate(KEYS) if "\x00" not in key}
    puts = [bucket.put(key, content) for key, content in contents.items()]
    assert handed_back(rig.handle(queue_event(*puts))) == []
    found = {one["object"]["key"]: one for one in table.everything()}
    assert found.keys() == contents.keys()
    for key, content in contents.items():
        assert found[key]["image"] == f"{BUCKET}/{key}"
        assert found[key]["probabilities"] == rig.classifier.classify([content])[0].probabilities


@BOTH_CLOUDS
@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_names_nothing_is_superseded(rig, bucket, table, key):
    gone = Put(key, "a" * 32, "00000000-0000-0000-0000-000000000000")
    assert handed_back(rig.handle(queue_event(gone))) == []
    assert states(table) == {key: "superseded"}


@pytest.mark.parametrize("claimed", [0, 1, -5, 10**15, "many", None, 1e400])
def test_sizes_that_lie_are_not_believed(make_rig, bucket, table, claimed):
    """What S3 sends is measured, whatever the event says."""
    rig = make_rig(MAX_IMAGE_BYTES=100_000)
    small, large = bucket.put("small.jpg", jpeg(1)), bucket.put("large.jpg", jpeg(2) + bytes(200_000))
    event = {"Records": [record(small), record(large)]}
    for one in event["Records"]:
        one["s3"]["object"]["size"] = claimed
    assert handed_back(rig.handle(queue_event(event))) == []
    found = {one["object"]["key"]: one for one in table.everything()}
    assert found["small.jpg"]["status"] in {"classified", "referred"}
    assert found["large.jpg"]["reasons"][0]["code"] == "too_large"


@pytest.mark.timeout(900)
class TestThousandsInOneMessage:
    """A machine that is busy with other things may overrun by seconds; what is unbounded overruns by minutes."""

    def test_of_one_upload_are_one_fetch(self, rig, bucket, table):
        put = bucket.put("a.jpg", jpeg(1))
        fetches = rig.break_call("s3.GetObject", lambda _: None)
        assert handed_back(rig.handle(queue_event(notification(*[put] * 10_000)))) == []
        assert len(fetches) == 1

    def test_go_on_where_they_stopped(self, rig, bucket, table):
        """The message comes back until it is done, and each delivery adds to it."""
        puts = [bucket.put(f"{n}.jpg", jpeg(n % 8)) for n in range(120)]
        event, recorded, deliveries, returned = queue_event(notification(*puts)), [0], 0, True
        context = Context(seconds=100)
        rig.break_call("s3.GetObject", lambda n: setattr(context, "seconds", 3) if n % 40 == 39 else None)
        while returned:
            deliveries, context.seconds = deliveries + 1, 100
            returned = handed_back(rig.handle(event, context))
            recorded.append(len(states(table)))
            assert recorded[-1] > recorded[-2], "each delivery gets further"
        assert deliveries > 1
        assert recorded[-1] == 120

    @pytest.mark.parametrize("receives", [1, 5])
    def test_that_cannot_be_done_at_once_end_in_time(self, rig, bucket, table, receives):
        """Also where each of them is to leave a `failed` record, because the message is on its last receive."""
        puts = [Put(f"{n}.jpg", "a" * 32, "00000000-0000-0000-0000-000000000000") for n in range(10_000)]
        started = time.monotonic()
        event = queue_event(notification(*puts), receives=receives)
        assert handed_back(rig.handle(event, Countdown(seconds=4))) == ["message-0"]
        assert time.monotonic() - started < 4 + 20
        assert 0 < len(states(table)) < 10_000


def test_a_batch_of_hundreds_is_counted_in_full(rig, bucket, table, capsys):
    """CloudWatch takes a hundred values of a metric in one line of the log; more need more lines."""
    puts = [bucket.put(f"{n}.jpg", jpeg(n % 4)) for n in range(130)]
    telemetry.metrics.clear_metrics()
    capsys.readouterr()
    rig.handle(queue_event(*puts))
    telemetry.metrics.flush_metrics()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    counted = {name: [v for line in lines for v in _list(line.get(name, []))] for name in ("Classified", "Referred")}
    assert sum(counted["Classified"]) + sum(counted["Referred"]) == 130
    assert sum(len(_list(line.get("InferTime", []))) for line in lines) == 130
    assert all(len(_list(line.get("InferTime", []))) <= 100 for line in lines)


def _list(value):
    return value if isinstance(value, list) else [value]
