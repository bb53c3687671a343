"""`sam build` and `sam local invoke` as in CONTRIBUTING.md, with each kind of event, against the embedded AWS."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from build_context import ROOT, SAM
from sample_images import jpeg

from infra.embedded_aws import embedded_aws
from infra.stack import Stack, deploy
from infra.template import read_template

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]

BRIDGE = "172.17.0.1"  # this machine, as containers of Docker's default bridge reach it
BUCKET = "dermbatch-images"  # the one that the files in events/ name
EVENTS = sorted((ROOT / "events").glob("*.json"))


@pytest.fixture(scope="module")
def stack(docker_tier: Any) -> Iterator[Stack]:
    with embedded_aws(BRIDGE) as endpoint:
        yield deploy(endpoint, parameters={"BucketName": BUCKET, "BatchSize": 10, "BatchWindowSeconds": 0})


@pytest.fixture(scope="module")
def built(docker_tier: Any, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `sam build` made. Only the base image and pip's options differ from the template that ships."""
    folder = tmp_path_factory.mktemp("sam")
    template = read_template()
    arguments = {"BASE_IMAGE": docker_tier.base.name}
    if docker_tier.base.wheels:
        arguments["PIP_OPTIONS"] = "--no-index --find-links wheels"
    for function in ("Worker", "Housekeeper", "Reconciler", "Check", "ShadowWorker", "ApiFunction"):
        metadata = template["Resources"][function]["Metadata"]
        metadata["DockerBuildArgs"] = arguments
        metadata["DockerContext"] = str(docker_tier.context)
    (folder / "template.json").write_text(json.dumps(template))
    _sam(docker_tier, folder, "build", "--template", "template.json", timeout=900)
    (folder / "env.json").write_text(json.dumps({"Worker": dict(stack.environment)}))
    return folder


def _sam(docker_tier: Any, folder: Path, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {**docker_tier.engine, "SAM_CLI_TELEMETRY": "0", "DOCKER_BUILDKIT": "0", "HOME": str(folder)}
    environment |= {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    done = subprocess.run(
        [str(SAM), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done


def _invoke(docker_tier: Any, built: Path, event: Path) -> Any:
    done = _sam(
        docker_tier, built, "local", "invoke", "Worker", "--event", str(event), "--env-vars", "env.json",
        "--skip-pull-image", timeout=600,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stderr[-3000:]
    return json.loads(lines[-1]), done.stderr


def test_what_sam_built_is_the_template_with_the_image_in_it(built: Path):
    made = yaml.safe_load((built / ".aws-sam" / "build" / "template.yaml").read_text())
    assert made["Resources"]["Worker"]["Properties"]["ImageUri"] == "worker:worker"
    assert made["Resources"]["Housekeeper"]["Properties"]["ImageUri"].endswith(":worker")
    assert made["Resources"]["ApiFunction"]["Properties"]["ImageUri"] == "apifunction:api"


def test_an_upload_that_is_there_gets_its_record(docker_tier, built: Path, stack: Stack, tmp_path: Path):
    put = stack.endpoint.client("s3").put_object(Bucket=BUCKET, Key="there.jpg", Body=jpeg(1))
    event = json.loads((ROOT / "events" / "sqs-one-upload.json").read_text())
    body = json.loads(event["Records"][0]["body"])
    body["Records"][0]["s3"]["object"].update(key="there.jpg", versionId=put["VersionId"], eTag=put["ETag"].strip('"'))
    event["Records"][0]["body"] = json.dumps(body)
    (tmp_path / "event.json").write_text(json.dumps(event))
    answer, log = _invoke(docker_tier, built, tmp_path / "event.json")
    assert answer == {"batchItemFailures": []}, log
    record = _record(stack, "there.jpg")
    assert record["status"]["S"] in {"classified", "referred"}
    assert record["version"]["S"].startswith(f"{put['VersionId']}#")


@pytest.mark.parametrize("event", EVENTS, ids=lambda path: path.stem)
def test_every_event_file_can_be_invoked(docker_tier, built: Path, event: Path):
    """The uploads that they name are not there: done, as superseded; what is no upload at all is handed back."""
    answer, log = _invoke(docker_tier, built, event)
    messages = {record.get("messageId") for record in json.loads(event.read_text()).get("Records", [])}
    assert set(answer) == {"batchItemFailures"}, log
    assert {failure["itemIdentifier"] for failure in answer["batchItemFailures"]} <= messages
    refused = event.stem in {"sqs-not-an-upload", "sqs-foreign-bucket"}
    assert bool(answer["batchItemFailures"]) == refused, log


def _record(stack: Stack, key: str) -> dict[str, Any]:
    (record,) = stack.endpoint.client("dynamodb").query(
        TableName=stack.table,
        KeyConditionExpression="image = :image",
        ExpressionAttributeValues={":image": {"S": f"{BUCKET}/{key}"}},
    )["Items"]
    return record
