"""The two emulated clouds of a soak, and the messages in their queues. Each is lenient where the other is strict."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import secrets
import signal
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from handler.intake.messages import iso8601
from infra.embedded_aws import REGION, Endpoint, embedded_aws
from infra.stack import Stack, deploy, lane_of
from infra.template import read_template

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.connection import Connection

MAX_RECEIVES = 5
VISIBILITY_SECONDS = 780
LATE_SECONDS = 3  # at most, of a message that is sent late
TIMEOUT_SECONDS = 120
HOUSEKEEPING_RECEIVES = 20
UPLOADED, REMOVED = ("s3:ObjectCreated:*", "s3:ObjectRestore:Completed"), ("s3:ObjectRemoved:*",)


@contextlib.contextmanager
def ministack(batch_size: int, max_receives: int = MAX_RECEIVES) -> Iterator[Stack]:
    """template.yaml deployed to ministack. Its queues are empty; S3's test events are removed."""
    with embedded_aws() as endpoint:
        parameters = {"BatchSize": batch_size, "BatchWindowSeconds": 0, "MaxReceives": max_receives}
        stack = deploy(endpoint, name="soak", parameters=parameters)
        for queue in (stack.live.queue_url, stack.environment["REMOVALS_QUEUE_URL"]):
            endpoint.client("sqs").purge_queue(QueueUrl=queue)
        yield stack


@contextlib.contextmanager
def moto(batch_size: int, max_receives: int = MAX_RECEIVES) -> Iterator[Stack]:
    """Moto's server with resources made by hand, because moto's CloudFormation skips some, such as the notification.

    Its events name no version, so an overwritten upload is `superseded`, as in a bucket without versions.
    """
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve_moto, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        endpoint = Endpoint(f"http://127.0.0.1:{ours.recv()}", REGION, process.pid or 0)
        yield _by_hand(endpoint, batch_size, max_receives)
    finally:
        ours.close()
        process.join()


def _serve_moto(owner: Connection) -> None:
    """Moto's server, in a process of its own that lives as long as the other end of the pipe."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 (only this process needs it)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the soak
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    owner.send(server.get_host_and_port()[1])
    with contextlib.suppress(EOFError):
        owner.recv()
    server.stop()


def _by_hand(endpoint: Endpoint, batch_size: int, max_receives: int) -> Stack:
    sqs, s3, name = endpoint.client("sqs"), endpoint.client("s3"), "soak"
    spent = _queue(sqs, "live-spent", _queue(sqs, "dead-letters"), HOUSEKEEPING_RECEIVES)
    live = _queue(sqs, "live", spent, max_receives)
    removals = _queue(sqs, "removals", _queue(sqs, "removals-dead-letters"), HOUSEKEEPING_RECEIVES)
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": endpoint.region})
    configurations = [
        {"QueueArn": _arn(sqs, queue), "Events": list(events)}
        for queue, events in ((live, UPLOADED), (removals, REMOVED))
    ]
    s3.put_bucket_notification_configuration(
        Bucket=name, NotificationConfiguration={"QueueConfigurations": configurations}
    )
    for queue in (live, removals):
        sqs.purge_queue(QueueUrl=queue)
    endpoint.client("dynamodb").create_table(TableName=name, **declared_table())
    secret = endpoint.client("secretsmanager").create_secret(Name=name, SecretString=secrets.token_hex())
    environment = {"PREDICTIONS_TABLE": name, "UPLOADS_BUCKET": name, "MAX_RECEIVES": str(max_receives)}
    environment["HASH_SECRET_ARN"] = secret["ARN"]
    stack = Stack(
        endpoint=endpoint,
        name=name,
        bucket=name,
        table=name,
        function=f"{name}-worker",
        timeout=TIMEOUT_SECONDS,
        memory=1769,
        environment={**environment, "REMOVALS_QUEUE_URL": removals},
        lanes={"Live": lane_of(sqs, live, "Live", batch_size=batch_size, window=0)},
    )
    lanes = {
        lane: lane_of(sqs, queue, lane, batch_size=batch_size, window=0)
        for lane, queue in (("Removals", removals), ("LiveSpent", spent))
    }
    return replace(stack, housekeeper=replace(stack, environment=environment, lanes=lanes))


def _queue(sqs: Any, name: str, dead_letters: str | None = None, max_receives: int = 0) -> str:
    attributes = {"VisibilityTimeout": str(VISIBILITY_SECONDS)}
    if dead_letters:
        redrive = {"deadLetterTargetArn": _arn(sqs, dead_letters), "maxReceiveCount": max_receives}
        attributes["RedrivePolicy"] = json.dumps(redrive)
    return str(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])


def declared_table() -> dict[str, Any]:
    """The template's table, in the form of CreateTable."""
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


def created(bucket: str, key: str, etag: str, version: str | None) -> str:
    """The message that S3 sends for an upload; `version` is None where the cloud's events name none."""
    facts: dict[str, Any] = {"key": quote_plus(key, safe="/"), "size": 1, "eTag": etag}
    if version:
        facts["versionId"] = version
    record = {
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "eventTime": iso8601(datetime.now(UTC)),
        "s3": {"bucket": {"name": bucket}, "object": facts},
    }
    return json.dumps({"Records": [record]})


def send(stack: Stack, body: str, delay: int = 0) -> None:
    """Sends a message into the live lane, visible after `delay` seconds."""
    sqs = stack.endpoint.client("sqs")
    sqs.send_message(QueueUrl=stack.live.queue_url, MessageBody=body, DelaySeconds=delay)


def send_late(stack: Stack, body: str, rng: random.Random) -> None:
    """Sends with a random delay, so that duplicates arrive in another order than their originals."""
    send(stack, body, rng.randrange(LATE_SECONDS + 1))


def reorder(stack: Stack, is_late: Callable[[str], bool]) -> None:
    """Takes all messages out of the live lane and sends them again, late if `is_late` says so of the body."""
    for body in drain(stack, stack.live.queue_url):
        send(stack, body, LATE_SECONDS if is_late(body) else 0)


def drain(stack: Stack, queue_url: str) -> list[str]:
    """Takes all messages out of a queue; returns their bodies."""
    return [message["Body"] for message in take(stack, queue_url)]


def take(stack: Stack, queue_url: str) -> list[dict[str, Any]]:
    """Takes all messages out of a queue; returns them as SQS does."""
    sqs, taken = stack.endpoint.client("sqs"), list[dict[str, Any]]()
    while True:
        answer = sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageSystemAttributeNames=["All"]
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        if not messages:
            return taken
        taken += messages
        for message in messages:
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
