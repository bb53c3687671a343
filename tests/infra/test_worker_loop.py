"""The loop does to messages what Lambda's event source mapping does: against a real queue, with real uploads."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from infra.stack import Stack
from infra.worker_loop import function_environment, load_handler, run_worker, waiting

pytestmark = pytest.mark.integration

Deploys = Callable[..., Stack]


def _send(stack: Stack, *bodies: str) -> None:
    for body in bodies:
        stack.endpoint.client("sqs").send_message(QueueUrl=stack.queue_url, MessageBody=body)


def _bodies(event: dict[str, Any]) -> list[str]:
    return [record["body"] for record in event["Records"]]


def _spent(stack: Stack) -> list[str]:
    """What SQS has moved out of the lane, for the housekeeper to look at."""
    answer = stack.endpoint.client("sqs").receive_message(
        QueueUrl=stack.live.spent_url, MaxNumberOfMessages=10, WaitTimeSeconds=1
    )
    return sorted(message["Body"] for message in answer.get("Messages", []))


def test_only_what_failed_comes_back_until_its_receives_are_used_up(fresh_stack: Deploys):
    stack = fresh_stack(MaxReceives=3)
    seen: list[str] = []
    counts: list[str] = []

    def handler(event, context):
        seen.extend(_bodies(event))
        poison = [record for record in event["Records"] if record["body"] == "poison"]
        counts.extend(record["attributes"]["ApproximateReceiveCount"] for record in poison)
        return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in poison]}

    _send(stack, "one", "poison", "two")
    invocations = run_worker(stack, handler, retry_after=0)
    assert (seen.count("one"), seen.count("two"), seen.count("poison")) == (1, 1, 3)
    assert counts == ["1", "2", "3"]
    assert sum(invocation.failed for invocation in invocations) == 3
    assert _spent(stack) == ["poison"]
    assert waiting(stack.endpoint, stack.live) == 0


def _raises(event, context):
    raise RuntimeError("out of sorts")


def _exits(event, context):
    sys.exit(1)


def _returns_no_json(event, context):
    return {"batchItemFailures": [], "took": time}


def _names_a_stranger(event, context):
    return {"batchItemFailures": [{"itemIdentifier": "stranger"}]}


@pytest.mark.parametrize("handler", [_raises, _exits, _returns_no_json, _names_a_stranger])
def test_a_batch_whose_handler_breaks_comes_back_whole(fresh_stack: Deploys, handler):
    stack = fresh_stack(MaxReceives=2)
    _send(stack, "one", "two")
    invocations = run_worker(stack, handler, retry_after=0)
    assert all(invocation.error for invocation in invocations)
    assert _spent(stack) == ["one", "two"]


def test_a_batch_that_overruns_the_functions_timeout_comes_back(fresh_stack: Deploys):
    stack = dataclasses.replace(fresh_stack(), timeout=0)
    _send(stack, "slow")
    (invocation,) = run_worker(stack, lambda event, context: time.sleep(0.01), until=lambda: True)
    assert invocation.error == "TimeoutError: The handler took longer than the function's 0 s."
    assert waiting(stack.endpoint, stack.live) == 1


def test_without_a_shorter_wait_a_failure_stays_hidden_for_the_queues_own_time(fresh_stack: Deploys):
    stack = fresh_stack()
    _send(stack, "later")
    run_worker(stack, _raises, until=lambda: True)
    answer = stack.endpoint.client("sqs").receive_message(QueueUrl=stack.queue_url, WaitTimeSeconds=1)
    assert answer.get("Messages", []) == []
    assert waiting(stack.endpoint, stack.live) == 1


def test_batches_are_filled_beyond_one_receive_up_to_the_batch_size(fresh_stack: Deploys):
    stack = fresh_stack(BatchSize=16, BatchWindowSeconds=1)
    _send(stack, *(str(number) for number in range(20)))
    sizes = [invocation.messages for invocation in run_worker(stack, lambda event, context: None)]
    assert sizes == [16, 4]


def test_without_partial_responses_the_answer_means_nothing(fresh_stack: Deploys):
    stack = fresh_stack()
    lane = dataclasses.replace(stack.live, reports_item_failures=False)
    _send(stack, "one")
    (invocation,) = run_worker(stack, _names_a_stranger, lane=lane)
    assert (invocation.failed, waiting(stack.endpoint, lane)) == (0, 0)


def test_the_loop_tells_of_each_batch_and_stops_when_told(fresh_stack: Deploys):
    stack = fresh_stack(BatchSize=1)
    _send(stack, "one", "two", "three")
    told: list[int] = []
    run_worker(
        stack,
        lambda event, context: {},
        on_batch=lambda invocation: told.append(invocation.messages),
        until=lambda: len(told) == 2,
    )
    assert told == [1, 1]
    assert waiting(stack.endpoint, stack.live) == 1


def test_the_handler_meets_json_and_a_context(fresh_stack: Deploys):
    stack = fresh_stack()
    met: list[Any] = []
    stack.endpoint.client("s3").put_object(Bucket=stack.bucket, Key="a.jpg", Body=b"image")
    run_worker(stack, lambda event, context: met.append((event, context)), until=lambda: bool(met))
    ((event, context),) = met
    (record,) = event["Records"]
    assert json.loads(record["body"])["Records"][0]["s3"]["object"]["key"] == "a.jpg"
    assert record["eventSourceARN"] == stack.live.queue_arn
    assert {"ApproximateReceiveCount", "SentTimestamp", "SenderId"} <= set(record["attributes"])
    assert context.function_name == stack.function
    assert context.invoked_function_arn.endswith(f":function:{stack.function}")
    assert 0 < context.get_remaining_time_in_millis() <= stack.timeout * 1000


def test_the_handler_is_imported_under_the_templates_environment(fresh_stack: Deploys, monkeypatch: pytest.MonkeyPatch):
    stack = fresh_stack()
    monkeypatch.setenv("AWS_PROFILE", "clinic")
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setenv("INFERENCE_THREADS", "3")
    expected = function_environment(stack)
    for name in expected:
        monkeypatch.setenv(name, os.environ.get(name, ""))  # so that all of it is put back at the end
    application = SimpleNamespace(lambda_handler=lambda event, context: None)
    monkeypatch.setitem(sys.modules, "handler.app", application)
    assert load_handler(stack) is application.lambda_handler
    assert dict(os.environ) == expected, "a person's own setting stays"
    assert "AWS_PROFILE" not in expected
    assert expected["PREDICTIONS_TABLE"] == stack.table
