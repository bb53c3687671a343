"""Starts `local_service.py` in a process of its own and talks to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Service:
    """The local stack in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url: str = self._answer()["url"]

    def offline(self) -> None:
        self._tell("offline")

    def online(self) -> None:
        self._tell("online")

    def _tell(self, word: str) -> None:
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> dict[str, str]:
        line = self._process.stdout.readline()
        assert line, "the service ended; run tests/page/local_service.py to see why"
        return json.loads(line)


@contextmanager
def running(*options: str) -> Iterator[Service]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{HERE.parent}", "INFERENCE_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, str(HERE / "local_service.py"), *options],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the worker logs every image
        text=True,
    ) as process:
        try:
            yield Service(process)
        finally:
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
