"""The way of a new model as docs/operations.md tells it: every `dermbatch` command of the runbook, in its order."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import time
from typing import TYPE_CHECKING

import pytest
from sample_images import jpeg
from tiny_bundle import tiny_manifest, tiny_network

from cli.app import main
from handler.configuration import Settings
from handler.store import record
from handler.worker import Worker
from infra.template import TEMPLATE
from infra.worker_loop import function_environment, run_worker

if TYPE_CHECKING:
    from pathlib import Path

    from infra.stack import Lane, Stack

pytestmark = pytest.mark.integration

OPERATIONS = (TEMPLATE.parent / "docs" / "operations.md").read_text(encoding="utf-8")
IMAGES = 6
OLD, NEW = "1.0-old", "2.0-new"


def bundle(folder: Path, version: str, seed: int) -> Path:
    folder.mkdir()
    network = tiny_network(seed)
    (folder / "model.onnx").write_bytes(network)
    manifest = tiny_manifest(network) | {"version": version}
    manifest["network"]["sha256"] = hashlib.sha256(network).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


class Rollout:
    """A stack with images that the old model has answered, and both bundles at hand."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.bundles = {OLD: bundle(folder / "old", OLD, 26), NEW: bundle(folder / "new", NEW, 27)}

    def work(self, version: str, lane: Lane | None = None, **settings: str) -> None:
        """One model's worker, until the lane is empty."""
        environment = function_environment(self.stack, {}) | {"MODEL_BUNDLE": str(self.bundles[version])} | settings
        worker = Worker.start(Settings.from_environment(environment))
        run_worker(self.stack, worker.handle, lane=lane or self.stack.live, retry_after=0)

    def try_in_the_shadow(self, version: str) -> None:
        """As EventBridge tells the shadow lane of the images in the bucket."""
        event = json.loads((TEMPLATE.parent / "events" / "eventbridge.json").read_bytes())
        for one in self.stack.endpoint.client("s3").list_object_versions(Bucket=self.stack.bucket)["Versions"]:
            event["detail"]["bucket"]["name"] = self.stack.bucket
            event["detail"]["object"] |= {
                "key": one["Key"], "version-id": one["VersionId"], "etag": one["ETag"].strip('"'),
            }  # fmt: skip
            self.stack.endpoint.client("sqs").send_message(QueueUrl=self.stack.queue_url, MessageBody=json.dumps(event))
        self.work(version, SHADOW="true")

    def results(self, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
        """Each image that `dermbatch results` lists, with the version of the model."""
        capsys.readouterr()
        assert main(["results", "--stack", self.stack.name, "--json"]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len({row["image"] for row in rows}) == len(rows), "no image is listed twice"
        return {row["image"].rpartition("/")[2]: row["version"].rpartition("#")[2] for row in rows}


@pytest.fixture
def rollout(reached: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rollout:
    monkeypatch.setattr(record, "SHARDS", 1)  # each list takes a request for each, for every label
    made = Rollout(reached, tmp_path)
    s3 = reached.endpoint.client("s3")
    for number in range(IMAGES):
        s3.put_object(Bucket=reached.bucket, Key=f"2026/{number}.jpg", Body=jpeg(number))
    time.sleep(0.5)  # the emulator sends its events within milliseconds
    made.work(OLD)
    return made


def commands(section: str) -> list[list[str]]:
    """The arguments of each `dermbatch` in the section's blocks, without comments."""
    text = OPERATIONS[OPERATIONS.index(f"## {section}\n") :].partition("\n## ")[0]
    blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    parsed = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] for words in parsed if words and words[0].endswith("dermbatch")]


def test_every_command_of_the_runbook_works_in_its_order(rollout, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the backfill's state
    known = {"$STACK": rollout.stack.name, "$OLD": OLD, "$NEW": NEW, "models/new": str(rollout.bundles[NEW])}
    (tmp_path / "lesion.jpg").write_bytes(jpeg(1))
    today = time.strftime("%Y-%m-%d", time.gmtime())
    rollout.try_in_the_shadow(NEW)
    ran: list[str] = []
    for words in commands("Bring in a new model"):
        arguments = [today if re.fullmatch(r"\d{4}-\d\d-\d\d", word) else known.get(word, word) for word in words]
        assert not [word for word in arguments if "$" in word], words
        capsys.readouterr()
        assert main(arguments) == 0, (words, capsys.readouterr().err)
        printed, command = capsys.readouterr().out, words[0]
        ran.append(command)
        if command == "backfill" and "--dry-run" not in words:
            rollout.work(NEW, rollout.stack.lanes["Bulk"])
        if command == "compare":
            assert f"{IMAGES} uploads with records of both" in printed
            assert set(rollout.results(capsys).values()) == {NEW if "backfill" in ran else OLD}
        if command == "models" and "--prefer" in words:
            assert printed.split().index(OLD) < printed.split().index(NEW)
            assert set(rollout.results(capsys).values()) == {OLD}
    assert {"classify", "models", "backfill"} <= set(ran)
    assert ran.count("compare") == 2, "of the shadow lane's records, and of those that count"


def test_two_versions_at_work_at_once_leave_every_image_once(rollout, capsys):
    """As during a canary: some uploads go to the new version, and some are delivered to both."""
    body = {"Records": []}
    listed = rollout.stack.endpoint.client("s3").list_object_versions(Bucket=rollout.stack.bucket)["Versions"]
    for one in listed[: IMAGES // 2]:
        thing = {"key": one["Key"], "versionId": one["VersionId"], "eTag": one["ETag"].strip('"'), "size": one["Size"]}
        s3 = {"bucket": {"name": rollout.stack.bucket}, "object": thing}
        body["Records"].append(
            {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": "2026-11-25T09:00:00Z", "s3": s3}
        )
    for version in (NEW, OLD, NEW):
        rollout.stack.endpoint.client("sqs").send_message(
            QueueUrl=rollout.stack.queue_url, MessageBody=json.dumps(body)
        )
        rollout.work(version)
    found = rollout.results(capsys)
    assert sorted(found.values()) == [OLD] * (IMAGES - IMAGES // 2) + [NEW] * (IMAGES // 2)
    assert main(["export", "--stack", rollout.stack.name]) == 0
    assert len(capsys.readouterr().out.splitlines()) == IMAGES
    assert main(["export", "--stack", rollout.stack.name, "--every-model"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == IMAGES + IMAGES // 2


def test_a_model_that_never_answered_cannot_be_preferred(rollout, capsys):
    assert main(["models", "--stack", rollout.stack.name, "--prefer", "3"]) == 1
    assert capsys.readouterr().err == f"models: No model '3' has answered; known are {OLD}.\n"
