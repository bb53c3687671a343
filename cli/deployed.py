"""A deployed stack, on AWS or on an emulator: its outputs, and clients that reach it.

boto3's usual set-up decides the account: profile, keys, region, and AWS_ENDPOINT_URL for an emulator. `--profile` and
`--region` override it, and `--local` replaces all of it by the address of the local stack.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)

from handler.aws import AWS_ERRORS
from handler.errors import TryAgainError
from handler.flow.fetching import BucketReader
from handler.pseudonyms import Pseudonyms
from handler.store.erasure import Erasure
from handler.store.table import PredictionsTable
from infra.standing import standing_endpoint
from model_layer import DecodingLimits
from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 32

_ADVICE = {
    NoCredentialsError: "set up AWS credentials, choose some with --profile, or use --local",
    PartialCredentialsError: "set up AWS credentials, choose some with --profile, or use --local",
    NoRegionError: "give --region, or set AWS_DEFAULT_REGION",
    EndpointConnectionError: "check AWS_ENDPOINT_URL, --region and the network",
}


class DeployedError(UserError):
    """There is no such stack, it lacks an output, or AWS did not answer or refused."""

    exit_code = 4


@contextlib.contextmanager
def aws_calls(advice: str = "") -> Iterator[None]:
    """Turns errors of boto3 and of the store into a DeployedError with the same sentence, followed by `advice`."""
    try:
        yield
    except AWS_ERRORS as error:
        raise DeployedError(f"{_sentence(error)}.{advice}") from error
    except TryAgainError as error:
        raise DeployedError(f"{error.sentence}{advice}") from error


def _sentence(error: Exception) -> str:
    """Without its full stop."""
    told = str(error).strip().removesuffix(".")
    return f"{told}; {_ADVICE[type(error)]}" if type(error) in _ADVICE else told


@dataclass(frozen=True)
class Account:
    """Where AWS is: `profile` and `region` instead of boto3's usual set-up, or the local stack."""

    profile: str | None = None
    region: str | None = None
    local: bool = False

    def client(self, service: str, attempts: int = 8) -> Any:
        """A boto3 client that makes so many patient attempts at each request; clients are thread-safe.

        Raises:
            DeployedError: the profile, the region or AWS_ENDPOINT_URL are missing or wrong.
            StandingError: no local stack runs.
        """
        if self.local:
            return standing_endpoint().client(service)
        emulated = any(name.startswith("AWS_ENDPOINT_URL") for name in os.environ)
        config = Config(
            retries={"mode": "adaptive", "total_max_attempts": attempts},
            connect_timeout=10,
            max_pool_connections=CONNECTIONS,
            # An emulator on localhost has no host name for each bucket.
            s3={"addressing_style": "path"} if emulated else None,
        )
        try:
            with aws_calls():
                return self._session.client(service, config=config)  # type: ignore[call-overload]
        except ValueError as error:
            raise DeployedError(f"{error}; AWS_ENDPOINT_URL must begin with http:// or https://.") from error

    @property
    def place(self) -> str:
        """Where it is, in words."""
        url = str(self.client("cloudformation").meta.endpoint_url)
        return "AWS" if ".amazonaws." in url else url

    @cached_property
    def _session(self) -> boto3.Session:
        return boto3.Session(profile_name=self.profile, region_name=self.region)


@dataclass(frozen=True)
class Deployed:
    """A stack: its outputs and parameters, and where it is."""

    name: str
    id: str
    """Its ARN, which no later stack of the same name has."""
    account: Account
    bucket: str
    table: str
    bulk_queue_url: str
    outputs: dict[str, str]
    """All of its outputs."""
    parameters: dict[str, str]
    """All of its parameters."""

    def client(self, service: str) -> Any:
        """A boto3 client that reaches this stack; see `Account.client`."""
        return self.account.client(service)

    @property
    def erases_removed(self) -> bool:
        """Whether records are erased with their images (the parameter EraseRemoved)."""
        return self.parameters.get("EraseRemoved", "true") == "true"

    @property
    def ignores_system_files(self) -> bool:
        """Whether folder markers and the like get no record (the parameter IgnoreSystemFiles)."""
        return self.parameters.get("IgnoreSystemFiles", "true") == "true"

    def predictions(self) -> PredictionsTable:
        """The stack's table."""
        return PredictionsTable(self.client("dynamodb"), self.table)

    def pseudonyms(self) -> Pseudonyms:
        """What the stack's images are called in logs and marks; raises what boto3 raises.

        Raises:
            DeployedError: the stack has no secret.
        """
        if "HashSecretArn" not in self.outputs:
            raise DeployedError(f"The stack {self.name} has no output HashSecretArn; deploy this version of it first.")
        return Pseudonyms.read(self.client("secretsmanager"), self.outputs["HashSecretArn"])

    def reader(self) -> BucketReader:
        """Asks the stack's bucket."""
        return BucketReader(self.client("s3"), DecodingLimits().max_bytes)

    def erasure(self) -> Erasure:
        """Erases records of the stack's table."""
        return Erasure(self.client("dynamodb"), self.table, self.reader().remaining, self.pseudonyms())


def find(stack: str, account: Account | None = None) -> Deployed:
    """Raises DeployedError when the stack is missing, unfinished or not dermbatch's, or cannot be described."""
    account = account or Account()
    try:
        (described,) = account.client("cloudformation", attempts=3).describe_stacks(StackName=stack)["Stacks"]
    except AWS_ERRORS as error:
        raise DeployedError(f"The stack {stack} can't be described: {_sentence(error)}.") from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    given = {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in described.get("Parameters", [])}
    try:
        return Deployed(
            stack,
            described["StackId"],
            account,
            outputs["BucketName"],
            outputs["TableName"],
            outputs["BulkQueueUrl"],
            outputs,
            given,
        )
    except KeyError as missing:
        raise DeployedError(
            f"The stack {stack} ({described['StackStatus']}) has no output {missing}: it is not dermbatch's, or not "
            "finished."
        ) from missing
