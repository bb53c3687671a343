"""A Docker engine for these tests: the one that is running, or one of their own in a scratch folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_SECONDS = 60


class NoEngineError(RuntimeError):
    """No engine can be used here. The message says why."""


@contextlib.contextmanager
def engine(scratch: Path) -> Iterator[dict[str, str]]:
    """Environment variables that lead every Docker client to the engine, which stands for the block."""
    if not shutil.which("docker"):
        raise NoEngineError("there is no docker command (Debian: apt-get install docker.io iptables debootstrap)")
    if _answers(os.environ):
        yield {name: os.environ[name] for name in ("DOCKER_HOST", "DOCKER_CONTEXT") if name in os.environ}
        return
    if not shutil.which("dockerd"):
        raise NoEngineError("no engine answers, and there is no dockerd to start (Debian: apt-get install docker.io)")
    if os.geteuid() != 0:
        raise NoEngineError("no engine answers, and only root can start one")
    with _own(scratch) as address:
        yield {"DOCKER_HOST": address}


def _answers(environment: os._Environ[str] | dict[str, str]) -> bool:
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(command, env=dict(environment), capture_output=True, timeout=60, check=False).returncode == 0


@contextlib.contextmanager
def _own(scratch: Path) -> Iterator[str]:
    """An engine with no state but `scratch`, which touches no packet filter of this machine."""
    address = f"unix://{scratch}/docker.sock"
    places = ["--data-root", f"{scratch}/data", "--exec-root", f"{scratch}/run", "--pidfile", f"{scratch}/docker.pid"]
    log = scratch / "dockerd.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["dockerd", "--host", address, *places, "--iptables=false", "--ip6tables=false"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers({**os.environ, "DOCKER_HOST": address}):
            if process.poll() is not None or time.monotonic() > deadline:
                last = log.read_text(errors="replace").splitlines()[-1:]
                raise NoEngineError(f"dockerd does not start here: {' '.join(last)[-300:]}")
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
