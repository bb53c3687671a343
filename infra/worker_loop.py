"""Lambda's event source mapping on one machine: from a lane's queue into a handler, batch by batch.

    with embedded_aws() as endpoint:
        stack = deploy(endpoint)
        handler = load_handler(stack)
        ...                                  # upload
        run_worker(stack, handler)           # until every message is done

What AWS documents for SQS event sources holds here too: the event's shape, batches gathered from several receives
within the window, partial batch responses and the answers that count as failure of the whole batch. What failed
stays in the queue until its visibility timeout ends, unless the handler shortens it, and moves to the dead-letter queue
by the queue's own redrive. Two things differ: the handler runs in this process, so it can't be killed at its timeout (a
batch that overran comes back, as after a kill), and `retry_after` or `after_death` may shorten the wait for a retry.
"""

import importlib
import json
import math
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.embedded_aws import Endpoint
from infra.lambda_contract import LambdaContext, failed_messages, lambda_event
from infra.stack import Lane, Stack
from model_layer import available_cores

Handler = Callable[[Any, Any], Any]

RECEIVE_MOST = 10  # messages; SQS hands out no more in one call
SETTLE_MOST = 10  # messages that one call deletes or shows again
IDLE_WAIT = 1.0  # seconds; Lambda's poller waits 20, but here somebody waits for the loop to end


@dataclass(frozen=True, slots=True)
class Invocation:
    """One batch and what became of it. `error` says why the whole batch came back, where it did."""

    messages: int
    failed: int
    milliseconds: float
    error: str | None = None


def load_handler(stack: Stack) -> Handler:
    """`handler.app.lambda_handler`, imported under the environment that the template gives the function.

    Changes this process's environment for good, as the worker reads it at import; so one stack for each process.
    """
    environment = function_environment(stack)
    # The memory that the template gives the function pays for a core or two; this machine's are all there.
    environment.setdefault("INFERENCE_THREADS", str(available_cores()))
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)
    handler: Handler = importlib.import_module("handler.app").lambda_handler
    return handler


def function_environment(stack: Stack, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The worker's environment: `base` (default: ours) without AWS settings, the emulator's, and the template's."""
    return (
        stack.endpoint.environment(base)
        | {
            "AWS_LAMBDA_FUNCTION_NAME": stack.function,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(stack.memory),
        }
        | dict(stack.environment)
    )


def run_worker(
    stack: Stack,
    handler: Handler,
    *,
    lane: Lane | None = None,
    until: Callable[[], bool] | None = None,
    retry_after: int | None = None,
    after_death: int | None = None,
    on_batch: Callable[[Invocation], None] | None = None,
) -> list[Invocation]:
    """Feed the handler from the lane (default: the live one) and return what was invoked.

    `until` is asked after every batch and, while nothing arrives, every second; true ends the loop. By default the
    loop ends when nothing waits in the queue, is delayed, or is held back for a retry; the bucket's event of a fresh
    upload may still be on its way then, so who knows what to wait for says it with `until`. `retry_after` seconds
    make a failed message visible again earlier than its queue would; `after_death` seconds only those of a batch that
    failed as a whole, and what was handed back is left as the handler left it. `on_batch` is told of every batch when
    it is done.
    """
    lane = lane or stack.live
    source = _EventSource(stack, lane, handler, stack.endpoint.client("sqs"), retry_after, after_death)
    done = until or (lambda: waiting(stack.endpoint, lane) == 0)
    invocations = []
    while True:
        batch = source.gather()
        if batch:
            invocation = source.invoke(batch)
            invocations.append(invocation)
            if on_batch:
                on_batch(invocation)
        if done():
            return invocations


def waiting(endpoint: Endpoint, lane: Lane) -> int:
    """How many messages the lane still holds: visible, in flight (or waiting for a retry), and delayed."""
    counts = (
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    )
    attributes = endpoint.client("sqs").get_queue_attributes(QueueUrl=lane.queue_url, AttributeNames=list(counts))
    return sum(int(attributes["Attributes"][count]) for count in counts)


@dataclass(frozen=True, slots=True)
class _EventSource:
    """One lane's poller: gathers batches, invokes the handler, settles the messages."""

    stack: Stack
    lane: Lane
    handler: Handler
    sqs: Any
    retry_after: int | None
    after_death: int | None

    def gather(self) -> list[dict[str, Any]]:
        """One batch, complete when it is full or when the window has passed since its first message."""
        batch = self._receive(self.lane.batch_size, IDLE_WAIT)
        closes = time.monotonic() + self.lane.window
        while batch and len(batch) < self.lane.batch_size and (left := closes - time.monotonic()) > 0:
            batch += self._receive(self.lane.batch_size - len(batch), min(IDLE_WAIT, left))
        return batch

    def invoke(self, batch: Sequence[dict[str, Any]]) -> Invocation:
        """Run the handler on a batch, delete what it finished, and leave the rest for a retry."""
        started = time.monotonic()
        error = None
        try:
            failed = self._answer(batch, started)
        except (Exception, SystemExit) as exception:  # noqa: BLE001 - whatever is raised, Lambda keeps the batch
            error = "".join(traceback.format_exception_only(exception)).strip()
            failed = {message["MessageId"] for message in batch}
        for group in _groups([message for message in batch if message["MessageId"] not in failed]):
            self.sqs.delete_message_batch(QueueUrl=self.lane.queue_url, Entries=_entries(group))
        shown_after = self.retry_after if self.after_death is None or not error else self.after_death
        if shown_after is not None:
            for group in _groups([message for message in batch if message["MessageId"] in failed]):
                self.sqs.change_message_visibility_batch(
                    QueueUrl=self.lane.queue_url, Entries=_entries(group, VisibilityTimeout=shown_after)
                )
        return Invocation(len(batch), len(failed), (time.monotonic() - started) * 1000, error)

    def _answer(self, batch: Sequence[dict[str, Any]], started: float) -> set[str]:
        context = LambdaContext(
            function_name=self.stack.function,
            memory_limit_in_mb=self.stack.memory,
            invoked_function_arn=self.stack.function_arn,
            deadline=started + self.stack.timeout,
        )
        # Through JSON and back, as between Lambda and a runtime: what is no JSON fails here as there.
        event = json.loads(json.dumps(lambda_event(batch, self.lane)))
        response = json.loads(json.dumps(self.handler(event, context)))
        if time.monotonic() > context.deadline:
            raise TimeoutError(f"The handler took longer than the function's {self.stack.timeout} s.")
        return failed_messages(
            response,
            [message["MessageId"] for message in batch],
            reports_item_failures=self.lane.reports_item_failures,
        )

    def _receive(self, most: int, wait: float) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(
            QueueUrl=self.lane.queue_url,
            MaxNumberOfMessages=min(RECEIVE_MOST, most),
            WaitTimeSeconds=math.ceil(wait),
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages


def _entries(messages: Sequence[Mapping[str, Any]], **more: Any) -> list[dict[str, Any]]:
    return [
        {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], **more}
        for number, message in enumerate(messages)
    ]


def _groups(messages: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    for start in range(0, len(messages), SETTLE_MOST):
        yield messages[start : start + SETTLE_MOST]
