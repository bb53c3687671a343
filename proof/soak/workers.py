"""Workers in parallel on one lane, each in a sandbox of its own, and a housekeeper, until all queues are empty."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from handler import telemetry
from handler.configuration import Settings
from handler.flow.fetching import BucketReader
from handler.housekeeper import Housekeeper
from handler.intake.events import read_event
from handler.pseudonyms import Pseudonyms
from handler.store.erasure import Erasure
from handler.store.table import PredictionsTable
from infra.lambda_contract import failed_messages
from infra.worker_loop import Invocation, function_environment, keep_house, run_worker, waiting
from model_layer import Bundle
from proof.soak.faults import TABLE_AWAY, TIMEOUT, strikes
from proof.soak.sandbox import Sandbox, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from handler.intake.messages import Message
    from infra.lambda_contract import LambdaContext
    from infra.stack import Stack

# Seconds that messages stay hidden after their worker died. On AWS it is the queue's visibility timeout of 13 minutes;
# the worker is configured with this value, so messages that it hands back return sooner in proportion.
AFTER_DEATH = 6
# The queue's own visibility timeout, for messages that a worker returned without changing it. Longer than the
# function's timeout, so that no two workers get the same message.
VISIBILITY_SECONDS = 130
SHORT_TIMEOUT = 3.0  # seconds, for invocations that are meant to run into their timeout or to wait for a table in vain
EMPTY_SECONDS = 3.0  # how long the lane must stay empty: the bucket's events come a moment after the upload
STALL_SECONDS = 300.0  # without a single answer
HOUSEKEEPER_ENDS = 0.2
"""Share of the housekeeper's invocations that end before they have begun."""


@dataclass(slots=True)
class Tally:
    """Totals over all invocations."""

    invocations: int = 0
    deaths: int = 0
    retries: int = 0
    """Messages that went back to the queue."""
    acknowledged: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By key and version, the number of messages done."""
    workers: set[int] = field(default_factory=set)
    """The numbers of the workers that took part."""
    history: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """By key and version, the outcome of each delivery."""


class Workers:
    """Runs from `start` to `finish`."""

    def __init__(
        self,
        stack: Stack,
        scratch: Path,
        plan: Mapping[str, Sequence[str]],
        settings: Mapping[str, str],
        count: int,
        *,
        short_timeout: float = SHORT_TIMEOUT,
        alter: Callable[[Any], Any] = lambda event: event,
    ) -> None:
        """`plan` names faults by key (the sandboxes read it from `scratch`); `settings` override the template's.

        `alter` changes events on their way to the handler.
        """
        self.tally = Tally()
        self._stack = stack
        self._plan = plan
        self._feeding = True
        self._lock = threading.Lock()
        self._last_answer = time.monotonic()
        self._empty_since: float | None = None
        self._asked = 0.0
        self._began = time.monotonic()
        self._short_timeout = short_timeout
        self._alter = alter
        environment = function_environment(stack) | {"VISIBILITY_TIMEOUT": str(AFTER_DEATH)} | dict(settings)
        self._snapshot = Snapshot(environment, scratch / "plan.json", scratch)
        self._sandboxes = [Sandbox(self._snapshot, self._limit) for _ in range(count)]
        self._threads = [threading.Thread(target=self._work, args=item) for item in enumerate(self._sandboxes)]
        self._housekeeper = housekeeper(stack, environment)
        self._log = scratch / "worker.log"
        self._threads.append(threading.Thread(target=self._keep_house))

    def start(self) -> None:
        attributes = {"VisibilityTimeout": str(VISIBILITY_SECONDS)}
        self._stack.endpoint.client("sqs").set_queue_attributes(QueueUrl=self._stack.queue_url, Attributes=attributes)
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Call after the last upload. Returns once all queues stay empty, or nothing moves for STALL_SECONDS."""
        self._feeding = False
        for thread in self._threads:
            thread.join()
        self.close()
        self.tally.deaths = sum(sandbox.deaths for sandbox in self._sandboxes)

    def close(self) -> None:
        """Ends all processes."""
        for sandbox in self._sandboxes:
            sandbox.close()
        self._snapshot.close()

    def _work(self, number: int, sandbox: Sandbox) -> None:
        try:
            run_worker(
                self._stack,
                lambda event, context: self._watched(number, sandbox, self._alter(event), context),
                until=self._done,
                after_death=AFTER_DEATH,
                on_batch=self._note,
            )
        finally:
            sandbox.close()

    def _keep_house(self) -> None:
        rng = random.Random(0)

        def handle(event: Any, context: LambdaContext) -> Any:
            if rng.random() < HOUSEKEEPER_ENDS:
                raise RuntimeError("The housekeeper has ended.")
            try:
                return self._housekeeper.handle(event, context)
            finally:
                telemetry.metrics.clear_metrics()

        lines: Any = telemetry.logger.registered_handler
        with self._log.open("a", encoding="utf-8") as log:
            before = lines.setStream(log)
            try:
                while not self._done():
                    keep_house(self._stack, handle, until=lambda: True, retry_after=1, on_batch=self._note_answer)
                    time.sleep(0.5)
            finally:
                lines.setStream(before or sys.stdout)

    def _watched(self, number: int, sandbox: Sandbox, event: Any, context: LambdaContext) -> Any:
        messages = read_event(event).messages
        ids = [str(message.id) for message in messages]
        started = time.monotonic()
        try:
            response = sandbox(event, context)
            failed = failed_messages(response, ids, reports_item_failures=True)
            ends = {identifier: "handed back" if identifier in failed else "done" for identifier in ids}
        except Exception as error:
            ends = dict.fromkeys(ids, str(error))
            raise
        finally:
            self._tell_what_became(number, started, messages, ends)
        return response

    def _tell_what_became(
        self, number: int, started: float, messages: Sequence[Message], ends: Mapping[str, str]
    ) -> None:
        beside = {fault for message in messages for up in message.uploads for fault in self._plan.get(up.key, ())}
        with self._lock:
            self.tally.workers.add(number)
            for message in messages:
                line = (
                    f"receive {message.receives}, worker {number}, from {started - self._began:.1f} to "
                    f"{time.monotonic() - self._began:.1f} s, one of {len(messages)} messages"
                    f" (faults among them: {', '.join(sorted(beside)) or 'none'}): {ends[str(message.id)]}"
                )
                for one in set(message.uploads):
                    identity = one.key, one.object_version
                    self.tally.history.setdefault(identity, []).append(f"message {message.id}, {line}")
                    if ends[str(message.id)] == "done":
                        self.tally.acknowledged[identity] += 1

    def _note_answer(self, _: Invocation) -> None:
        with self._lock:
            self._last_answer = time.monotonic()

    def _note(self, invocation: Invocation) -> None:
        self._note_answer(invocation)
        with self._lock:
            self.tally.invocations += 1
            self.tally.retries += invocation.failed

    def _done(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if self._feeding:
                return False
            if now - self._last_answer > STALL_SECONDS:
                return True
            if now - self._asked < 0.5:
                return False
            self._asked = now
            if left(self._stack):
                self._empty_since = None
                return False
            self._empty_since = self._empty_since or now
            return now - self._empty_since >= EMPTY_SECONDS

    def _limit(self, event: Any) -> float | None:
        """A short timeout for events that would make a worker hang, or wait for the table on a late receive."""
        messages = read_event(event).messages
        faults = {
            strikes(planned, message.receives)
            for message in messages
            for upload in message.uploads
            for planned in self._plan.get(upload.key, ())
        }
        near_end = any(message.receives >= self._stack.live.max_receives - 1 for message in messages)
        return self._short_timeout if TIMEOUT in faults or (near_end and faults & TABLE_AWAY) else None


def left(stack: Stack) -> int:
    """Number of messages that neither worker nor housekeeper has done; the latter's last, since they move there."""
    housekeeping = stack.housekeeper.lanes.values() if stack.housekeeper else ()
    return sum(waiting(stack.endpoint, lane) for lane in (stack.live, *housekeeping))


def housekeeper(stack: Stack, environment: Mapping[str, str]) -> Housekeeper:
    """The stack's housekeeper, in this process; `environment` is its own."""
    settings = Settings.from_environment(environment, decodes=False)
    s3, dynamodb, sqs = (stack.endpoint.client(service) for service in ("s3", "dynamodb", "sqs"))
    reader = BucketReader(s3, settings.max_image_bytes)
    pseudonyms = Pseudonyms.read(stack.endpoint.client("secretsmanager"), str(settings.hash_secret_arn))
    erasure = Erasure(dynamodb, stack.table, reader.remaining, pseudonyms) if settings.erase_removed else None
    bundle, table = Bundle.read(settings.model_bundle), PredictionsTable(dynamodb, stack.table)
    return Housekeeper(settings, bundle, table, erasure, pseudonyms, sqs)
