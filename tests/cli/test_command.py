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
from cli.app import NOTICE, Format, Status, _with_seconds, main
from handler.store import record

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "submit", "results", "show", "classify", "erase", "export", "demo", "smoke", "backfill", "serve", "work", "compare",
    "dlq", "models", "reconcile", "restore", "parameters", "adopt", "versions",
)  # fmt: skip


LIGHT = {"cli", "typer", "annotated_doc", "shellingham"}
"""All that --help may import besides Python's own modules; rich alone would double its time."""
OPTIONS = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
"""What typer imports besides, once a command has options."""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS), ["dlq", "list", "--help"]]
)
def test_help_and_version_import_nothing_heavy(arguments):
    script = "import sys; before = set(sys.modules); from cli.app import main; "
    script += f"code = main({arguments}); print(code, *set(sys.modules) - before)"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    code, *modules = run.stdout.splitlines()[-1].split()
    assert code == "0"
    others = {name.partition(".")[0] for name in modules if not name.startswith("_sysconfigdata")}
    assert others - sys.stdlib_module_names <= LIGHT | (OPTIONS if len(arguments) > 1 else set())
    assert [name for name in modules if name.startswith("cli.")] == ["cli.app"]


@pytest.mark.parametrize("arguments", [["--help"], ["dlq", "--help"]])
def test_the_list_of_commands_cuts_no_sentence(arguments, capsys):
    assert main(arguments) == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


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
        ["export", "--format", "orc"],
        ["export", "--csv", "--format", "parquet"],
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


def test_the_formats_to_choose_from_are_the_exports():
    from cli import export

    assert [*Format] == [str(form) for form in export.Format]


def test_the_statuses_to_choose_from_are_the_models():
    assert [*Status] == [str(status) for status in model_layer.Status]


def test_the_installed_script_is_this_command():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["scripts"]["dermbatch"].partition(":")
    assert getattr(importlib.import_module(module), function) is main
