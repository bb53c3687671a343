"""A worker's process as Lambda runs it: one event at a time, killed at its timeout, restarted after its death.

Linux only: it needs pidfds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from infra.lambda_contract import LambdaContext

_ROOT = Path(__file__).parents[2]
START_SECONDS = 120.0
"""Usually two; a busy machine imports slowly."""


class SandboxDiedError(RuntimeError):
    """The worker's process ended without an answer."""


class Snapshot:
    """The process from which sandboxes are copied. It ends with `close`, or with this process."""

    def __init__(self, environment: Mapping[str, str], plan: Path, scratch: Path) -> None:
        """`plan` names the faults; `scratch` holds the log and the state of the faults."""
        self._command = (environment, plan, scratch)
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def copy(self) -> tuple[int, int, int]:
        """A new sandbox: its process (a pidfd), and the file descriptors for events and answers."""
        with self._lock:
            asked = self._socket = self._socket or self._start()
            theirs_in, ours_out = os.pipe()
            ours_in, theirs_out = os.pipe()
            socket.send_fds(asked, [b"+"], [theirs_in, theirs_out])
            os.close(theirs_in)
            os.close(theirs_out)
            return os.pidfd_open(self._told(asked)), ours_out, ours_in

    def close(self) -> None:
        if self._socket and self._process:
            self._socket.close()
            self._process.wait()
            self._socket = None

    def _start(self) -> socket.socket:
        environment, plan, scratch = self._command
        ours, theirs = socket.socketpair()
        ours.settimeout(START_SECONDS)
        command = [sys.executable, "-m", "proof.soak.sandbox_process", str(theirs.fileno()), str(plan), str(scratch)]
        with theirs, (scratch / "worker.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=_ROOT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._told(ours)
        return ours

    def _told(self, asked: socket.socket) -> int:
        """Reads a number from the process: a process id, or 0 once it is ready."""
        said = b""
        while not said.endswith(b"\n"):
            chunk = asked.recv(1)
            if not chunk:
                code = cast("subprocess.Popen[bytes]", self._process).wait()
                raise SandboxDiedError(f"The worker ended with {code} while it started; worker.log says why.")
            said += chunk
        return int(said)


class Sandbox:
    """A handler for `infra.worker_loop`. Used by one thread, which closes it."""

    def __init__(self, snapshot: Snapshot, limit: Callable[[Any], float | None] = lambda _: None) -> None:
        """`limit(event)` may shorten the function's timeout, in seconds."""
        self._snapshot = snapshot
        self._limit = limit
        self._running: tuple[int, int, int] | None = None
        self._unread = b""
        self.deaths = 0

    def start(self) -> None:
        """Starts the process if there is none."""
        self._running = self._running or self._snapshot.copy()

    def __call__(self, event: Any, context: LambdaContext) -> Any:
        """The handler's response.

        Raises:
            SandboxDiedError: the process died, or raised.
            TimeoutError: it ran into its timeout and was killed.
        """
        self.start()
        _, requests, _ = cast("tuple[int, int, int]", self._running)
        limit = self._limit(event)
        deadline = context.deadline if limit is None else time.monotonic() + limit
        fields = dataclasses.asdict(dataclasses.replace(context, deadline=deadline))
        with (
            contextlib.suppress(BrokenPipeError),  # its death is noticed when its answer is read
            os.fdopen(os.dup(requests), "w") as lines,
        ):
            print(json.dumps({"event": event, "context": fields}), file=lines)
        answer = self._answer(deadline)
        if "error" in answer:
            raise SandboxDiedError(answer["error"])
        return answer["response"]

    def close(self) -> None:
        """Ends the process if there is one."""
        if not self._running:
            return
        process, *pipes = self._running
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        select.select([process], [], [])  # until it is dead
        for descriptor in (process, *pipes):
            os.close(descriptor)
        self._running, self._unread = None, b""

    def _answer(self, deadline: float) -> dict[str, Any]:
        """Reads one answer of the process."""
        _, _, answers = cast("tuple[int, int, int]", self._running)
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([answers], [], [], left)[0]:
                self.deaths += 1
                self.close()
                raise TimeoutError("The worker ran into its timeout, and was killed.")
            chunk = os.read(answers, 2**16)
            if not chunk:
                self.deaths += 1
                self.close()
                raise SandboxDiedError("The worker's process was killed.")
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer
