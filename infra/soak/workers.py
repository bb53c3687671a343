"""Workers in parallel on one lane, each in a sandbox of its own, until the lane is empty."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from handler.events import read_event
from infra.lambda_contract import failed_messages
from infra.soak.faults import TIMEOUT
from infra.soak.sandbox import Sandbox
from infra.worker_loop import Invocation, function_environment, run_worker, waiting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from infra.stack import Stack

RETRY_AFTER = 1  # seconds; on AWS it is the queue's visibility timeout, 13 minutes
SHORT_TIMEOUT = 3.0  # seconds, of the invocations that are to run into their timeout
EMPTY_SECONDS = 3.0  # how long the lane must stay empty: the bucket's events come a moment after the upload
STALL_SECONDS = 300.0  # without a single answer


@dataclass(slots=True)
class Tally:
    """What the workers' invocations came to."""

    invocations: int = 0
    deaths: int = 0
    retries: int = 0
    """Messages that went back to the queue."""
    acknowledged: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By key and version: messages that were done."""


class Workers:
    """Runs from `start` to `finish`."""

    def __init__(
        self,
        stack: Stack,
        scratch: Path,
        plan: Mapping[str, Sequence[str]],
        settings: Mapping[str, str],
        count: int,
    ) -> None:
        """`plan` names faults by key, and stands in `scratch` for the sandboxes; `settings` go over the template's."""
        self.tally = Tally()
        self._stack = stack
        self._plan = plan
        self._feeding = True
        self._lock = threading.Lock()
        self._last_answer = time.monotonic()
        self._empty_since: float | None = None
        self._asked = 0.0
        environment = function_environment(stack) | dict(settings)
        self._sandboxes = [Sandbox(environment, scratch / "plan.json", scratch, self._limit) for _ in range(count)]
        self._threads = [threading.Thread(target=self._work, args=(sandbox,)) for sandbox in self._sandboxes]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Nothing more is uploaded: returns when the lane stays empty, or nothing moves any more."""
        self._feeding = False
        for thread in self._threads:
            thread.join()
        self.tally.deaths = sum(sandbox.deaths for sandbox in self._sandboxes)

    def _work(self, sandbox: Sandbox) -> None:
        try:
            run_worker(
                self._stack,
                lambda event, context: self._counted(event, sandbox(event, context)),
                until=self._done,
                retry_after=RETRY_AFTER,
                on_batch=self._note,
            )
        finally:
            sandbox.close()

    def _counted(self, event: Any, response: Any) -> Any:
        messages = read_event(event).messages
        failed = failed_messages(response, [str(message.id) for message in messages], reports_item_failures=True)
        with self._lock:
            for message in messages:
                if message.id not in failed:
                    self.tally.acknowledged.update((one.key, one.object_version) for one in set(message.uploads))
        return response

    def _note(self, invocation: Invocation) -> None:
        with self._lock:
            self._last_answer = time.monotonic()
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
            if waiting(self._stack.endpoint, self._stack.live):
                self._empty_since = None
                return False
            self._empty_since = self._empty_since or now
            return now - self._empty_since >= EMPTY_SECONDS

    def _limit(self, event: Any) -> float | None:
        keys = (upload.key for message in read_event(event).messages for upload in message.uploads)
        return SHORT_TIMEOUT if any(TIMEOUT in self._plan.get(key, ()) for key in keys) else None
