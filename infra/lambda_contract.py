"""The contract between Lambda's SQS event source and a handler: event, context, response. Pure functions."""

import base64
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.stack import Lane


@dataclass(frozen=True, slots=True)
class LambdaContext:
    """The handler's second argument, as on Lambda."""

    function_name: str
    memory_limit_in_mb: int
    invoked_function_arn: str
    deadline: float  # of time.monotonic()
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    function_version: str = "$LATEST"
    log_group_name: str = "/aws/lambda/local"
    log_stream_name: str = "local"
    identity: None = None
    client_context: None = None

    def get_remaining_time_in_millis(self) -> int:
        return max(0, round((self.deadline - time.monotonic()) * 1000))


def lambda_event(messages: Sequence[Mapping[str, Any]], lane: Lane) -> dict[str, Any]:
    """The event that Lambda builds from messages as ReceiveMessage returns them."""
    return {"Records": [_record(message, lane) for message in messages]}


class ResponseError(ValueError):
    """Lambda cannot read the handler's response as a partial batch response."""


def failed_messages(response: Any, sent: Sequence[str], *, reports_item_failures: bool) -> set[str]:
    """Ids of the messages that a response leaves in the queue. Raises ResponseError if that is the whole batch.

    As on Lambda, nothing, `{}`, and an empty or null list mean full success. Anything malformed, an empty id, or an id
    that was not in the batch fails the whole batch. Without ReportBatchItemFailures the response is ignored.
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    if not reports_item_failures or response is None:
        return set()
    if not isinstance(response, dict):
        raise ResponseError(f"The handler returned a {type(response).__name__}, not an object.")
    failures = response.get("batchItemFailures") or []
    if not isinstance(failures, list):
        raise ResponseError("batchItemFailures is not a list.")
    failed: set[str] = set()
    for item in failures:
        identifier = item.get("itemIdentifier") if isinstance(item, dict) else None
        if not isinstance(identifier, str) or identifier not in sent:
            raise ResponseError("batchItemFailures names a message that was not in the batch.")
        failed.add(identifier)
    return failed


def _record(message: Mapping[str, Any], lane: Lane) -> dict[str, Any]:
    record = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message.get("Attributes", {})),
        "messageAttributes": {
            name: _message_attribute(value) for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": lane.queue_arn,
        "awsRegion": lane.queue_arn.split(":")[3],
    }
    if "MD5OfMessageAttributes" in message:
        record["md5OfMessageAttributes"] = message["MD5OfMessageAttributes"]
    return record


def _message_attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    attribute: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if "StringValue" in value:
        attribute["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        attribute["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return attribute
