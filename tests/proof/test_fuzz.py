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
        [PYTHON, "-m", "proof.fuzz", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


needs_fuzzer = pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-fuzz: `make fuzz` installs it (atheris)")


@pytest.mark.fuzz
@needs_fuzzer
def test_no_seconds_are_refused_as_libfuzzer_would_never_end(tmp_path):
    run = run_fuzz("--seconds", 0, "--out", tmp_path)
    assert run.returncode == 2
    assert "--seconds must be at least 1" in run.stderr


@pytest.mark.fuzz
@needs_fuzzer
def test_seeds_do_not_pile_up(tmp_path):
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "of-another-corpus").touch()
    assert run_fuzz("--seconds", 1, "--out", tmp_path).returncode == 0
    assert [folder.name for folder in tmp_path.glob("seeds*")] == ["seeds"]
    assert not (tmp_path / "seeds" / "of-another-corpus").exists()


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.timeout(600)
@needs_fuzzer
def test_two_minutes_of_fuzzing_break_no_promise(tmp_path):
    run = run_fuzz("--seconds", SECONDS, "--out", tmp_path)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "stat::number_of_executed_units" in run.stderr
    assert [file.name for file in tmp_path.glob("*-*") if file.is_file()] == []
