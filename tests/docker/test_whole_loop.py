"""The whole template on the embedded AWS, which runs the function's image in Docker: 50 uploads, 50 records.

Nothing of this project's own plays AWS here: bucket, notification, queue, event source, alias and function are what
the template declares, run by the emulator.
"""

from __future__ import annotations

import collections
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from emulator_template import for_emulator

from demo.lesions import demo_images
from handler.store.items import whole
from handler.store.table import plain
from infra.embedded_aws import Endpoint, embedded_aws
from infra.template import read_template

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]

BRIDGE = "172.17.0.1"
UPLOADS = 50
HIDDEN_SECONDS = 60
PATIENCE_SECONDS = 1200  # two cores under ten times their load took ten minutes; alone they need far less


@pytest.fixture(scope="module")
def endpoint(docker_tier: Any, image: str) -> Iterator[Endpoint]:
    with embedded_aws(BRIDGE, docker=docker_tier.engine) as running:
        yield running


@pytest.fixture(scope="module")
def outputs(docker_tier: Any, endpoint: Endpoint, image: str) -> Iterator[dict[str, str]]:
    template = for_emulator(read_template(), image=image)
    cloudformation = endpoint.client("cloudformation")
    cloudformation.create_stack(
        StackName="loop",
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": "EndpointUrl", "ParameterValue": endpoint.url}],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="loop", WaiterConfig={"Delay": 1, "MaxAttempts": 300}
    )
    (described,) = cloudformation.describe_stacks(StackName="loop")["Stacks"]
    given = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    # At times the emulator gives two batches to one container, whose runtime then ends. Its messages come back after
    # this time instead of 13 minutes.
    endpoint.client("sqs").set_queue_attributes(
        QueueUrl=given["LiveQueueUrl"], Attributes={"VisibilityTimeout": str(HIDDEN_SECONDS)}
    )
    yield given
    cloudformation.delete_stack(StackName="loop")
    for container in docker_tier("ps", "--all", "--quiet", "--filter", f"ancestor={image}").stdout.split():
        docker_tier("rm", "--force", container)


def test_fifty_uploads_become_fifty_records(endpoint: Endpoint, outputs: dict[str, str]):
    s3, dynamodb = endpoint.client("s3"), endpoint.client("dynamodb")
    uploaded = {}
    for name, content in demo_images(seed=5, count=UPLOADS):
        uploaded[name] = s3.put_object(Bucket=outputs["BucketName"], Key=name, Body=content)["VersionId"]
    assert len(uploaded) == UPLOADS
    deadline = time.monotonic() + PATIENCE_SECONDS
    records: list[dict[str, Any]] = []
    while len(records) < UPLOADS and time.monotonic() < deadline:
        time.sleep(1)
        pages = dynamodb.get_paginator("scan").paginate(TableName=outputs["TableName"], ConsistentRead=True)
        records = [item for page in pages for item in page["Items"]]
    time.sleep(5)  # for one too many
    pages = dynamodb.get_paginator("scan").paginate(TableName=outputs["TableName"], ConsistentRead=True)
    records = [item for page in pages for item in page["Items"]]
    named = [whole(plain(record))["object"] for record in records]
    found = {one["key"]: one["version"] for one in named}
    assert found == uploaded
    assert len(records) == UPLOADS
    states = collections.Counter(record["status"]["S"] for record in records)
    assert set(states) == {"classified", "referred", "rejected"}, states
    _holds_nothing(endpoint, outputs["LiveQueueUrl"])
    _holds_nothing(endpoint, outputs["LiveDeadLettersUrl"])


def _holds_nothing(endpoint: Endpoint, queue: str) -> None:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    deadline = time.monotonic() + 60
    while True:
        counts = endpoint.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        if not any(map(int, counts.values())):
            return
        assert time.monotonic() < deadline, (queue, counts)
        time.sleep(0.5)
