"""An invocation ends before Lambda ends it: what would not fit is handed back."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from s3_events import Put, handed_back, queue_event, record
from sample_images import jpeg
from worker_rig import Context, Countdown, answer, states

from handler.flow.invocation import Invocation, each_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def test_a_long_timeout_keeps_full_reserves_and_a_short_one_a_share():
    long, short = Invocation(lambda: 120_000), Invocation(lambda: 3_000)
    assert (long.seconds_to_begin(), long.seconds_to_finish()) == (114.0, 119.0)
    assert (short.seconds_to_begin(), short.seconds_to_finish()) == (2.0, 2.7)


def test_it_never_counts_below_zero():
    left = iter([120_000, 500, -20])
    invocation = Invocation(lambda: next(left))
    assert invocation.seconds_to_begin() == 0
    assert invocation.seconds_to_finish() == 0


@pytest.mark.parametrize(("seconds", "may_begin"), [(0, set()), (0.05, {0})])
def test_no_call_begins_when_the_time_is_over(seconds, may_begin):
    """Otherwise it would do what its caller reports as not done."""
    begun, end = set(), threading.Event()

    def call(item):
        begun.add(item)
        end.wait(10)

    calls = each_within(seconds, call, range(3), 1)
    results = [next(calls) for _ in range(3)]
    end.set()
    time.sleep(0.1)  # the thread is free, and `calls` is not closed yet
    assert [(item, type(result)) for item, result in results] == [(n, TimeoutError) for n in range(3)]
    assert begun <= may_begin


def test_what_was_begun_is_finished_and_the_rest_is_handed_back(rig, bucket, table):
    puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(60)]
    context = Context(seconds=100)
    rig.break_call("s3.GetObject", lambda n: setattr(context, "seconds", 5) if n == 20 else None)
    failed = handed_back(rig.handle(queue_event(*puts), context))
    done = {found["object"]["key"] for found in table.everything()}
    assert done
    assert failed
    assert {puts[int(identifier.removeprefix("message-"))].key for identifier in failed} == {
        put.key for put in puts
    } - done

    context.seconds = 100
    rig.handle(queue_event(*puts), context)
    assert len(list(table.everything())) == 60


@pytest.fixture
def hangs() -> Iterator[Callable[[int], None]]:
    """A fault for the first request: it is not answered while the test lasts."""
    end = threading.Event()

    def hang(number):
        if number == 0:
            end.wait(30)

    yield hang
    end.set()


@pytest.mark.parametrize("call", ["s3.GetObject", "dynamodb.PutItem"])
def test_what_hangs_does_not_take_the_invocation_along(call, rig, bucket, table, hangs):
    puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(4)]
    rig.break_call(call, hangs)
    context = Countdown(seconds=2.4)
    failed = handed_back(rig.handle(queue_event(*puts), context))
    assert context.get_remaining_time_in_millis() > 0
    assert len(failed) == 1
    assert len(list(table.everything())) == 3


def test_removals_that_hang_leave_time_for_uploads_on_their_last_receive(rig, bucket, table, hangs):
    gone, put = bucket.put("gone.jpg", jpeg(0)), bucket.put("a.jpg", jpeg(1))
    rig.handle(queue_event(gone))
    marker = bucket.client.delete_object(Bucket=gone.bucket, Key=gone.key)["VersionId"]
    removal = record(Put(gone.key, "", marker), "ObjectRemoved:DeleteMarkerCreated", "2999-01-01T00:00:00Z")
    rig.break_call("s3.HeadObject", hangs)
    event = queue_event({"Records": [removal]}, put, receives=5)
    assert handed_back(rig.handle(event, Countdown(seconds=4))) == ["message-0"]
    assert states(table)["a.jpg"] in {"classified", "referred"}


@pytest.mark.parametrize("stage", ["decoded", "classified"])
def test_what_was_worked_on_and_handed_back_says_so(rig, bucket, table, log, monkeypatch, stage):
    """Its line in the log tells how far it came; only what was not fetched is counted together."""
    puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(2)]
    context = Context(seconds=100)
    predict = rig.classifier.predict

    def run_out_of_time(images):
        time.sleep(0.5)  # the other one is decoded meanwhile
        context.seconds = 3 if stage == "decoded" else 0.5
        return predict(images)

    monkeypatch.setattr(type(rig.classifier), "predict", lambda _, images: run_out_of_time(images))
    assert len(handed_back(rig.handle(queue_event(*puts), context))) == (1 if stage == "decoded" else 2)
    lines = [line for line in log() if line["message"] == "image to try again"]
    assert lines
    for line in lines:
        assert {"fetch", "decode"} <= set(line["timings_ms"])
    assert any("infer" in line["timings_ms"] for line in lines) is (stage == "classified")
    assert not [line for line in log() if "unbegun" in line["message"]]


@pytest.mark.parametrize("call", ["dynamodb.PutItem", "dynamodb.DeleteItem"])
def test_nor_does_what_hangs_around_a_suspect(call, rig, bucket, hangs):
    """It is marked before its attempt, and the mark is taken back after an error."""
    put = bucket.put("a.jpg", jpeg(0))
    rig.break_call("s3.GetObject", lambda _: answer(403))
    rig.break_call(call, hangs)
    context = Countdown(seconds=2.4)
    assert len(handed_back(rig.handle(queue_event(put, receives=2), context))) == 1
    assert context.get_remaining_time_in_millis() > 0
