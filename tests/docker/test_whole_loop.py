"""The whole template on the embedded AWS, which runs both functions' image in Docker: 50 uploads, 50 records.

Nothing of this project's own plays AWS here: bucket, notifications, queues, event sources, alias and functions are what
the template declares, run by the emulator.
"""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING, Any

import pytest
from emulator_template import for_emulator, placed

from demo.lesions import demo_images
from handler.store.items import whole
from handler.store.table import plain
from infra.embedded_aws import Endpoint, embedded_aws
from infra.template import read_template
from proof.soak.clouds import created

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
        TemplateURL=placed(endpoint, template),
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
    for lane in ("Live", "Bulk", "Removals"):
        endpoint.client("sqs").set_queue_attributes(
            QueueUrl=given[f"{lane}QueueUrl"], Attributes={"VisibilityTimeout": str(HIDDEN_SECONDS)}
        )
    yield given
    cloudformation.delete_stack(StackName="loop")
    for container in docker_tier("ps", "--all", "--quiet", "--filter", f"ancestor={image}").stdout.split():
        docker_tier("rm", "--force", container)


def test_fifty_uploads_become_fifty_records(endpoint: Endpoint, outputs: dict[str, str]):
    s3, dynamodb = endpoint.client("s3"), endpoint.client("dynamodb")
    uploaded = {}
    for number, (name, content) in enumerate(demo_images(seed=5, count=UPLOADS)):
        put = s3.put_object(Bucket=outputs["BucketName"], Key=name, Body=content)
        uploaded[name] = put["VersionId"]
        if number % 10 == 0:  # as a backfill would
            body = created(outputs["BucketName"], name, put["ETag"].strip('"'), put["VersionId"])
            endpoint.client("sqs").send_message(QueueUrl=outputs["BulkQueueUrl"], MessageBody=body)
    assert len(uploaded) == UPLOADS

    def scanned() -> list[dict[str, Any]]:
        pages = dynamodb.get_paginator("scan").paginate(TableName=outputs["TableName"], ConsistentRead=True)
        return [item for page in pages for item in page["Items"] if "status" in item]

    _until(lambda: len(scanned()) == UPLOADS)
    time.sleep(5)  # for one too many
    records = scanned()
    named = [whole(plain(record))["object"] for record in records]
    found = {one["key"]: one["version"] for one in named}
    assert found == uploaded
    assert len(records) == UPLOADS
    states = collections.Counter(record["status"]["S"] for record in records)
    assert set(states) == {"classified", "referred", "rejected"}, states
    for queue in ("LiveQueueUrl", "LiveDeadLettersUrl", "BulkQueueUrl", "BulkDeadLettersUrl"):
        _holds_nothing(endpoint, outputs[queue])


def test_a_deleted_image_leaves_no_record(endpoint: Endpoint, outputs: dict[str, str]):
    s3 = endpoint.client("s3")
    s3.put_object(Bucket=outputs["BucketName"], Key="withdrawn.jpg", Body=next(iter(demo_images(seed=6, count=1)))[1])
    _until(lambda: _states(endpoint, outputs, "withdrawn.jpg"))
    s3.delete_object(Bucket=outputs["BucketName"], Key="withdrawn.jpg")
    _until(lambda: not _states(endpoint, outputs, "withdrawn.jpg"))
    _holds_nothing(endpoint, outputs["RemovalsQueueUrl"])


def test_what_no_worker_could_try_is_a_dead_letter_with_its_record(endpoint: Endpoint, outputs: dict[str, str]):
    """The event source is switched off, and the receives are used up by hand, as by workers that die at once."""
    sqs, lambda_ = endpoint.client("sqs"), endpoint.client("lambda")
    arn = sqs.get_queue_attributes(QueueUrl=outputs["LiveQueueUrl"], AttributeNames=["QueueArn"])["Attributes"]
    (mapping,) = lambda_.list_event_source_mappings(EventSourceArn=arn["QueueArn"])["EventSourceMappings"]
    lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    time.sleep(5)  # until the poller has noticed
    endpoint.client("s3").put_object(Bucket=outputs["BucketName"], Key="never.jpg", Body=b"never read")
    taken = {"QueueUrl": outputs["LiveQueueUrl"], "WaitTimeSeconds": 1, "VisibilityTimeout": 0}
    for _ in range(int(read_template()["Parameters"]["MaxReceives"]["Default"])):
        assert sqs.receive_message(**taken)["Messages"]
    assert not sqs.receive_message(**taken).get("Messages"), "its receives are used up"
    _until(lambda: _states(endpoint, outputs, "never.jpg") == ["failed"])
    _until(lambda: sqs.receive_message(QueueUrl=outputs["LiveDeadLettersUrl"], WaitTimeSeconds=1).get("Messages"))


def _states(endpoint: Endpoint, outputs: dict[str, str], key: str) -> list[str]:
    answer = endpoint.client("dynamodb").query(
        TableName=outputs["TableName"],
        ConsistentRead=True,
        KeyConditionExpression="image = :image",
        ExpressionAttributeValues={":image": {"S": f"{outputs['BucketName']}/{key}"}},
    )
    return [item["status"]["S"] for item in answer["Items"]]


def _until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(1)


def _holds_nothing(endpoint: Endpoint, queue: str) -> None:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    deadline = time.monotonic() + 60
    while True:
        counts = endpoint.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        if not any(map(int, counts.values())):
            return
        assert time.monotonic() < deadline, (queue, counts)
        time.sleep(0.5)
