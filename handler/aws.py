"""boto3's clients, and what their errors mean for an upload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from handler.errors import TryAgainError

if TYPE_CHECKING:
    from handler.configuration import Settings

ATTEMPTS = 3
"""Of each request within one delivery of a message; the queue's deliveries come on top."""

AWS_ERRORS = (ClientError, BotoCoreError)
"""Everything that a boto3 call raises: S3's or DynamoDB's refusals, and failures on the way to them."""


def client(service: str, settings: Settings) -> Any:
    """A thread-safe client that gives up within seconds: the queue, not the client, is what waits out an outage."""
    return boto3.client(  # type: ignore[call-overload]
        service,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=2,  # seconds; both services answer from the same region
            read_timeout=10,
            # Fetching and writing threads each keep their connection open.
            max_pool_connections=settings.download_threads,
            # An emulator on localhost has no host name for each bucket.
            s3={"addressing_style": "path"} if settings.aws_endpoint_url else None,
        ),
    )


def error_code(error: Exception) -> str:
    """AWS's own code (`SlowDown`), or the name of what broke on the way (`ReadTimeoutError`)."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__


def unavailable(code: str, operation: str, error: Exception) -> TryAgainError:
    """`error` as a reason to try again. Its own text is left out: it may hold an address with the object's key."""
    return TryAgainError(code, f"{operation} failed with {error_code(error)}.")
