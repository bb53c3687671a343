"""Events of a bucket, as S3 writes them: to deliver some of them twice, late, or in another order."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from handler.intake.messages import iso8601

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from infra.stack import Stack

LATE_SECONDS = 3


def created(bucket: str, key: str, etag: str, version: str | None) -> str:
    """The message of an upload; `version` None as where the cloud's events name none."""
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
    """Into the live lane, to be seen after `delay` seconds."""
    sqs = stack.endpoint.client("sqs")
    sqs.send_message(QueueUrl=stack.live.queue_url, MessageBody=body, DelaySeconds=delay)


def send_late(stack: Stack, body: str, rng: random.Random) -> None:
    """After a while that differs, so that duplicates come in another order than their originals."""
    send(stack, body, rng.randrange(LATE_SECONDS + 1))


def reorder(stack: Stack, is_late: Callable[[str], bool]) -> None:
    """Takes what waits in the live lane, and sends it again: those messages later whose body `is_late`."""
    for body in drain(stack, stack.live.queue_url):
        send(stack, body, LATE_SECONDS if is_late(body) else 0)


def drain(stack: Stack, queue_url: str) -> list[str]:
    """Takes all messages out of a queue; gives their bodies."""
    return [message["Body"] for message in take(stack, queue_url)]


def take(stack: Stack, queue_url: str) -> list[dict[str, Any]]:
    """Takes all messages out of a queue; gives them as SQS hands them out."""
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
