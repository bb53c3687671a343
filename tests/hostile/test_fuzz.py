"""The coverage-guided tier: runs where its tools are installed, and says so where they are not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-fuzz" / "bin" / "python"
SECONDS = 120


def run_fuzz(*arguments):
    if subprocess.run([PYTHON, "-c", "import atheris"], capture_output=True, check=False).returncode:
        pytest.skip("atheris cannot be imported in .venv-fuzz")
    return subprocess.run(
        [PYTHON, "-m", "fuzz", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


needs_fuzzer = pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-fuzz: `make fuzz` installs it (atheris)")


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.timeout(600)
@needs_fuzzer
def test_two_minutes_of_fuzzing_break_no_promise(tmp_path):
    run = run_fuzz("--seconds", SECONDS, "--out", tmp_path)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "stat::number_of_executed_units" in run.stderr
    assert [file.name for file in tmp_path.glob("*-*") if file.is_file()] == []
