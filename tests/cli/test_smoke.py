"""`make smoke` against a standing stack with a worker, and against one without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli import smoke as module
from cli.app import main
from cli.deployed import find
from infra.embedded_aws import embedded_aws
from infra.stack import Stack, deploy

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def standing(tiny_bundle: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """`python -m infra --worker`; the variables that it tells a person to set."""
    command = [sys.executable, "-m", "infra", "--worker", "--env", str(tmp_path / "env.json")]
    environment = os.environ | {"MODEL_BUNDLE": str(tiny_bundle), "DERMBATCH_STATE": str(tmp_path)}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    try:
        assert process.stdout
        told: dict[str, str] = {}
        for line in process.stdout:
            if line.startswith("export "):
                told |= dict(part.split("=", 1) for part in line.removeprefix("export ").split())
            if "make smoke STACK=dermbatch" in line:
                break
        assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
        yield told
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_a_worker_that_cannot_start_is_one_sentence(tmp_path: Path):
    environment = os.environ | {"INFERENCE_THREADS": "x", "DERMBATCH_STATE": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-m", "infra", "--worker", "--env", str(tmp_path / "env.json")],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert run.stderr.startswith("infra: INFERENCE_THREADS must be")
    assert run.stderr.count("\n") == 1


def _smoke(standing: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= standing  # and nothing else: what is printed is enough
    command = [sys.executable, "-m", "cli", "smoke", "--stack", "dermbatch", *more]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_a_stack_that_works_passes_and_is_left_as_it_was(standing: dict[str, str]):
    run = _smoke(standing, "--seconds", "120")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "8 of 8 uploads went the whole way" in run.stdout
    assert run.stdout.count(" rejected ") >= 2
    assert " yes" in run.stdout
    assert "WRONG" not in run.stdout


@pytest.fixture(scope="module")
def without_worker() -> Iterator[Stack]:
    with embedded_aws() as endpoint:
        yield deploy(endpoint, name="idle")


@pytest.fixture
def idle(without_worker: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack whose worker does not run, found as a person's command finds it; four uploads are enough for it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in without_worker.endpoint.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(module, "COUNT", 4)
    return without_worker


def test_a_stack_whose_worker_does_nothing_fails_and_its_bucket_is_cleaned_up(idle: Stack, capsys):
    assert main(["smoke", "--stack", "idle", "--seconds", "0.1"]) == 1
    out = capsys.readouterr().out
    assert out.count("NOTHING") == out.count("WRONG") == 4
    assert "0 of 4 uploads" in out
    left = idle.endpoint.client("s3").list_object_versions(Bucket=idle.bucket)
    assert not left.get("Versions")
    assert not left.get("DeleteMarkers")


def test_a_wrong_answer_fails(idle: Stack, capsys):
    """A worker that takes a text file for an image."""
    smoke = module.Smoke(find("idle"), idle.endpoint.client("s3"), idle.endpoint.client("dynamodb"), "smoke/1/")
    smoke.upload()
    for check in smoke.checks:
        item = {"image": f"{idle.bucket}/{check.key}", "version": "v#m", "status": "classified", "label": "nv"}
        idle.endpoint.client("dynamodb").put_item(
            TableName=idle.table,
            Item={name: {"S": value} for name, value in item.items()} | {"confidence": {"N": "0.9"}},
        )
    smoke.wait_for_records(10, lambda _: None)
    assert module.report(smoke.checks) == 1
    assert capsys.readouterr().out.count("WRONG") == 1


def test_a_record_that_stays_when_its_image_goes_fails(idle: Stack, capsys):
    smoke = module.Smoke(find("idle"), idle.endpoint.client("s3"), idle.endpoint.client("dynamodb"), "smoke/2/")
    smoke.upload()
    for check in smoke.checks:
        status = check.expected[0]
        item = {"image": f"{idle.bucket}/{check.key}", "version": "v#m", "status": status}
        values = {name: {"S": value} for name, value in item.items()}
        idle.endpoint.client("dynamodb").put_item(TableName=idle.table, Item=values)
    smoke.wait_for_records(10, lambda _: None)
    smoke.delete_images()
    smoke.wait_for_erasure(0.1)
    assert module.report(smoke.checks) == 1
    assert capsys.readouterr().out.count("NO ") == 4


def test_a_stack_that_keeps_records_is_not_asked_to_erase_them(idle: Stack, monkeypatch: pytest.MonkeyPatch, capsys):
    deploy(idle.endpoint, name="keeps", parameters={"EraseRemoved": "false"})

    def find_all(self: module.Smoke, _seconds: float, _on_record: object) -> None:
        for check in self.checks:
            check.status = check.expected[0]

    monkeypatch.setattr(module.Smoke, "wait_for_records", find_all)
    assert main(["smoke", "--stack", "keeps"]) == 0
    assert " yes" not in capsys.readouterr().out
    assert find("idle").erases_removed


def test_ctrl_c_leaves_nothing_in_the_bucket(idle: Stack, monkeypatch: pytest.MonkeyPatch, capsys):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    s3 = idle.endpoint.client("s3")
    before = s3.list_object_versions(Bucket=idle.bucket).get("Versions")  # other tests leave some
    monkeypatch.setattr(module.Smoke, "wait_for_records", stop)
    assert main(["smoke", "--stack", "idle"]) == 130
    assert capsys.readouterr().err == "\nsmoke: stopped.\n"
    assert s3.list_object_versions(Bucket=idle.bucket).get("Versions") == before


def test_an_address_that_is_none_is_one_sentence(idle: Stack, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:4566")
    assert main(["smoke", "--stack", "idle"]) == 4
    error = capsys.readouterr().err
    assert error.startswith("smoke: Invalid endpoint: 127.0.0.1:4566; AWS_ENDPOINT_URL must begin with http://")
    assert error.count("\n") == 1
