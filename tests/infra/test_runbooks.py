"""Outputs, parameters, variables, alarms, codes and tests that docs name for operators exist."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from handler.configuration import Settings
from handler.errors import REFUSALS, ErrorCode
from handler.flow.queues import hidden_seconds
from infra.template import TEMPLATE, read_template

ROOT = TEMPLATE.parent
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SECURITY = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
CAPACITY = (ROOT / "docs" / "capacity.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return read_template()


def test_every_output_that_a_command_asks_for_is_one(template):
    asked = set(re.findall(r"\$\(output (\w+)\)", OPERATIONS))
    assert asked
    assert asked <= set(template["Outputs"])


AWS_NAMES = {"ConcurrentExecutions", "LifecycleExpiration", "ObjectRemoved", "ScalingConfig", "VisibilityTimeout"}
"""Names that AWS gave: written like ours, but none of the template's."""


def test_every_parameter_and_output_that_is_named_is_one(template):
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)(?:=\w+)?[`'/ ]", OPERATIONS + SECURITY + CAPACITY))
    assert {"MaximumConcurrency", "EncryptionKey"} <= named
    assert named - AWS_NAMES <= {*template["Parameters"], *template["Outputs"], *template["Resources"]}


def test_the_template_sets_no_variable_that_the_worker_does_not_know(template):
    declared = set(template["Resources"]["Worker"]["Properties"]["Environment"]["Variables"])
    known = {field.name.upper() for field in dataclasses.fields(Settings)}
    others = {name for name in declared if name.startswith("POWERTOOLS_")} | {"MALLOC_ARENA_MAX"}  # glibc's own
    assert declared - others <= known


def test_runbooks_advise_no_variable_that_only_a_laptop_can_set(template):
    declared = set(template["Resources"]["Worker"]["Properties"]["Environment"]["Variables"])
    unset = {field.name.upper() for field in dataclasses.fields(Settings)} - declared
    assert "DOWNLOAD_THREADS" in unset
    runbooks = OPERATIONS.partition("# When an alarm rings")[2].partition("# Tasks")[0]
    assert not set(re.findall(r"`([A-Z_]+)`", runbooks)) & unset


def test_every_alarm_has_its_runbook(template):
    suffixes = [
        resource["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    ]
    assert len(suffixes) == 14
    for suffix in suffixes:
        assert f"`{suffix}`" in OPERATIONS, suffix


def test_every_code_of_a_failed_upload_is_explained():
    others = {ErrorCode.CONFIGURATION, ErrorCode.UNREADABLE_MESSAGE, ErrorCode.FOREIGN_BUCKET}  # no record has them
    others |= {ErrorCode.OVERWRITTEN, ErrorCode.DELETED, *REFUSALS}  # not of `failed` records
    others |= {ErrorCode.QUEUE_UNAVAILABLE}  # only about removals and dead letters
    for code in set(ErrorCode) - others:
        assert f"`{code}`" in OPERATIONS, code


def test_the_runbook_finds_every_line_about_what_is_handed_back(template):
    telemetry = (ROOT / "handler" / "telemetry.py").read_text(encoding="utf-8")
    lines = re.findall(r'logger\.warning\("([^"]+)"', telemetry)
    lines = [line for line in lines if line not in {"image given up", "dead letter"}]
    assert len(lines) == 4
    section = OPERATIONS[OPERATIONS.index("## Errors") : OPERATIONS.index("## Nothing is processed")]
    alarm = template["Resources"]["ErrorRateAlarm"]["Properties"]["AlarmDescription"]
    for text in (" ".join(re.findall(r"--filter-pattern '(.+)'", section)), alarm):
        phrases = re.findall(r'"([^"]+)"', text)
        for line in lines:
            assert any(phrase in line for phrase in phrases), line


def test_the_minutes_until_a_message_is_a_dead_letter_are_those_of_the_queue(template):
    receives = template["Parameters"]["MaxReceives"]["Default"]
    hidden = template["Resources"]["LiveQueue"]["Properties"]["VisibilityTimeout"]
    handed_back = sum(hidden_seconds(receive, hidden) for receive in range(1, receives + 1))
    section = " ".join(OPERATIONS[OPERATIONS.index("## Old messages") : OPERATIONS.index("## Errors")].split())
    assert f"after about {handed_back / 60:.0f} minutes if workers hand it back" in section
    assert f"after {receives * hidden / 60:.0f} minutes if they die with it" in section
    alarm = template["Resources"]["LiveAgeAlarm"]["Properties"]["AlarmDescription"]
    assert f"a dead letter after {receives * hidden / 60:.0f} minutes" in alarm


def test_a_deletion_among_the_dead_letters_is_not_purged(template):
    section = OPERATIONS[OPERATIONS.index("## Dead letters") : OPERATIONS.index("## Old messages")]
    assert "ObjectRemoved" in section
    assert "LifecycleExpiration" in section
    alarm = template["Resources"]["RemovalsDeadLettersAlarm"]["Properties"]["AlarmDescription"]
    assert "never purge" in alarm


def test_every_test_that_the_threat_model_relies_on_is_there():
    named = re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py|tests/\w+(?:/\w+)*)`", SECURITY)
    assert len(named) > 8
    for name in named:
        path = ROOT / name if name.startswith("tests/") else ROOT / "tests" / "infra" / name
        assert path.exists(), name
        assert path.is_file() or any(path.glob("test_*.py")), f"{name} holds no test"
