"""Events as S3 and SQS write them, for uploads that a test has made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

BUCKET = "dermbatch-images"


@dataclass(frozen=True)
class Put:
    """An object that was put into the bucket, and what S3 said of it."""

    key: str
    etag: str
    version: str | None = None
    bucket: str = BUCKET

    @property
    def image(self) -> str:
        return f"{self.bucket}/{self.key}"


def record(put: Put, event: str = "ObjectCreated:Put", time: str = "2026-11-23T09:30:00.125Z") -> dict[str, Any]:
    s3_object = {"key": quote_plus(put.key), "size": 1, "eTag": put.etag, "sequencer": "0067419A3C5B21F0AA"}
    if put.version:
        s3_object["versionId"] = put.version
    return {
        "eventSource": "aws:s3",
        "eventName": event,
        "eventTime": time,
        "s3": {"bucket": {"name": put.bucket}, "object": s3_object},
    }


def notification(*puts: Put) -> dict[str, Any]:
    return {"Records": [record(put) for put in puts]}


def message(number: int, body: object, receives: int = 1) -> dict[str, Any]:
    return {
        "messageId": f"message-{number}",
        "body": body if isinstance(body, str) else json.dumps(body),
        "attributes": {"ApproximateReceiveCount": str(receives)},
        "eventSource": "aws:sqs",
    }


def queue_event(*bodies: object, receives: int = 1) -> dict[str, Any]:
    """One message for each body, `message-0` first; a `Put` stands for its notification."""
    return {
        "Records": [
            message(number, notification(body) if isinstance(body, Put) else body, receives)
            for number, body in enumerate(bodies)
        ]
    }


def handed_back(response: dict[str, Any]) -> list[str]:
    assert set(response) == {"batchItemFailures"}
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]
