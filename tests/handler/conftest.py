from __future__ import annotations

import io
import json
import os
import threading
import urllib.request
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import pytest
from botocore.loaders import create_loader
from moto import mock_aws
from s3_events import BUCKET
from worker_rig import TABLE, Bucket, Context, House, Rig

from handler import aws, telemetry
from handler.configuration import Settings
from handler.loading import begin_loading
from handler.store.table import PredictionsTable
from handler.worker import Worker
from infra.stack import read_template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def cloud(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An AWS that is empty at the start of each test: moto's, in this process, unless marked otherwise."""
    name = getattr(request, "param", "moto")
    for variable in [variable for variable in os.environ if variable.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    if name == "moto":
        with mock_aws():
            _share_service_models()
            yield name
            _wait_for_stragglers()
    else:
        url = request.getfixturevalue("endpoint").url
        urllib.request.urlopen(urllib.request.Request(f"{url}/_ministack/reset", method="POST")).close()
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        _share_service_models()
        yield name
        _wait_for_stragglers()


_service_models = create_loader()


def _share_service_models() -> None:
    """`mock_aws` forgets boto3's session, and each new one would parse megabytes of service descriptions again."""
    session = botocore.session.get_session()
    session.register_component("data_loader", _service_models)
    boto3.setup_default_session(botocore_session=session)


def _wait_for_stragglers() -> None:
    """What an invocation left to itself must not reach the next test's table."""
    for thread in threading.enumerate():
        if thread.name.startswith(("fetch", "write", "within")):
            thread.join(timeout=10)


@pytest.fixture
def context() -> Context:
    return Context()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """The worker's log lines so far."""
    stream = io.StringIO()
    monkeypatch.setattr(telemetry.logger.registered_handler, "stream", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def bucket(cloud: str) -> Bucket:
    """Keeps versions, as the template's does."""
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return Bucket(client)


@pytest.fixture
def unversioned_bucket(cloud: str) -> Bucket:
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return Bucket(client)


@pytest.fixture(scope="session")
def declared_table() -> dict[str, Any]:
    declared = read_template()["Resources"]["Predictions"]["Properties"]
    parts = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    return {part: declared[part] for part in parts}


@pytest.fixture
def table(cloud: str, declared_table: dict[str, Any]) -> PredictionsTable:
    """The template's table."""
    client = boto3.client("dynamodb")
    client.create_table(TableName=TABLE, **declared_table)
    return PredictionsTable(client, TABLE)


@pytest.fixture
def hash_secret(cloud: str) -> str:
    """The ARN of a stack's secret."""
    made = boto3.client("secretsmanager").create_secret(Name="hashes", SecretString="a secret of this test's stack")
    return made["ARN"]


@pytest.fixture
def make_rig(
    tiny_bundle: Path, table: PredictionsTable, hash_secret: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Rig]:
    """Builds a worker over the table; keywords override its environment."""
    connect = aws.client

    def make(**environment: Any) -> Rig:
        given = {"PREDICTIONS_TABLE": TABLE, "MODEL_BUNDLE": str(tiny_bundle), "INFERENCE_THREADS": "1"}
        given |= {"HASH_SECRET_ARN": hash_secret, "AWS_ENDPOINT_URL": os.environ.get("AWS_ENDPOINT_URL", "")}
        settings = Settings.from_environment(given | {k: str(v) for k, v in environment.items()})
        loading, clients = begin_loading(settings), dict[str, Any]()

        def client(service: str, settings: Settings) -> Any:
            clients[service] = connect(service, settings)
            return clients[service]

        monkeypatch.setattr(aws, "client", client)
        worker = Worker.start(settings, loading)
        worker.enter_model()  # so that the requests of a test are those of its uploads
        return Rig(worker, settings, loading.result(), clients["s3"], clients["dynamodb"])

    return make


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig()


@pytest.fixture
def make_house(cloud: str, make_rig: Callable[..., Rig]) -> Callable[..., House]:
    """Builds a worker and a housekeeper, joined by the queue of removals; keywords override their environment."""
    sqs = boto3.client("sqs")
    letters = sqs.create_queue(QueueName="removals-dead-letters")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=letters, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 20})
    queue = sqs.create_queue(QueueName="removals", Attributes={"RedrivePolicy": policy})["QueueUrl"]

    def make(**environment: Any) -> House:
        return House(make_rig(REMOVALS_QUEUE_URL=queue, **environment), sqs, queue, letters)

    return make


@pytest.fixture
def house(make_house: Callable[..., House]) -> House:
    return make_house()
