"""What docs/operations.md and docs/security.md name is there: outputs, parameters, variables, alarms, codes, tests."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from handler.configuration import Settings
from infra.template import TEMPLATE, read_template

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


AWS_NAMES = {"ConcurrentExecutions", "ScalingConfig", "VisibilityTimeout"}
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


def test_every_test_that_the_threat_model_relies_on_is_there():
    named = re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py|tests/\w+(?:/\w+)*)`", SECURITY)
    assert len(named) > 8
    for name in named:
        path = ROOT / name if name.startswith("tests/") else ROOT / "tests" / "infra" / name
        assert path.exists(), name
        assert path.is_file() or any(path.glob("test_*.py")), f"{name} holds no test"


def test_every_module_that_a_command_runs_is_there():
    modules = set(re.findall(r"python -m ([\w.]+)", OPERATIONS))
    assert "infra.backfill" in modules
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert (path / "__main__.py").is_file() or path.with_suffix(".py").is_file(), module


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
