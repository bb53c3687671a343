"""A stack of a test's own; and a standing one with a real worker and a tiny bundle, as `python -m infra --worker`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.standing import standing_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from infra.embedded_aws import Endpoint
    from infra.stack import Stack

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def local_stack(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """What `--local` means in this module, and in every process that its tests start."""
    folder = tmp_path_factory.mktemp("standing")
    command = [sys.executable, "-m", "infra", "--worker", "--env", str(folder / "env.json")]
    with pytest.MonkeyPatch.context() as patch, (folder / "log").open("w") as log:
        for name in [name for name in os.environ if name.startswith(("AWS_", "DERMBATCH_"))]:
            patch.delenv(name)
        patch.setenv("DERMBATCH_STATE", str(folder / "state"))
        patch.setenv("MODEL_BUNDLE", str(tiny_bundle))
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout
            started = any("The worker runs" in line for line in process.stdout)
            assert started, (folder / "log").read_text()[-2000:]
            drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)  # the worker's log
            yield standing_endpoint()
            process.terminate()
            assert process.wait(30) == 0
            drain.wait(30)
            assert not (folder / "state" / "local.json").exists()
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def arrow() -> Any:
    """pyarrow, which not every installation has."""
    reason = "NOT RUN: install requirements/parquet.txt to try Parquet"
    pytest.importorskip("pyarrow.parquet", reason=reason)
    return pytest.importorskip("pyarrow", reason=reason)


@pytest.fixture
def reached(fresh_stack: Callable[..., Stack], monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack of its own, found by the command as a person's shell would find it."""
    stack = fresh_stack()
    for name, value in stack.endpoint.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "DERMBATCH_STACK", "DERMBATCH_STATE"):
        monkeypatch.delenv(name, raising=False)
    return stack
