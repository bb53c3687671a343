"""`python -m infra`: an embedded AWS that stands until it is stopped, for `sam local invoke`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.integration


def client(service: str, url: str):
    once = Config(retries={"total_max_attempts": 1})
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    return boto3.client(service, endpoint_url=url, region_name="eu-central-1", config=once, **keys)


def test_it_stands_until_it_is_stopped_and_the_event_files_fit_it(tmp_path):
    command = [sys.executable, "-m", "infra", "--env", str(tmp_path / "env.json")]
    environment = os.environ | {"DERMBATCH_STATE": str(tmp_path)}
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert any("env.json" in line for line in process.stdout)
        variables = json.loads((tmp_path / "env.json").read_text())["Worker"]
        url = variables["AWS_ENDPOINT_URL"]
        event = json.loads((ROOT / "events" / "sqs-one-upload.json").read_text())
        bucket = json.loads(event["Records"][0]["body"])["Records"][0]["s3"]["bucket"]["name"]
        client("s3", url).head_bucket(Bucket=bucket)
        client("dynamodb", url).describe_table(TableName=variables["PREDICTIONS_TABLE"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
    with pytest.raises(EndpointConnectionError):
        client("s3", url).list_buckets()


def test_an_address_that_is_not_this_machines_is_one_sentence(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "infra", "--host", "203.0.113.9", "--env", str(tmp_path / "env.json")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert run.stderr.startswith("infra: 203.0.113.9")
    assert run.stderr.count("\n") == 1
