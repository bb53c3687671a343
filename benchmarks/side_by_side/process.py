"""One worker in a process of its own, ours or the Keras one, driven line by line.

with worker("ours", environment, log) as ours:
    sample = ours.handle([event])
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_layer import available_cores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
CHILD = "benchmarks.side_by_side.child"
STOP_SECONDS = 10.0
KINDS = ("ours", "keras")


class WorkerDiedError(RuntimeError):
    """The worker's process ended, or handed messages back. The message holds its last lines."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The cost of one or more events."""

    images: int
    seconds: float
    """Of the wall clock."""
    cpu_seconds: float
    """Of all threads of the worker's process."""

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds


class WorkerProcess:
    """A running child; see `worker`."""

    def __init__(self, process: subprocess.Popen[str], log: Path, began: float) -> None:
        self._process, self._log, self._began = process, log, began
        self.handled = 0
        """Images so far."""

    def ask(self, **command: Any) -> dict[str, Any]:
        """Sends one command and waits for its answer."""
        assert self._process.stdin  # noqa: S101 (opened as pipes)
        with contextlib.suppress(BrokenPipeError):  # then there is no answer
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The child's next line."""
        assert self._process.stdout  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            raise self._died("The worker's process ended.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def seconds_since_start(self) -> float:
        """Since just before the process was made."""
        return time.perf_counter() - self._began

    def handle(self, events: Sequence[dict[str, Any]]) -> Sample:
        """Has the worker answer `events` one after the other."""
        answer = self.ask(events=events)
        if answer["handed_back"]:
            raise self._died(f"{answer['handed_back']} messages were handed back.")
        self.handled += answer["images"]
        return Sample(answer["images"], answer["seconds"], answer["cpu_seconds"])

    def memory(self) -> dict[str, float]:
        """`resident` and `peak`, in MB (10^6 bytes)."""
        return self.ask(memory=True)

    def stop(self) -> None:
        """Closes its input, which ends it; kills it if it does not end."""
        with contextlib.suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def _died(self, what: str) -> WorkerDiedError:
        last = " | ".join(self._log.read_text(errors="replace").splitlines()[-5:])
        return WorkerDiedError(f"{what} Its last lines: {last}")


@contextlib.contextmanager
def worker(
    kind: str, environment: Mapping[str, str], log: Path, *, cores: int | None = None, option: str = ""
) -> Iterator[WorkerProcess]:
    """A fresh process for the block: `kind` is `ours` or `keras`, `cores` bounds what it may run on."""
    pinnable = hasattr(os, "sched_getaffinity")
    allowed = sorted(os.sched_getaffinity(0) if pinnable else range(available_cores()))[:cores]
    # The usual worker has no tuned memory allocator.
    given = {name: value for name, value in environment.items() if kind == "ours" or not name.startswith("MALLOC_")}
    given |= {"INFERENCE_THREADS": str(len(allowed))}
    command = [sys.executable, "-m", CHILD, kind, ",".join(map(str, allowed)), *([option] if option else [])]
    with log.open("a", encoding="utf-8") as output:
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 (our own module)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            cwd=ROOT,
            env=given | {"STARTED": repr(time.monotonic())},
        )
    child = WorkerProcess(process, log, began)
    try:
        yield child
    finally:
        child.stop()
