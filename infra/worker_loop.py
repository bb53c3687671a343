"""Lambda's event source mapping on one machine: from a lane's queue into a handler, batch by batch.

    with embedded_aws() as endpoint:
        stack = deploy(endpoint)
        handler = load_handler(stack)
        ...                                  # upload
        run_worker(stack, handler)           # until the queue is empty
        keep_house(stack)                    # erases, and records what was given up

As AWS documents for SQS event sources: the shape of the event, batches gathered from several receives within the
window, partial batch responses, and the responses that fail the whole batch. A failed message stays in the queue until
its visibility timeout ends, unless the handler shortens it, and moves to the dead-letter queue by the queue's own
redrive. Two things differ. The handler runs in this process, so it can't be killed at its timeout; a batch that took
too long comes back all the same. And `retry_after` or `after_death` may shorten the wait for a retry.
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
SETTLE_MOST = 10  # messages that one call can delete or make visible again
IDLE_WAIT = 1.0  # seconds; Lambda's poller waits 20, but here a person waits for the loop to end


@dataclass(frozen=True, slots=True)
class Invocation:
    """One batch and its outcome. `error` is the reason why the whole batch came back, or None."""

    messages: int
    failed: int
    milliseconds: float
    error: str | None = None


def load_handler(stack: Stack) -> Handler:
    """`handler.app.lambda_handler`, imported under the environment that the template gives the function.

    Changes this process's environment for good, because the worker reads it at import: one stack a process.
    """
    become(worker_environment(stack))
    handler: Handler = importlib.import_module("handler.app").lambda_handler
    return handler


def load_housekeeper() -> Handler:
    """`handler.housekeeping.lambda_handler`, after `load_handler`: the worker's environment holds all of its own."""
    handler: Handler = importlib.import_module("handler.housekeeping").lambda_handler
    return handler


def keep_house(stack: Stack, handler: Handler | None = None, **options: Any) -> list[Invocation]:
    """Runs the housekeeper once over what its queues hold; `handler` and `options` are those of `run_worker`.

    Without `handler` it is `load_housekeeper`'s.
    """
    if stack.housekeeper is None:
        raise ValueError("This is the housekeeper's own stack.")
    handler = handler or load_housekeeper()
    held = [lane for lane in stack.housekeeper.lanes.values() if waiting(stack.endpoint, lane)]
    return [one for lane in held for one in run_worker(stack.housekeeper, handler, lane=lane, **options)]


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


def worker_environment(stack: Stack) -> dict[str, str]:
    """`function_environment`, with a thread for each core.

    The memory that the template gives the function pays for a core or two; this machine's are all there.
    """
    environment = function_environment(stack)
    return environment | {"INFERENCE_THREADS": environment.get("INFERENCE_THREADS") or str(available_cores())}


def become(environment: Mapping[str, str]) -> None:
    """Makes `environment` the whole of this process's, so that it has these settings and reaches no other AWS."""
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)


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
    """Feed the handler from the lane (default: the live one) and return the invocations.

    The loop calls `until` after every batch, and every second while nothing arrives; it ends once that is true. By
    default it ends when the queue holds nothing, neither visible nor delayed nor waiting for a retry. The event of a
    new upload may still be on its way then, so give `until` if you know what to wait for.

    `retry_after`: seconds after which failed messages become visible again, instead of the queue's visibility timeout.
    `after_death`: the same, but only for batches that failed as a whole; messages that the handler handed back stay as
    the handler left them. `on_batch` is called after every batch.
    """
    lane = lane or stack.live
    source = _EventSource(stack, handler, Poller(lane, stack.endpoint.client("sqs")), retry_after, after_death)
    done = until or (lambda: waiting(stack.endpoint, lane) == 0)
    invocations = []
    while True:
        batch = source.poller.gather()
        if batch:
            invocation = source.invoke(batch)
            invocations.append(invocation)
            if on_batch:
                on_batch(invocation)
        if done():
            return invocations


def waiting(endpoint: Endpoint, lane: Lane) -> int:
    """Number of messages that the lane holds: visible, in flight or waiting for a retry, and delayed."""
    counts = (
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    )
    attributes = endpoint.client("sqs").get_queue_attributes(QueueUrl=lane.queue_url, AttributeNames=list(counts))
    return sum(int(attributes["Attributes"][count]) for count in counts)


