"""The gate's bound on tests that nobody marked slow: it sees processor time, processes that are started, and waits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
EXAMPLES = """
import subprocess, sys, time
import pytest

COMPUTE = "import time\\nwhile time.process_time() < 0.5: pass"

def test_that_computes():
    end = time.process_time() + 0.5
    while time.process_time() < end: pass

def test_that_has_another_process_compute():
    subprocess.run([sys.executable, "-c", COMPUTE], check=True)

def test_that_waits(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    time.sleep(1)

@pytest.mark.slow
def test_that_is_marked():
    test_that_computes()

def test_that_is_quick():
    pass
"""


def test_what_takes_longer_fails_unless_it_is_marked(tmp_path):
    (tmp_path / "test_examples.py").write_text(EXAMPLES)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "--unmarked-seconds", "0.3", "-o", "markers=slow", "-rA"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{TESTS}:{TESTS.parent}"},
        capture_output=True,
        text=True,
        check=False,
    )
    ends = dict(line.split()[1::-1] for line in run.stdout.splitlines() if line.startswith(("PASSED", "FAILED")))
    assert {name.partition("::test_that_")[2]: end for name, end in ends.items()} == {
        "computes": "FAILED",
        "has_another_process_compute": "FAILED",
        "waits": "FAILED",
        "is_marked": "PASSED",
        "is_quick": "PASSED",
    }, run.stdout
