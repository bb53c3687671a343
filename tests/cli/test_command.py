"""The `dermbatch` command itself: help without heavy imports, usage errors, exit codes."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import model_layer
from cli import __version__
from cli.app import NOTICE, Status, _with_seconds, main
from handler.store import record

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "submit", "results", "show", "classify", "erase", "export", "demo", "smoke", "backfill", "serve", "work", "compare",
    "models", "dlq",
)  # fmt: skip


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_and_version_import_nothing_heavy(arguments):
    """Each of these takes longer to import than the rest of the command together."""
    heavy = ("boto3", "numpy", "onnxruntime", "PIL")
    script = f"import sys; from cli.app import main; code = main({arguments}); print(code, *sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    code, *modules = run.stdout.splitlines()[-1].split()
    assert code == "0"
    assert not set(modules) & set(heavy)


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dermbatch {__version__}\n"


def test_help_names_every_command_and_the_notice(capsys):
    assert NOTICE == record.NOTICE
    assert main(["--help"]) == 0
    out = " ".join(re.sub(r"[^\w.-]+", " ", capsys.readouterr().out).split())
    assert all(name in out for name in (*COMMANDS, NOTICE))


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing-like-this"],
        ["smoke", "--local", "--region", "eu-central-1"],
        ["submit"],
        ["submit", "no-such-folder"],
        ["submit", ".", "--wait", "-1"],
        ["results", "--status", "lost"],
        ["results", "--json", "--csv"],
        ["results", "--min-confidence", "2"],
        ["results", "--manifest", "m", "--day", "2026-11-25"],
        ["show"],
        ["show", "a.jpg", "--local", "--profile", "x"],
        ["erase"],
        ["export", "--out"],
        ["smoke", "--stack", "x", "--seconds", "soon"],
        ["smoke", "--sta", "x"],
        ["backfill", "--stack", "x", "--per-second", "-1"],
        ["backfill", "--stack", "x", "--max-waiting", "0"],
        ["compare", "1"],
        ["demo", "--count", "0"],
        ["demo", "--seed", "1000000000"],
        ["demo", "--images", ".", "--count", "3"],
    ],
)
def test_wrong_usage_ends_with_2_before_anything_starts(arguments, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err
    assert not captured.out


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["--wait"], ["--wait=600"]),
        (["--wait", "photos"], ["--wait=600", "photos"]),
        (["--wait", "2.5", "photos"], ["--wait", "2.5", "photos"]),
        (["--wait=3"], ["--wait=3"]),
        (["--wait", "-1"], ["--wait", "-1"]),
        (["--", "--wait"], ["--", "--wait"]),
    ],
)
def test_wait_goes_with_and_without_seconds(given, read):
    assert _with_seconds(["submit", *given]) == ["submit", *read]


def test_the_statuses_to_choose_from_are_the_models():
    assert [*Status] == [str(status) for status in model_layer.Status]


def test_the_installed_script_is_this_command():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["scripts"]["dermbatch"].partition(":")
    assert getattr(importlib.import_module(module), function) is main
