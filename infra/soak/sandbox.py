"""A worker's process as Lambda runs it: one event at a time, killed at its timeout, started anew after its death."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from infra.lambda_contract import LambdaContext

_ROOT = Path(__file__).parents[2]
START_SECONDS = 120.0
"""A loaded machine takes long over the imports; usually it is two."""


class SandboxDiedError(RuntimeError):
    """The worker's process ended without an answer."""


class Sandbox:
    """A handler for `infra.worker_loop`. Used by one thread, and closed at its end."""

    def __init__(
        self,
        environment: Mapping[str, str],
        plan: Path,
        scratch: Path,
        limit: Callable[[Any], float | None] = lambda _: None,
    ) -> None:
        """`limit(event)` may shorten the function's timeout, to this many seconds."""
        self._environment = dict(environment)
        self._plan = plan
        self._scratch = scratch
        self._limit = limit
        self._process: subprocess.Popen[bytes] | None = None
        self._answers = -1
        self._unread = b""
        self.deaths = 0

    def start(self) -> None:
        """Starts the process, if there is none, and waits until it is ready."""
        if self._process:
            return
        self._answers, theirs = os.pipe()
        command = [sys.executable, "-m", "infra.soak.sandbox_process", str(theirs), str(self._plan), str(self._scratch)]
        with (self._scratch / "worker.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=_ROOT,
                pass_fds=[theirs],
                start_new_session=True,
            )
        os.close(theirs)
        self._unread = b""
        self._answer(time.monotonic() + START_SECONDS)

    def __call__(self, event: Any, context: LambdaContext) -> Any:
        """The handler's answer.

        Raises:
            SandboxDiedError: the process died, or raised.
            TimeoutError: it took longer than it may; it is dead now.
        """
        self.start()
        limit = self._limit(event)
        deadline = context.deadline if limit is None else time.monotonic() + limit
        fields = dataclasses.asdict(dataclasses.replace(context, deadline=deadline))
        request = json.dumps({"event": event, "context": fields}) + "\n"
        requests = cast("IO[bytes]", cast("subprocess.Popen[bytes]", self._process).stdin)
        with contextlib.suppress(BrokenPipeError):  # its death is noticed where its answer is read
            requests.write(request.encode())
            requests.flush()
        answer = self._answer(deadline)
        if "error" in answer:
            raise SandboxDiedError(answer["error"])
        return answer["response"]

    def close(self) -> None:
        """Ends the process, if there is one."""
        if not self._process:
            return
        self._process.kill()
        self._process.wait()
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        os.close(self._answers)
        self._process = None

    def _answer(self, deadline: float) -> dict[str, Any]:
        """One line of the process's answers."""
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                self.deaths += 1
                self.close()
                raise TimeoutError("The worker ran into its timeout, and was killed.")
            chunk = os.read(self._answers, 2**16)
            if not chunk:
                code = cast("subprocess.Popen[bytes]", self._process).wait()
                self.deaths += 1
                self.close()
                raise SandboxDiedError(f"The worker's process ended with {code}.")
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer
