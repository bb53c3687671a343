"""A stack that stands, on AWS or on an emulator: what its outputs say, and clients that reach it.

boto3's usual set-up decides which account it is: profile, keys, region, and AWS_ENDPOINT_URL for an emulator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

AWS_ERRORS = (BotoCoreError, ClientError)


class DeployedError(RuntimeError):
    """There is no such stack, it lacks something, or nothing reaches it. The message says which, in one sentence."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """The outputs that a person's tools need, and one parameter."""

    bucket: str
    table: str
    bulk_queue_url: str
    erases_removed: bool
    """Whether records go with their images (the parameter EraseRemoved)."""


def find(stack: str) -> Deployed:
    """Raises DeployedError when the stack is not there, not finished, not dermbatch's, or can't be asked."""
    try:
        (described,) = client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except AWS_ERRORS as error:
        raise DeployedError(f"The stack {stack} can't be described: {error}") from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    given = {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in described.get("Parameters", [])}
    erases = given.get("EraseRemoved", "true") == "true"
    try:
        return Deployed(outputs["BucketName"], outputs["TableName"], outputs["BulkQueueUrl"], erases)
    except KeyError as missing:
        raise DeployedError(
            f"The stack {stack} ({described['StackStatus']}) has no output {missing}: not dermbatch, or not done."
        ) from missing


def client(service: str) -> Any:
    """A boto3 client that tries again for as long as a person would wait. Raises DeployedError for a wrong address."""
    config = Config(retries={"mode": "adaptive", "total_max_attempts": 8})
    try:
        return boto3.client(service, config=config)  # type: ignore[call-overload]
    except ValueError as error:
        raise DeployedError(f"{error}; AWS_ENDPOINT_URL must begin with http:// or https://.") from error
