"""A deployed stack, on AWS or on an emulator: its outputs, and clients that reach it.

boto3's usual set-up decides the account: profile, keys, region, and AWS_ENDPOINT_URL for an emulator.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

AWS_ERRORS = (BotoCoreError, ClientError)


class DeployedError(UserError):
    """There is no such stack, it lacks an output, or AWS did not answer or refused."""

    exit_code = 4


@contextlib.contextmanager
def aws_calls(advice: str = "") -> Iterator[None]:
    """Turns errors of boto3 into a DeployedError with the same sentence, followed by `advice`."""
    try:
        yield
    except AWS_ERRORS as error:
        raise DeployedError(f"{str(error).removesuffix('.')}.{advice}") from error


@dataclass(frozen=True, slots=True)
class Deployed:
    """The stack's outputs that the command needs, and one parameter."""

    bucket: str
    table: str
    bulk_queue_url: str
    erases_removed: bool
    """Whether records are erased with their images (the parameter EraseRemoved)."""


def find(stack: str) -> Deployed:
    """Raises DeployedError when the stack is missing, unfinished or not dermbatch's, or cannot be described."""
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
            f"The stack {stack} ({described['StackStatus']}) has no output {missing}: it is not dermbatch's, or not "
            "finished."
        ) from missing


def client(service: str) -> Any:
    """A boto3 client that retries patiently. Raises DeployedError for a wrong AWS_ENDPOINT_URL."""
    config = Config(retries={"mode": "adaptive", "total_max_attempts": 8})
    try:
        return boto3.client(service, config=config)  # type: ignore[call-overload]
    except ValueError as error:
        raise DeployedError(f"{error}; AWS_ENDPOINT_URL must begin with http:// or https://.") from error
