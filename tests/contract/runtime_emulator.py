"""Lambda's own Runtime Interface Emulator with awslambdaric: the worker as Lambda starts, invokes and kills it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "samcli/local/rapid/aws-lambda-rie-x86_64"
START_SECONDS = 20.0


class FunctionError(RuntimeError):
    """The function raised, exited or timed out: what Lambda reports in place of an answer."""


def program() -> Path | None:
    """The emulator from aws-sam-cli's wheel in .venv-sam, if this machine can run it."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    return next(iter(sorted((ROOT / ".venv-sam").glob(f"lib/python*/site-packages/{PROGRAM}"))), None)


def copy_what_the_image_holds(folder: Path, recipe: str = "Dockerfile", place: str = "/build/worker") -> Path:
    """What infra/Dockerfile copies into the worker's image, so that nothing else of the repository can be imported.

    Another `recipe` gathers at another `place`.
    """
    for line in (ROOT / "infra" / recipe).read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and words[-1].startswith(f"{place}/"):
            source, target = ROOT / words[1], folder / Path(words[2]).relative_to(place)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@dataclass(frozen=True, slots=True)
class Runtime:
    """One execution environment. One invocation at a time: two at once crash a cold emulator."""

    address: str
    log: Path

    def invoke(self, event: Any, _context: object = None) -> Any:
        """The function's answer; raises FunctionError with Lambda's own words. Fits `run_worker` as a handler."""
        request = urllib.request.Request(
            f"http://{self.address}/2015-03-31/functions/function/invocations", data=json.dumps(event).encode()
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(request, timeout=100) as response:
                body = response.read().decode()
        except urllib.error.HTTPError as error:
            raise FunctionError(error.read().decode()) from error
        # The emulator answers 200 to a timeout too, in plain words; an exception is an object with these keys.
        if body.startswith(("Task timed out", "RequestId:")) or "Task timed out after" in body:
            raise FunctionError(body)
        answer = json.loads(body)
        if isinstance(answer, dict) and "errorType" in answer:
            raise FunctionError(f"{answer['errorType']}: {answer.get('errorMessage')}")
        return answer


@contextlib.contextmanager
def runtime(
    folder: Path,
    log: Path,
    environment: Mapping[str, str],
    *,
    timeout: int,
    handler: str = "handler.app.lambda_handler",
    python: Sequence[str] = (sys.executable,),
) -> Iterator[Runtime]:
    """The function of `folder` under the emulator, for the block; `timeout` is the function's, in seconds."""
    emulator = program()
    assert emulator, "skip the test where there is no emulator"
    public, internal = _free_ports(2)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                str(emulator),
                *("--runtime-interface-emulator-address", f"127.0.0.1:{public}"),
                *("--runtime-api-address", f"127.0.0.1:{internal}"),
                *("--log-level", "error"),
                *(*python, "-m", "awslambdaric", handler),
            ],
            cwd=folder,
            env={**environment, "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_it_listens(public, process)
        yield Runtime(f"127.0.0.1:{public}", log)
    finally:
        _stop(process)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"The Runtime Interface Emulator does not listen (exit {process.poll()}).")


def _stop(process: subprocess.Popen[bytes]) -> None:
    children = _children(process.pid)
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:  # it starts the runtime in a process group of its own
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        found += [int(child) for child in (task / "children").read_text().split()]
    return found
