"""What docs/operations.md and docs/security.md name is there: outputs, parameters, variables, alarms, codes, tests."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from handler.configuration import Settings
from handler.errors import REFUSALS
from infra.template import TEMPLATE, read_template
from model_layer import ReferralCode, RejectionCode

ROOT = TEMPLATE.parent
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SECURITY = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


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
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)(?:=\w+)?[`'/ ]", OPERATIONS + SECURITY))
    assert {"MaximumConcurrency", "EncryptionKey"} <= named
    assert named - AWS_NAMES <= {*template["Parameters"], *template["Outputs"], *template["Resources"]}


def test_every_variable_of_the_worker_is_in_the_table_with_its_default():
    listed = set(re.findall(r"^\| `([A-Z_]+)` \|", OPERATIONS, re.MULTILINE))
    fields = {field.name.upper() for field in dataclasses.fields(Settings)}
    assert fields <= listed, fields - listed


def test_the_template_sets_no_variable_that_the_worker_does_not_know(template):
    declared = set(template["Resources"]["Worker"]["Properties"]["Environment"]["Variables"])
    known = {field.name.upper() for field in dataclasses.fields(Settings)}
    others = {name for name in declared if name.startswith("POWERTOOLS_")} | {"MALLOC_ARENA_MAX"}  # glibc's own
    assert declared - others <= known


def test_runbooks_advise_no_variable_that_only_a_laptop_can_set(template):
    declared = set(template["Resources"]["Worker"]["Properties"]["Environment"]["Variables"])
    listed = set(re.findall(r"^\| `([A-Z_]+)` \|", OPERATIONS, re.MULTILINE))
    settings = OPERATIONS.partition("## The worker's settings")[2].partition("| variable |")[0]
    assert set(re.findall(r"`([A-Z_]+)`", settings)) == listed - declared
    runbooks = OPERATIONS.partition("# When an alarm rings")[2].partition("# Tasks")[0]
    assert not set(re.findall(r"`([A-Z_]+)`", runbooks)) & (listed - declared)


def test_every_alarm_has_its_runbook(template):
    suffixes = [
        resource["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    ]
    assert len(suffixes) == 8
    for suffix in suffixes:
        assert f"`{suffix}`" in OPERATIONS, suffix


def test_every_code_of_a_failed_upload_is_explained():
    errors = (ROOT / "handler" / "errors.py").read_text(encoding="utf-8")
    text = errors[errors.index("class TryAgainError") :]
    codes = set(re.findall(r"`([a-z_]+)`", text))
    assert {"storage_unavailable", "internal_error"} <= codes
    for code in codes:
        assert f"`{code}`" in OPERATIONS, code


def test_the_runbook_finds_every_line_about_what_is_handed_back(template):
    telemetry = (ROOT / "handler" / "telemetry.py").read_text(encoding="utf-8")
    lines = re.findall(r'logger\.warning\("([^"]+)"', telemetry)
    assert len(lines) == 3
    section = OPERATIONS[OPERATIONS.index("## Errors") : OPERATIONS.index("## Nothing is processed")]
    alarm = template["Resources"]["ErrorRateAlarm"]["Properties"]["AlarmDescription"]
    for text in (" ".join(re.findall(r"--filter-pattern '(.+)'", section)), alarm):
        phrases = re.findall(r'"([^"]+)"', text)
        for line in lines:
            assert any(phrase in line for phrase in phrases), line


def test_a_deletion_among_the_dead_letters_is_not_purged(template):
    section = OPERATIONS[OPERATIONS.index("## Dead letters") : OPERATIONS.index("## Old messages")]
    assert "ObjectRemoved" in section
    assert "LifecycleExpiration" in section
    alarm = template["Resources"]["LiveDeadLettersAlarm"]["Properties"]["AlarmDescription"]
    assert "never purge" in alarm


@pytest.mark.parametrize(
    ("status", "codes"), [("referred", {*ReferralCode}), ("rejected", {*RejectionCode, *REFUSALS})]
)
def test_every_code_of_an_image_is_explained_and_no_other(status, codes):
    rows = re.findall(rf"^\| `{status}` \| ([^|]+) \|", OPERATIONS, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == codes


def test_every_test_that_the_threat_model_relies_on_is_there():
    named = re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py|tests/\w+(?:/\w+)*)`", SECURITY)
    assert len(named) > 8
    for name in named:
        path = ROOT / name if name.startswith("tests/") else ROOT / "tests" / "infra" / name
        assert path.exists(), name
        assert path.is_file() or any(path.glob("test_*.py")), f"{name} holds no test"


def test_every_module_that_a_command_runs_is_there():
    modules = set(re.findall(r"python -m ([\w.]+)", OPERATIONS))
    assert "cli.backfill" in modules
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert (path / "__main__.py").is_file() or path.with_suffix(".py").is_file(), module


def test_every_result_that_the_benchmarks_list_is_there():
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / "benchmarks" / target).is_file(), target


def test_every_link_leads_somewhere():
    for text in (OPERATIONS, SECURITY):
        for target in re.findall(r"\]\((?!https?:)([^)#]+\.md)?(?:#[\w-]+)?\)", text):
            assert not target or (ROOT / "docs" / target).is_file(), target
        anchors = {
            re.sub(r"[^\w -]", "", head).lower().replace(" ", "-")
            for head in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        for anchor in re.findall(r"\]\(#([\w-]+)\)", text):
            assert anchor in anchors, anchor
