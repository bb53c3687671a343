"""Bucket and table behind the HTTP emulator on loopback, and the events of uploads to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from infra.worker_loop import function_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from infra.stack import Stack


def environment(stack: Stack, keras_model: Path) -> dict[str, str]:
    """What both workers' processes are given."""
    return {
        **function_environment(stack),
        "KERAS_MODEL": str(keras_model),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "POWERTOOLS_LOG_LEVEL": "INFO",
    }


def upload(stack: Stack, files: Sequence[Path], prefix: str) -> dict[str, Any]:
    """Puts `files` under `prefix`, and returns the event that tells of them, one message for each."""
    s3 = stack.endpoint.client("s3")
    puts = []
    for file in files:
        answer = s3.put_object(Bucket=stack.bucket, Key=f"{prefix}/{file.name}", Body=file.read_bytes())
        puts.append((f"{prefix}/{file.name}", answer["VersionId"], answer["ETag"].strip('"')))
    return event(stack.bucket, puts)


def event(bucket: str, puts: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    """The batch of messages for (key, version, etag) of each upload."""
    return {
        "Records": [_message(number, bucket, key, version, etag) for number, (key, version, etag) in enumerate(puts)]
    }


def pretended(bucket: str, files: Sequence[Path], prefix: str) -> dict[str, Any]:
    """The event of uploads that only `fakes` know, each under a key of its own."""
    return event(bucket, [(f"{prefix}/{file.name}", f"{prefix}-{n}", "0" * 32) for n, file in enumerate(files)])


def _message(number: int, bucket: str, key: str, version: str, etag: str) -> dict[str, Any]:
    notification = {
        "Records": [
            {
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "eventTime": "2026-11-23T09:30:00.000Z",
                "s3": {
                    "bucket": {"name": bucket},
                    "object": {"key": quote_plus(key, safe="/"), "versionId": version, "eTag": etag, "sequencer": "00"},
                },
            }
        ]
    }
    return {
        "messageId": f"message-{number}",
        "body": json.dumps(notification),
        "attributes": {"ApproximateReceiveCount": "1"},
        "eventSource": "aws:sqs",
    }
