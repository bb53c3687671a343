"""boto3's clients, what their errors mean for an upload, and how long to wait for a table that throttles.

A throttled write is worth waiting for: its image has been read and classified, and handing it back would waste that
work and one of its receives. A worker that waits takes no further messages. So a table with a twentieth of the needed
capacity slows the intake down to what it can take, instead of filling the dead-letter queue.
"""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from handler.errors import ErrorCode, TryAgainError

if TYPE_CHECKING:
    from collections.abc import Callable

    from handler.configuration import Settings

ATTEMPTS = 3
"""Of each request within one delivery of a message; the queue's deliveries come on top."""

AWS_ERRORS = (ClientError, BotoCoreError)
"""Everything that a boto3 call raises: refusals by the service, and failures on the way to it."""

PASSING = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
        "InternalServerError",
        "ServiceUnavailable",
    }
)
"""DynamoDB's codes that mean "later". A missing permission, table or network is left to the queue's redeliveries."""

NO_SUCH_OBJECT = frozenset({"NoSuchKey", "NoSuchVersion", "404"})
"""S3's codes for an object or a version that is not there. HeadObject has no body and so only the status."""

DELETE_MARKER = frozenset({"MethodNotAllowed", "405"})
"""For reading a version that is a delete marker."""

DELETED = NO_SUCH_OBJECT | DELETE_MARKER
"""For reading what was deleted. Without s3:ListBucket, and s3:ListBucketVersions, it would be AccessDenied."""

OVERWRITTEN = frozenset({"PreconditionFailed", "412"})
"""For a condition that the current object does not fulfil."""

_ABOUT_THE_ITEM = frozenset({"ConditionalCheckFailedException", "ValidationException"})  # repeating changes nothing

_FIRST_WAIT = 0.1  # seconds, at most; on top of botocore's own two repetitions
_LONGEST_WAIT = 5.0
_ONE_REQUEST = 0.5  # seconds that must be left for the request after the wait


def client(service: str, settings: Settings) -> Any:
    """A thread-safe client that gives up within seconds: the queue, not the client, waits out an outage."""
    # Each fetching and each writing thread keeps its connection open.
    return connect(service, settings.download_threads, emulated=bool(settings.aws_endpoint_url))


def connect(service: str, connections: int, *, emulated: bool) -> Any:
    """The same with so many connections at a time."""
    return boto3.client(  # type: ignore[call-overload]
        service,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=2,  # seconds; the services answer from the same region
            read_timeout=10,
            max_pool_connections=connections,
            # An emulator on localhost has no host name for each bucket.
            s3={"addressing_style": "path"} if emulated else None,
        ),
    )


def aws_code(error: Exception) -> str:
    """AWS's own code (`SlowDown`), or the name of what broke on the way (`ReadTimeoutError`)."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__


def unavailable(code: ErrorCode, operation: str, error: Exception) -> TryAgainError:
    """`error` as a reason to try again. Its own text is left out: it may contain an address with the object's key."""
    return TryAgainError(code, f"{operation} failed with {aws_code(error)}.")


def queue_url(sqs: Any, arn: str) -> str:
    """The address of the queue with this ARN, as `sqs` reaches it."""
    account, name = arn.split(":")[-2:]
    return f"{sqs.meta.endpoint_url.rstrip('/')}/{account}/{name}"


class Patience:
    """Repeats requests that a table throttles, as long as `seconds_left` allows; full jitter, doubling up to 5 s."""

    def __init__(self, seconds_left: Callable[[], float], *, stubborn: bool = False) -> None:
        """`stubborn`: repeats after every error except those that the request's own item causes."""
        self._seconds_left = seconds_left
        self._stubborn = stubborn

    def stubborn(self, most: float = math.inf) -> Patience:
        """The same patience for at most `most` seconds from now, but `stubborn`.

        For the last two receives: one later delivery or none could repeat the request.
        """
        end = time.monotonic() + min(most, self._seconds_left())
        return Patience(lambda: min(self._seconds_left(), end - time.monotonic()), stubborn=True)

    def call(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        """`operation(**arguments)`; raises its last error when waiting would not help or no time is left."""
        repetitions = 0
        while True:
            try:
                return operation(**arguments)
            except AWS_ERRORS as error:
                if not self._passes(aws_code(error)) or not self.wait(repetitions):
                    raise
            repetitions += 1

    def _passes(self, code: str) -> bool:
        return code in PASSING or (self._stubborn and code not in _ABOUT_THE_ITEM)

    def wait(self, repetitions: int) -> bool:
        """Sleeps before one more repetition, after so many; returns False at once if no time is left for it."""
        seconds = random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(repetitions, 10)))
        if self._seconds_left() < seconds + _ONE_REQUEST:
            return False
        time.sleep(seconds)
        return True


IMPATIENT = Patience(lambda: 0.0)
"""Raises the first error."""
