"""`make audit` finds what it should, and never calls clean what it could not look at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from proof import audit

if TYPE_CHECKING:
    from pathlib import Path

HASH = "--hash=sha256:" + "0" * 64


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Puts a pip-audit in place that answers with `text`, for one set of one package."""

    def put(text: str, error: str = "") -> None:
        tool = tmp_path / "pip-audit"
        (tmp_path / "out").write_text(text)
        (tmp_path / "error").write_text(error)
        tool.write_text(f"#!/bin/sh\ncat {tmp_path}/out\ncat {tmp_path}/error >&2\nexit 1\n")
        tool.chmod(0o755)
        (tmp_path / "set.txt").write_text(f"pillow==1.0 {HASH}\n")
        monkeypatch.setattr(audit, "TOOLS", tmp_path)
        monkeypatch.setattr(audit, "PINNED", [tmp_path / "set.txt"])

    return put


@pytest.fixture
def answers_in_turn(answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same for two sets, each with its own answer."""

    def put(*texts: str) -> None:
        answers("")
        files = [tmp_path / f"{number}.txt" for number in range(len(texts))]
        for file, text in zip(files, texts, strict=True):
            file.write_text(f"pillow==1.0 {HASH}\n")
            file.with_suffix(".answer").write_text(text)
        (tmp_path / "pip-audit").write_text('#!/bin/sh\nfor last; do :; done\ncat "${last%.txt}.answer"\nexit 1\n')
        monkeypatch.setattr(audit, "PINNED", files)

    return put


def _package(**more: object) -> str:
    return json.dumps({"dependencies": [{"name": "pillow", "version": "1.0", "vulns": [], **more}]})


def test_a_known_flaw_is_a_finding(answers):
    answers(_package(vulns=[{"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": []}]))
    result = audit.vulnerabilities()
    assert result.verdict == "FINDINGS"
    assert "pillow 1.0: PYSEC-1" in result.told


def test_no_known_flaw_is_clean(answers):
    answers(_package())
    assert audit.vulnerabilities().verdict == "clean"


def test_a_database_that_does_not_answer_is_not_run(answers):
    answers("", error="ConnectionError: Failed to resolve")
    assert audit.vulnerabilities() == audit.Result(
        "NOT RUN", "no vulnerability database can be reached (ConnectionError: Failed to resolve)"
    )


def test_a_package_that_the_index_knows_nothing_of_is_not_run(answers):
    answers(json.dumps({"dependencies": [{"name": "pillow", "skip_reason": "Dependency not found on PyPI"}]}))
    assert audit.vulnerabilities().verdict == "NOT RUN"


FLAW = [{"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": []}]
UNKNOWN = json.dumps({"dependencies": [{"name": "pillow", "skip_reason": "Dependency not found on PyPI"}]})


@pytest.mark.parametrize("silent", ["", UNKNOWN], ids=["no answer", "an unknown package"])
@pytest.mark.parametrize("first", [True, False])
def test_a_set_that_is_not_answered_for_hides_no_flaw_of_another(answers_in_turn, silent, first):
    flawed = _package(vulns=FLAW)
    answers_in_turn(*((flawed, silent) if first else (silent, flawed)))
    result = audit.vulnerabilities()
    assert result.verdict == "FINDINGS"
    flaw, reason = result.told.splitlines()
    assert flaw.startswith("pillow 1.0: PYSEC-1")
    assert "no vulnerability database" in reason or "does not answer" in reason


def test_a_set_that_is_not_answered_for_is_not_clean_beside_a_clean_one(answers_in_turn):
    answers_in_turn(UNKNOWN, _package())
    assert audit.vulnerabilities().verdict == "NOT RUN"


@pytest.mark.parametrize(
    ("report", "status", "verdict"),
    [
        ({"summary": {"passed": 7, "failed": 0}}, 0, "clean"),
        ({"passed": 0, "failed": 0}, 0, "FINDINGS"),
        ({"summary": {"passed": 0}}, 0, "FINDINGS"),
        ({"results": {"failed_checks": [{"check_id": "CKV_1", "resource": "R", "check_name": "n"}]}}, 1, "FINDINGS"),
        ("no JSON", 0, "FINDINGS"),
    ],
)
def test_a_look_at_nothing_is_not_clean(monkeypatch, tmp_path, report, status, verdict):
    (tmp_path / "out").write_text(report if isinstance(report, str) else json.dumps(report))
    tool = tmp_path / "checkov"
    tool.write_text(f"#!/bin/sh\ncat {tmp_path}/out\nexit {status}\n")
    tool.chmod(0o755)
    monkeypatch.setattr(audit, "TOOLS", tmp_path)
    assert audit.template().verdict == verdict


def test_every_pin_that_ships_has_one_version_and_hashes():
    assert audit.pins() == audit.Result("clean")
    assert len(audit.PINNED) >= 4


@pytest.mark.parametrize(
    "line",
    [
        f"pillow>=1.0 {HASH}",
        "pillow==1.0",
        "pillow @ https://example.org/pillow.whl",
        "--index-url https://example.org/simple",
        "-e .",
    ],
)
def test_what_is_not_pinned_is_a_finding(line):
    assert audit.unpinned(f"# a set\nnumpy==2.0 \\\n    {HASH}\n    # via pillow\n{line}\n") == [line.split(" ")[0]]


@pytest.fixture
def recipes(monkeypatch, tmp_path):
    """Puts two recipes in place that name these bases."""

    def put(*bases: str) -> None:
        (tmp_path / "infra").mkdir(exist_ok=True)
        for name, base in zip(audit.RECIPES, bases, strict=True):
            (tmp_path / name).write_text(f"# a recipe\nARG BASE_IMAGE={base}\nFROM ${{BASE_IMAGE}}\n")
        monkeypatch.setattr(audit, "ROOT", tmp_path)

    return put


TAG, DIGEST = "public.ecr.aws/lambda/python:3.13", "@sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("bases", "verdict"),
    [
        ((TAG + DIGEST, TAG + DIGEST), "clean"),
        ((TAG, TAG), "NOT RUN"),
        ((TAG, TAG + DIGEST), "FINDINGS"),
        ((TAG + DIGEST[:-1], TAG + DIGEST[:-1]), "FINDINGS"),
    ],
)
def test_a_base_image_that_its_tag_alone_names_is_not_clean(recipes, bases, verdict):
    recipes(*bases)
    assert audit.base().verdict == verdict


@pytest.fixture
def billed(monkeypatch, tmp_path):
    """Puts a cyclonedx-py in place that lists these packages, for sets that pin pillow."""

    def put(*purls: str) -> None:
        (tmp_path / "requirements").mkdir()
        for name in audit.SHIPPED:
            (tmp_path / "requirements" / f"{name}.txt").write_text(f"pillow==1.0 {HASH}\n")
        (tmp_path / "bill").write_text(json.dumps({"components": [{"purl": purl} for purl in purls]}))
        tool = tmp_path / "cyclonedx-py"
        tool.write_text(f'#!/bin/sh\nfor last; do :; done\ncp {tmp_path}/bill "$last"\n')
        tool.chmod(0o755)
        for name, value in (("ROOT", tmp_path), ("TOOLS", tmp_path), ("BILLS", tmp_path / "sbom")):
            monkeypatch.setattr(audit, name, value)

    return put


def test_a_bill_of_materials_that_leaves_a_package_out_is_a_finding(billed):
    billed("pkg:pypi/numpy@1.0")
    result = audit.materials()
    assert (result.verdict, result.told.splitlines()[0]) == ("FINDINGS", "worker: pillow==1.0")


def test_a_whole_bill_of_materials_is_clean_and_is_kept(billed, tmp_path):
    billed("pkg:pypi/pillow@1.0")
    assert audit.materials() == audit.Result("clean")
    assert sorted(file.name for file in (tmp_path / "sbom").iterdir()) == ["service.cdx.json", "worker.cdx.json"]


def test_a_finding_makes_the_command_fail(monkeypatch, capsys):
    for name in ("code", "template", "recipe", "base", "materials", "pins", "vulnerabilities"):
        monkeypatch.setattr(audit, name, lambda: audit.Result("clean"))
    assert audit.main() == 0
    monkeypatch.setattr(audit, "vulnerabilities", lambda: audit.Result("NOT RUN", "no internet"))
    assert audit.main() == 0
    assert "NOT RUN: no internet" in capsys.readouterr().out
    monkeypatch.setattr(audit, "template", lambda: audit.Result("FINDINGS", "CKV_AWS_1"))
    assert audit.main() == 1
    assert "CKV_AWS_1" in capsys.readouterr().out
