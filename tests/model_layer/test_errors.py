"""The one place that turns errors into a sentence and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from handler.errors import ConfigurationError
from infra.embedded_aws import EmulatorError
from infra.stack import StackError
from infra.template import TemplateError
from model_layer import BundleError
from model_layer.errors import UserError, run_command
from training.errors import TrainingError

ROOT = Path(__file__).resolve().parents[2]


def _raising(error: BaseException):
    def command() -> int:
        raise error

    return command


class TerminatedError(KeyboardInterrupt):
    exit_code = 143


class NoStackError(UserError):
    exit_code = 4


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (UserError("Give me a folder."), 1, "x: Give me a folder.\n"),
        (NoStackError("No such stack."), 4, "x: No such stack.\n"),
        (ConfigurationError("A is wrong."), 1, "x: A is wrong.\n"),
        (FileNotFoundError(2, "No such file or directory", "a.jpg"), 1, "x: a.jpg: No such file or directory.\n"),
        (OSError(28, "No space left on device"), 1, "x: No space left on device.\n"),
        (KeyboardInterrupt(), 130, "\nx: kept.\n"),
        (TerminatedError(), 143, "\nx: kept.\n"),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(error, code, told, capsys):
    assert run_command("x", _raising(error), "kept.") == code
    assert capsys.readouterr().err == told


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command("x", lambda: 1 // 0)


def test_the_commands_own_code_is_returned(capsys):
    assert run_command("x", lambda: 3) == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [BundleError, TrainingError, EmulatorError, StackError, TemplateError])
def test_every_operator_error_is_one(error):
    assert issubclass(error, UserError)


def test_a_reader_that_has_gone_is_no_error():
    script = "from model_layer.errors import run_command; run_command('x', lambda: print('much\\n' * 99999) or 0)"
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as out:
        run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=out, stderr=subprocess.PIPE, check=False)
    assert run.stderr == b""
