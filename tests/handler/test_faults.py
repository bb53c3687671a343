"""Faults below boto3: the upload comes again, is then recorded, and nothing is lost or recorded twice."""

from __future__ import annotations

import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError
from s3_events import handed_back, queue_event
from sample_images import jpeg
from worker_rig import TABLE, Context, Countdown, answer, states

THROTTLED = (
    '{"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "slow down"}'
)


def throttle():
    return answer(400, THROTTLED, {"Content-Type": "application/x-amz-json-1.0"})


def forbidden():
    return answer(403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>")


def deliver_until_done(rig, puts, receives: int = 5) -> int:
    """Plays the queue: what comes back is delivered again. Gives the number of deliveries."""
    waiting = list(puts)
    for delivery in range(1, receives + 1):
        failed = handed_back(rig.handle(queue_event(*waiting, receives=delivery)))
        waiting = [waiting[int(identifier.removeprefix("message-"))] for identifier in failed]
        if not waiting:
            return delivery
    raise AssertionError(f"{len(waiting)} messages are in the dead-letter queue")


@pytest.fixture
def impatient(make_rig, monkeypatch):
    """A rig that repeats nothing within one delivery: each fault reaches the worker, and no test waits."""
    from handler import aws

    monkeypatch.setattr(aws, "ATTEMPTS", 1)
    monkeypatch.setattr(aws, "PASSING", frozenset())
    return make_rig()


class TestPatience:
    """botocore's own repetitions, as the worker sets them, ride out a short fault within one delivery."""

    def test_one_500_from_s3(self, rig, bucket, table):
        requests = rig.break_call("s3.GetObject", lambda n: answer(500) if n == 0 else None)
        assert deliver_until_done(rig, [bucket.put("a.jpg", jpeg(1))]) == 1
        assert len(requests) == 2

    def test_one_throttled_write(self, rig, bucket, table):
        requests = rig.break_call("dynamodb.PutItem", lambda n: throttle() if n == 0 else None)
        assert deliver_until_done(rig, [bucket.put("a.jpg", jpeg(1))]) == 1
        assert len(requests) == 2


FAULTS = {
    "GetObject internal error": lambda: answer(500, "<Error><Code>InternalError</Code></Error>"),
    "GetObject slow down": lambda: answer(503, "<Error><Code>SlowDown</Code></Error>"),
    "GetObject forbidden": forbidden,
    "GetObject read timeout": lambda: ReadTimeoutError(endpoint_url="https://s3/bucket/key"),
    "GetObject no way there": lambda: EndpointConnectionError(endpoint_url="https://s3/bucket/key"),
    "PutItem throttled": throttle,
    "PutItem internal error": lambda: answer(500),
    "PutItem connect timeout": lambda: ConnectTimeoutError(endpoint_url="https://dynamodb/"),
    "BatchGetItem throttled": throttle,
    "BatchGetItem unavailable": lambda: answer(503),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_for_some_leads_to_retry_then_success(name, impatient, bucket, table):
    operation, fault = name.split()[0], FAULTS[name]
    call = f"s3.{operation}" if operation == "GetObject" else f"dynamodb.{operation}"
    puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(6)]
    impatient.break_call(call, lambda n: fault() if n < 4 else None)
    assert 2 <= deliver_until_done(impatient, puts) <= 5
    assert set(states(table)) == {put.key for put in puts}
    assert set(states(table).values()) <= {"classified", "referred"}
    assert len(list(table.everything())) == len(puts)


def test_uploads_beside_a_fault_are_done(impatient, bucket, table):
    puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(4)]
    impatient.break_call("dynamodb.PutItem", lambda n: throttle() if n == 2 else None)
    assert len(handed_back(impatient.handle(queue_event(*puts)))) == 1
    assert len(states(table)) == 3


