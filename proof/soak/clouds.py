"""The two emulated clouds that a soak runs in. Each forgives what the other does not."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from infra.embedded_aws import REGION, Endpoint, embedded_aws
from infra.stack import Lane, Stack, deploy
from infra.template import read_template

MAX_RECEIVES = 5
VISIBILITY_SECONDS = 780
TIMEOUT_SECONDS = 120
EVENTS = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectRestore:Completed")


@contextlib.contextmanager
def ministack(batch_size: int, max_receives: int = MAX_RECEIVES) -> Iterator[Stack]:
    """template.yaml, deployed to ministack. Its queue is empty: S3's own test event is taken out."""
    with embedded_aws() as endpoint:
        parameters = {"BatchSize": batch_size, "BatchWindowSeconds": 0, "MaxReceives": max_receives}
        stack = deploy(endpoint, name="soak", parameters=parameters)
        endpoint.client("sqs").purge_queue(QueueUrl=stack.live.queue_url)
        yield stack


@contextlib.contextmanager
def moto(batch_size: int, max_receives: int = MAX_RECEIVES) -> Iterator[Stack]:
    """Moto's server, with what moto's CloudFormation would skip made by hand: the notification, above all.

    Its events name no version, so that an overwritten upload is `superseded`, as in a bucket without versions.
    """
    program = Path(__file__).with_name("moto_process.py")
    with subprocess.Popen(
        [sys.executable, "-P", str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ},
        start_new_session=True,
    ) as process:
        hold, told = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
        try:
            endpoint = Endpoint(f"http://127.0.0.1:{int(told.readline())}", REGION, process.pid)
            yield _by_hand(endpoint, batch_size, max_receives)
        finally:
            hold.close()


def _by_hand(endpoint: Endpoint, batch_size: int, max_receives: int) -> Stack:
    sqs, s3, name = endpoint.client("sqs"), endpoint.client("s3"), "soak"
    dead = sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
    redrive = {"deadLetterTargetArn": _arn(sqs, dead), "maxReceiveCount": max_receives}
    attributes = {"VisibilityTimeout": str(VISIBILITY_SECONDS), "RedrivePolicy": json.dumps(redrive)}
    queue = sqs.create_queue(QueueName="live", Attributes=attributes)["QueueUrl"]
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": endpoint.region})
    configuration = {"QueueConfigurations": [{"QueueArn": _arn(sqs, queue), "Events": list(EVENTS)}]}
    s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=configuration)
    sqs.purge_queue(QueueUrl=queue)
    endpoint.client("dynamodb").create_table(TableName=name, **declared_table())
    lane = Lane(
        name="Live",
        queue_url=queue,
        queue_arn=_arn(sqs, queue),
        dlq_url=dead,
        batch_size=batch_size,
        window=0,
        max_receives=max_receives,
        visibility_timeout=VISIBILITY_SECONDS,
        reports_item_failures=True,
    )
    environment = {"PREDICTIONS_TABLE": name, "UPLOADS_BUCKET": name, "MAX_RECEIVES": str(max_receives)}
    return Stack(
        endpoint=endpoint,
        name=name,
        bucket=name,
        table=name,
        function=f"{name}-worker",
        timeout=TIMEOUT_SECONDS,
        memory=1769,
        environment=environment,
        lanes={"Live": lane},
    )


def declared_table() -> dict[str, Any]:
    """The template's table, as CreateTable takes it."""
    (declared,) = (
        resource["Properties"]
        for resource in read_template()["Resources"].values()
        if resource["Type"] == "AWS::DynamoDB::Table"
    )
    parts = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    return {part: declared[part] for part in parts}


def _arn(sqs: Any, queue_url: str) -> str:
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]
    return str(attributes["QueueArn"])


CLOUDS: Mapping[str, Callable[[int, int], contextlib.AbstractContextManager[Stack]]] = {
    "ministack": ministack,
    "moto": moto,
}
