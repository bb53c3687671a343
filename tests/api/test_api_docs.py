"""docs/api.md: what it shows is run as it stands there; its table of codes is that of the code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from doc_blocks import blocks
from running import running
from sample_images import jpeg

from api.access import LOOPBACK, KeyAccess
from api.app import create_app
from handler.store.record import NOTICE

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
BLOCKS = [block for block in blocks(ROOT / "docs" / "api.md") if not block.not_run]
SHELL = [block.text for block in BLOCKS if block.language == "sh"]
PYTHON = [block.text for block in BLOCKS if block.language == "python"]
KEY = "a-key-of-at-least-sixteen"


@pytest.fixture(scope="module")
def guarded(settings):
    with running(create_app(settings, access=KeyAccess(frozenset(LOOPBACK), KEY))) as connected:
        yield connected


def _run(guarded, folder: Path, *command: str) -> str:
    (folder / "lesion.jpg").write_bytes(jpeg(1))
    environment = {"PATH": os.environ["PATH"], "SERVICE": str(guarded.base_url).rstrip("/"), "KEY": KEY}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize("block", SHELL)
def test_a_shell_block_runs(guarded, tmp_path, block):
    told = _run(guarded, tmp_path, "bash", "-euc", block)
    picture = tmp_path / "heatmap.png"
    assert NOTICE in told or picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("block", PYTHON)
def test_a_python_block_runs(guarded, tmp_path, block, work: Callable[[], object]):
    ended = threading.Event()

    def worker() -> None:
        while not ended.is_set():
            work()

    thread = threading.Thread(target=worker)
    thread.start()
    try:
        told = _run(guarded, tmp_path, sys.executable, "-c", block)
    finally:
        ended.set()
        thread.join()
    assert told.strip() in {"classified", "referred"}


def test_the_tables_of_codes_and_endpoints_are_complete():
    sources = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "api").glob("*.py"))
    raised = set(re.findall(r'Problem\(\s*\d{3},\s*"(\w+)"', sources)) | set(re.findall(r'busy\(\s*"(\w+)"', sources))
    assert len(raised) > 15
    table = TEXT.partition("## Errors")[2].partition("## How")[0]
    assert raised - {"client_left"} <= set(re.findall(r"`(\w+)`", table))
    assert len(SHELL) == 5