@dataclass(frozen=True, slots=True)
class Poller:
    """Takes messages out of one lane's queue, and settles them once the handler has answered."""

    lane: Lane
    sqs: Any

    def gather(self, idle: float = IDLE_WAIT) -> list[dict[str, Any]]:
        """One batch, complete once it is full or the window has passed since its first message.

        Empty if none came for `idle` seconds.
        """
        batch = self._receive(self.lane.batch_size, idle)
        closes = time.monotonic() + self.lane.window
        while batch and len(batch) < self.lane.batch_size and (left := closes - time.monotonic()) > 0:
            batch += self._receive(self.lane.batch_size - len(batch), min(IDLE_WAIT, left))
        return batch

    def failed(self, response: Any, batch: Sequence[dict[str, Any]]) -> set[str]:
        """Ids of the messages of `batch` that a handler's response leaves in the queue; see `failed_messages`."""
        return failed_messages(
            response,
            [message["MessageId"] for message in batch],
            reports_item_failures=self.lane.reports_item_failures,
        )

    def delete(self, messages: Sequence[dict[str, Any]]) -> None:
        """For messages that are done."""
        for group in _groups(messages):
            self.sqs.delete_message_batch(QueueUrl=self.lane.queue_url, Entries=_entries(group))

    def hide(self, messages: Sequence[dict[str, Any]], seconds: int) -> None:
        """Keeps messages hidden for so many seconds from now; 0 shows them at once."""
        for group in _groups(messages):
            self.sqs.change_message_visibility_batch(
                QueueUrl=self.lane.queue_url, Entries=_entries(group, VisibilityTimeout=seconds)
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


@dataclass(frozen=True, slots=True)
class _EventSource:
    """What Lambda does with one batch: invokes the handler, settles the messages."""

    stack: Stack
    handler: Handler
    poller: Poller
    retry_after: int | None
    after_death: int | None

    def invoke(self, batch: Sequence[dict[str, Any]]) -> Invocation:
        """Run the handler on a batch, delete the messages it finished, and leave the rest for a retry."""
        started = time.monotonic()
        error = None
        try:
            failed = self._answer(batch, started)
        except (Exception, SystemExit) as exception:  # noqa: BLE001 - whatever is raised, Lambda keeps the batch
            error = "".join(traceback.format_exception_only(exception)).strip()
            failed = {message["MessageId"] for message in batch}
        self.poller.delete([message for message in batch if message["MessageId"] not in failed])
        shown_after = self.retry_after if self.after_death is None or not error else self.after_death
        if shown_after is not None:
            self.poller.hide([message for message in batch if message["MessageId"] in failed], shown_after)
        return Invocation(len(batch), len(failed), (time.monotonic() - started) * 1000, error)

    def _answer(self, batch: Sequence[dict[str, Any]], started: float) -> set[str]:
        context = LambdaContext(
            function_name=self.stack.function,
            memory_limit_in_mb=self.stack.memory,
            invoked_function_arn=self.stack.function_arn,
            deadline=started + self.stack.timeout,
        )
        response = answer(self.handler, batch, self.poller.lane, context)
        if time.monotonic() > context.deadline:
            raise TimeoutError(f"The handler took longer than the function's {self.stack.timeout} s.")
        return self.poller.failed(response, batch)


def answer(handler: Handler, batch: Sequence[dict[str, Any]], lane: Lane, context: LambdaContext) -> Any:
    """The handler's response. Through JSON and back, as between Lambda and a runtime, so that other values fail too."""
    event = json.loads(json.dumps(lambda_event(batch, lane)))
    return json.loads(json.dumps(handler(event, context)))


def _entries(messages: Sequence[Mapping[str, Any]], **more: Any) -> list[dict[str, Any]]:
    return [
        {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], **more}
        for number, message in enumerate(messages)
    ]


def _groups(messages: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    for start in range(0, len(messages), SETTLE_MOST):
        yield messages[start : start + SETTLE_MOST]
