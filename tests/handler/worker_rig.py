"""A worker as it runs in Lambda, and the means to break what lies below boto3."""

from __future__ import annotations

import io
import itertools
import json
import time
import warnings
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from s3_events import BUCKET, Put

from handler import telemetry
from handler.flow.fetching import BucketReader
from handler.housekeeper import Housekeeper
from handler.pseudonyms import Pseudonyms
from handler.store.erasure import Erasure
from handler.store.precedence import PARTITION
from handler.store.table import PredictionsTable
from infra.lambda_contract import lambda_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from handler.configuration import Settings
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
        client = self.s3 if call.startswith("s3.") else self.dynamodb
        return break_client(client, call, fault, after=after)


def break_client(
    client: Any, call: str, fault: Callable[[int], AWSResponse | Exception | None], *, after: bool = False
) -> list[int]:
    """`Rig.break_call` for any client."""
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

    client.meta.events.register_first(f"before-send.{service}.{operation}", answer)
    return requests


class House:
    """A worker and the housekeeper, as the stack joins them: by a real queue, over the same clients."""

    def __init__(self, rig: Rig, sqs: Any, queue: str, letters: str) -> None:
        self.rig = rig
        self.sqs, self.queue, self.letters = sqs, queue, letters
        self.break_call = rig.break_call
        settings, dynamodb = rig.settings, rig.dynamodb
        reader = BucketReader(rig.s3, settings.max_image_bytes)
        pseudonyms = Pseudonyms.of(settings)
        erasure = Erasure(dynamodb, TABLE, reader.remaining, pseudonyms) if settings.erase_removed else None
        bundle = rig.classifier.bundle
        table = PredictionsTable(dynamodb, TABLE)
        self.housekeeper = Housekeeper(settings, bundle, table, erasure, pseudonyms, sqs)

    def handle(self, event: object, context: Any = None) -> dict[str, Any]:
        """The worker's answer to `event`; then the housekeeper does what it can of what is in its queue."""
        response = self.rig.handle(event, context)
        self.clean(context)
        return response

    def clean(self, context: Any = None) -> list[str]:
        """One look at the queue of removals; returns the bodies of those that are handed back, which stay there."""
        handed_back, receipts = [], {}
        while messages := self.sqs.receive_message(
            QueueUrl=self.queue,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        ).get("Messages"):
            found = {message["MessageId"]: message for message in messages}
            failures = self.housekeeper.handle(self._event(messages), context or Context())["batchItemFailures"]
            failed = {failure["itemIdentifier"] for failure in failures}
            handed_back += [found[identifier]["Body"] for identifier in failed]
            for identifier, message in found.items():
                if identifier not in failed:
                    self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
            receipts |= {identifier: found[identifier]["ReceiptHandle"] for identifier in failed}
        for receipt in receipts.values():
            self.sqs.change_message_visibility(QueueUrl=self.queue, ReceiptHandle=receipt, VisibilityTimeout=0)
        return handed_back

    def buried(self) -> list[dict[str, Any]]:
        """The dead letters."""
        asked = {"QueueUrl": self.letters, "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]}
        return list(self.sqs.receive_message(**asked).get("Messages", []))

    def _event(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]
        lane: Any = SimpleNamespace(queue_arn=attributes["QueueArn"])
        return lambda_event(messages, lane)


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
