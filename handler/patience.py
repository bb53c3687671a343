"""How long an invocation waits for a table that throttles it.

A throttled write is worth waiting for: its image is read and classified, and handing it back would spend one of its
receives and all of that work. And while a worker waits, it takes no further messages, so that a table with a
twentieth of the needed capacity slows the intake down to what it can take, instead of filling the dead-letter queue.
"""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING, Any

from handler.aws import AWS_ERRORS, error_code

if TYPE_CHECKING:
    from collections.abc import Callable

PASSING = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
        "InternalServerError",
        "ServiceUnavailable",
    }
)
"""DynamoDB's codes that say "later". A missing permission, table or network is left to the queue's own patience."""

_OF_THE_ITEM = frozenset({"ConditionalCheckFailedException", "ValidationException"})

_FIRST_WAIT = 0.1  # seconds, at most; on top of botocore's own two repetitions
_LONGEST_WAIT = 5.0
_ONE_REQUEST = 0.5  # seconds that must be left for the request after the wait


class Patience:
    """Repeats what a table throttles, for as long as `seconds_left` allows; full jitter, doubling up to 5 s."""

    def __init__(self, seconds_left: Callable[[], float], *, endless: bool = False) -> None:
        """`endless`: any error is repeated that is not about the request's own item, where no later receive is left."""
        self._seconds_left = seconds_left
        self._endless = endless

    def endless(self, most: float = math.inf) -> Patience:
        """The time that is left by now, at most so many seconds, for a request that is repeated whatever the error."""
        end = time.monotonic() + min(most, self._seconds_left())
        return Patience(lambda: min(self._seconds_left(), end - time.monotonic()), endless=True)

    def call(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        """`operation(**arguments)`; raises its last error when that is none that passes, or there is no time left."""
        attempt = 0
        while True:
            try:
                return operation(**arguments)
            except AWS_ERRORS as error:
                if not self._passes(error_code(error)) or not self.wait(attempt):
                    raise
            attempt += 1

    def _passes(self, code: str) -> bool:
        return code in PASSING or (self._endless and code not in _OF_THE_ITEM)

    def wait(self, attempt: int) -> bool:
        """Sleeps before the repetition after `attempt` (from 0 on), unless there is no time for one."""
        seconds = random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(attempt, 10)))
        if self._seconds_left() < seconds + _ONE_REQUEST:
            return False
        time.sleep(seconds)
        return True


IMPATIENT = Patience(lambda: 0.0)
"""Raises the first error."""
