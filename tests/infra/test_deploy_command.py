"""`make deploy`: the parameters that the pages name reach the build and the deployment as the template takes them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from typing import Any

import pytest

from infra.template import TEMPLATE, read_template

ROOT = TEMPLATE.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SAM = ROOT / ".venv-sam" / "bin" / "python"
PARSE = """
import json, sys
from samcli.cli.types import CfnParameterOverridesType
for line in sys.stdin:
    print(json.dumps(CfnParameterOverridesType().convert(tuple(json.loads(line)), None, None)))
"""


def _commands() -> dict[str, str]:
    """Each `make deploy` of the pages, by page and number: in blocks, and within a sentence."""
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"^ *(make deploy[^\n#]*)|`(make\s+deploy[^`]+)`", text, re.MULTILINE)
        for number, (block, inline) in enumerate(named):
            command = " ".join((block or inline).split())
            if "NAME=VALUE" not in command and "..." not in command:
                found[f"{page.name} {number}"] = command
    return found


COMMANDS = _commands()


def _dry(command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"MAKEFLAGS": "n", "STACK": "mine"}
    return subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def _given(told: str, step: str) -> list[str]:
    """The parameters in the line of SAM's `step`."""
    (line,) = (line for line in told.splitlines() if f"/sam {step}" in line)
    words = shlex.split(line)
    assert words.count("--parameter-overrides") <= 1, "SAM takes only the last"
    return words[words.index("--parameter-overrides") + 1 :] if "--parameter-overrides" in words else []


@pytest.fixture(scope="module")
def deployed() -> dict[str, list[str]]:
    """The parameters of each command."""
    given = {}
    for name, command in COMMANDS.items():
        told = _dry(command)
        assert told.returncode == 0, f"{name}: {command}\n{told.stderr}"
        given[name] = _given(told.stdout, "deploy")
        assert _given(told.stdout, "build") == given[name], "the build must know the processor"
    return given


def test_the_pages_deploy_with_parameters(deployed):
    assert len([given for given in deployed.values() if given]) > 8


@pytest.mark.skipif(not SAM.exists(), reason="NOT RUN: needs aws-sam-cli in .venv-sam")
def test_sam_reads_values_that_the_template_permits(deployed):
    lines = "\n".join(json.dumps(given) for given in deployed.values() if given)
    done = subprocess.run([SAM, "-c", PARSE], input=lines, capture_output=True, text=True, check=True)
    parameters = read_template()["Parameters"]
    seen = {}
    for line in done.stdout.splitlines():
        for name, value in json.loads(line).items():
            seen[name] = value
            assert _permitted(parameters[name], value), f"{name}={value!r}"
    assert seen["ReconcileSchedule"] == "cron(17 3 * * ? *)"
    assert seen["Candidate"] == "", "an empty one ends the trial"


def _permitted(parameter: dict[str, Any], value: str) -> bool:
    if "AllowedValues" in parameter:
        return value in map(str, parameter["AllowedValues"])
    if "MinValue" in parameter:
        return parameter["MinValue"] <= float(value) <= parameter["MaxValue"]
    return bool(re.fullmatch(parameter["AllowedPattern"], value))


def test_parameters_among_the_other_options_are_refused():
    told = _dry("make deploy DEPLOY_OPTIONS='--parameter-overrides Architecture=arm64'")
    assert told.returncode == 2
    assert 'PARAMETERS="NAME=VALUE NAME=VALUE"' in told.stderr
