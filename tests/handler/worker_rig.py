"""A worker as it runs in Lambda, and the means to break what lies below boto3."""

from __future__ import annotations

import io
import itertools
import json
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from s3_events import BUCKET, Put

from handler import telemetry
from handler.store.precedence import PARTITION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from handler.configuration import Settings
    from handler.store.table import PredictionsTable
    from handler.worker import Worker
    from model_layer import Classifier

TABLE = "predictions"

BOTH_CLOUDS = pytest.mark.parametrize(
    "cloud", ["moto", pytest.param("ministack", marks=pytest.mark.integration)], indirect=True
)
"""Marks what is also tried over HTTP: each of the two emulators forgives what the other does not."""


@dataclass
class Context:
    """Lambda's context, as far as the worker and Powertools read it."""

    seconds: float = 120.0
    aws_request_id: str = "11111111-2222-3333-4444-555555555555"
    function_name: str = "dermbatch-worker"
    memory_limit_in_mb: int = 1769
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:dermbatch-worker"

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


class Countdown(Context):
    """A context whose time really passes."""

    def __init__(self, seconds):
        super().__init__()
        self.ends = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return max(0, int((self.ends - time.monotonic()) * 1000))


@dataclass
class Bucket:
    client: Any

    def put(self, key: str, body: bytes) -> Put:
        put = self.client.put_object(Bucket=BUCKET, Key=key, Body=body)
        return Put(key, put["ETag"].strip('"'), put.get("VersionId"))


@dataclass
class Rig:
    """A worker, with its clients at hand."""

    worker: Worker
    settings: Settings
    classifier: Classifier
    s3: Any
    dynamodb: Any

    def handle(self, event: object, context: Any = None) -> dict[str, Any]:
        return self.worker.handle(event, context or Context())

    def break_call(
        self, call: str, fault: Callable[[int], AWSResponse | Exception | None], *, after: bool = False
    ) -> list[int]:
        """`fault(n)` answers the n-th request of `call` (`s3.GetObject`), or lets it through with None.

        The service never sees such a request, or (`after`) carries it out, but its answer is lost.
        """
        service, operation = call.split(".")
        numbers, requests = itertools.count(), list[int]()

        def answer(request: Any, **_: Any) -> AWSResponse | None:
            requests.append(number := next(numbers))
            found = fault(number)
            if isinstance(found, Exception):
                raise found
            if found and not after:
                request.url = "https://lost.invalid/"  # moto's own hook comes next
            return found

        client = self.s3 if service == "s3" else self.dynamodb
        client.meta.events.register_first(f"before-send.{service}.{operation}", answer)
        return requests


def items() -> list[dict[str, Any]]:
    """All items of the table as they are stored: records with their hidden attributes, and marks of removals.

    Without the list of models.
    """
    found = boto3.client("dynamodb").scan(TableName=TABLE)["Items"]
    return [item for item in found if item["image"]["S"] != PARTITION]


def counted(capsys: pytest.CaptureFixture[str]) -> dict[str, list[float]]:
    """The values of each metric that were emitted since the last call, in CloudWatch's format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there may be none
        telemetry.metrics.flush_metrics()
    found: dict[str, list[float]] = {}
    for line in capsys.readouterr().out.splitlines():
        if '"_aws"' in line:
            emitted = json.loads(line)
            for metric in emitted["_aws"]["CloudWatchMetrics"][0]["Metrics"]:
                values = emitted[metric["Name"]]
                found.setdefault(metric["Name"], []).extend(values if isinstance(values, list) else [values])
    return found


def states(table: PredictionsTable) -> dict[str, str]:
    """Each recorded key with its status."""
    return {record["object"]["key"]: record["status"] for record in table.everything()}


class Raw(io.BytesIO):
    """A response's body as urllib3 hands it out."""

    def stream(self, amt: int = 2**16, decode_content: bool | None = None) -> Iterator[bytes]:
        while chunk := self.read(amt):
            yield chunk


def answer(status: int, body: str = "", headers: dict[str, str] | None = None) -> AWSResponse:
    """What a service would send over HTTP."""
    return AWSResponse("https://service.invalid/", status, headers or {}, Raw(body.encode()))