def test_a_download_that_breaks_off_comes_again(impatient, bucket, table):
    body = jpeg(1)
    put = bucket.put("a.jpg", body)
    half = answer(200, headers={"Content-Length": str(len(body)), "ETag": put.etag})
    half.raw.write(body[: len(body) // 2])
    half.raw.seek(0)
    impatient.break_call("s3.GetObject", lambda n: half if n == 0 else None)
    assert deliver_until_done(impatient, [put]) == 2
    assert set(states(table).values()) <= {"classified", "referred"}, "half an image is not a truncated one"


def test_a_write_that_was_done_though_its_answer_was_lost_is_done(rig, bucket, table):
    """Botocore repeats the request, and the condition then fails on the worker's own record."""
    requests = rig.break_call("dynamodb.PutItem", lambda n: answer(500) if n == 0 else None, after=True)
    assert deliver_until_done(rig, [bucket.put("a.jpg", jpeg(1))]) == 1
    assert len(requests) == 2
    assert len(list(table.everything())) == 1


def test_a_lookup_that_reads_only_some_keys_asks_for_the_rest(impatient, bucket, table):
    puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(5)]
    impatient.handle(queue_event(*puts))

    def leave_out(params, context, **_):
        keys = params["RequestItems"][TABLE]["Keys"]
        if len(keys) > 1:
            params["RequestItems"][TABLE]["Keys"], context["left"] = keys[:1], keys[1:]

    def say_so(parsed, context, **_):
        if context.get("left"):
            parsed["UnprocessedKeys"] = {TABLE: {"Keys": context["left"]}}

    impatient.dynamodb.meta.events.register("before-parameter-build.dynamodb.BatchGetItem", leave_out)
    impatient.dynamodb.meta.events.register("after-call.dynamodb.BatchGetItem", say_so)
    fetches = impatient.break_call("s3.GetObject", lambda _: None)
    assert handed_back(impatient.handle(queue_event(*puts))) == []
    assert not fetches


class TestLastReceive:
    def test_leaves_a_failed_record_that_says_why_and_still_hands_back(self, impatient, bucket, table):
        put = bucket.put("a.jpg", jpeg(1))
        impatient.break_call("s3.GetObject", lambda _: forbidden())
        assert handed_back(impatient.handle(queue_event(put, receives=1))) == ["message-0"]
        assert not states(table)
        assert handed_back(impatient.handle(queue_event(put, receives=5))) == ["message-0"]
        (found,) = table.everything()
        assert found["status"] == "failed"
        assert found["reasons"] == [{"code": "storage_unavailable", "sentence": "GetObject failed with AccessDenied."}]

    def test_a_later_success_takes_the_place_of_the_failure(self, impatient, bucket, table):
        put = bucket.put("a.jpg", jpeg(1))
        impatient.break_call("s3.GetObject", lambda n: forbidden() if n == 0 else None)
        impatient.handle(queue_event(put, receives=5))
        assert states(table) == {"a.jpg": "failed"}
        assert handed_back(impatient.handle(queue_event(put, receives=1))) == [], "a redrive starts counting anew"
        assert states(table)["a.jpg"] in {"classified", "referred"}

    def test_a_failure_never_takes_the_place_of_an_answer(self, impatient, bucket, table):
        put = bucket.put("a.jpg", jpeg(1))
        impatient.handle(queue_event(put))
        impatient.break_call("dynamodb.BatchGetItem", lambda _: throttle())
        assert handed_back(impatient.handle(queue_event(put, receives=5), Countdown(seconds=5))) == ["message-0"]
        assert states(table)["a.jpg"] in {"classified", "referred"}

    def test_out_of_time(self, rig, bucket, table):
        context = Context(seconds=30)
        rig.break_call("s3.GetObject", lambda _: setattr(context, "seconds", 4))
        puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(40)]
        failed = handed_back(rig.handle(queue_event(*puts, receives=5), context))
        assert failed
        found = states(table)
        assert len(found) == 40, "there is time left to write what happened"
        assert sum(status == "failed" for status in found.values()) == len(failed)


def test_a_table_that_stays_away_is_no_exception(impatient, bucket, table):
    for call in ("BatchGetItem", "PutItem"):
        impatient.break_call(f"dynamodb.{call}", lambda _: throttle())
    puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(3)]
    fetches = impatient.break_call("s3.GetObject", lambda _: None)
    assert len(handed_back(impatient.handle(queue_event(*puts, receives=5), Countdown(seconds=4)))) == 3
    assert not fetches, "what cannot be recorded is not worth a fetch and an inference"


def test_an_unforeseen_error_is_the_uploads_own(impatient, bucket, table, monkeypatch):
    puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(12)]
    poisoned = impatient.classifier.decode(jpeg(3)).pixels.tobytes()
    predict = type(impatient.classifier).predict

    def fragile(self, images):
        if any(image.pixels.tobytes() == poisoned for image in images):
            raise RuntimeError("the network met what it cannot bear")
        return predict(self, images)

    monkeypatch.setattr(type(impatient.classifier), "predict", fragile)
    assert handed_back(impatient.handle(queue_event(*puts))) == ["message-3"]
    assert len(states(table)) == 11
