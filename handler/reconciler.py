"""The reconciler: on a schedule, it sends the uploads whose notification was lost through the bulk lane.

The third function, only with `ReconcileSchedule`, does what `dermbatch reconcile` does. It is not the housekeeper,
which may erase and whose queues wait for functions of a minute: this one lists a bucket for a quarter of an hour, and
may write nothing but the place where it stopped.

    schedule ──► from where the last run stopped, or from the beginning
                   │ too much waits in the bulk lane already ───────► nothing, until the next run
                   │ a thousand objects at a time: listed, looked up in the table
                   ├── those without a record ──► bulk lane
                   ├── more than MOST_SENT of them, or no time left ──► the next run goes on here
                   └── the end of the bucket ───────────────────────► the next run begins a new round

An object that is sent although its message is on its way, by two runs at the same time or after an interruption, costs
a look-up: the worker finds its record.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from handler import aws
from handler.aws import AWS_ERRORS, unavailable
from handler.errors import ErrorCode, TryAgainError
from handler.lanes import SendingError, longest_trial, send, waiting
from handler.store.objects import message, pages, sendable
from handler.store.precedence import Precedence
from handler.store.table import PredictionsTable
from handler.store.unrecorded import LOOK_UPS_AT_A_TIME, MOST_SENT, Bookmark, Comparison

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from handler.configuration import ReconcilerSettings
    from handler.store.objects import Current

LAST_SECONDS = 60.0
"""Before the function's end no page is begun: one takes seconds, and half a minute if every request is repeated."""

_CODES = dict.fromkeys(("GetQueueAttributes", "SendMessageBatch"), ErrorCode.QUEUE_UNAVAILABLE)
_CODES |= {"ListObjectVersions": ErrorCode.STORAGE_UNAVAILABLE}


@dataclass(slots=True)
class Run:
    """What one run has found."""

    compared: int = 0
    """Objects of the bucket, with those that need no record."""
    unrecorded: int = 0
    """Those of them whose notification was lost."""
    sent: int = 0
    """Fewer than `unrecorded` only where the run has ended at MOST_SENT."""
    ended: str = "whole"
    """`whole`: at the end of the bucket; `time` or `limit`: the next run goes on; `busy`: nothing was compared."""


class Reconciler:
    """Compares bucket and table, and sends what has no record."""

    def __init__(self, settings: ReconcilerSettings, s3: Any, dynamodb: Any, sqs: Any) -> None:
        self._settings = settings
        self._s3 = s3
        self._dynamodb = dynamodb
        self._sqs = sqs
        self._table = PredictionsTable(dynamodb, settings.predictions_table)
        self._bookmark = Bookmark(dynamodb, settings.predictions_table)

    @classmethod
    def start(cls, settings: ReconcilerSettings) -> Reconciler:
        """Makes the clients."""
        s3, dynamodb, sqs = (
            aws.connect(service, LOOK_UPS_AT_A_TIME, emulated=bool(settings.aws_endpoint_url))
            for service in ("s3", "dynamodb", "sqs")
        )
        return cls(settings, s3, dynamodb, sqs)

    def run(self, seconds_left: Callable[[], float]) -> Run:
        """Goes on where the last run stopped, as long as there is time.

        Raises:
            TryAgainError: S3, the table or SQS failed. Everything before the last page is done, and Lambda tries again.
        """
        with _asking():
            return self._run(seconds_left)

    def _run(self, seconds_left: Callable[[], float]) -> Run:
        settings, run = self._settings, Run()
        if waiting(self._sqs, settings.bulk_queue_url) > MOST_SENT:
            run.ended = "busy"
            return run
        grace = longest_trial(self._sqs, settings.live_queue_url)
        models = Precedence.read(self._dynamodb, settings.predictions_table).models
        comparison = Comparison.of(datetime.now(UTC), grace, settings.record_ttl_days, models)
        for page in pages(self._s3, settings.uploads_bucket, "", self._bookmark.read()):
            some = sendable(page.objects, system_files=not settings.ignore_system_files)
            missing = comparison.missing(some, settings.uploads_bucket, self._table)
            room = MOST_SENT - run.sent
            self._send(missing[:room])
            run.compared += len(page.objects)
            run.unrecorded += len(missing)
            run.sent += len(missing[:room])
            if len(missing) > room:
                run.ended = "limit"  # the next run begins this page again, and what was sent of it has a record by then
                break
            self._bookmark.write(page.after)
            if page.after and seconds_left() < LAST_SECONDS:
                run.ended = "time"
                break
        return run

    def _send(self, objects: Sequence[Current]) -> None:
        bodies = [message(self._settings.uploads_bucket, one) for one in objects]
        send(self._sqs, self._settings.bulk_queue_url, bodies)


@contextlib.contextmanager
def _asking() -> Iterator[None]:
    """Leaves out the text of boto3's errors, which Lambda would log with their causes: it may contain a key."""
    try:
        yield
    except AWS_ERRORS as error:
        operation = getattr(error, "operation_name", "A request")
        raise unavailable(_CODES.get(operation, ErrorCode.TABLE_UNAVAILABLE), operation, error) from None
    except TryAgainError as error:
        raise TryAgainError(error.code, error.sentence) from None
    except SendingError as error:
        raise TryAgainError(ErrorCode.QUEUE_UNAVAILABLE, str(error)) from None
