"""One worker: holds what is costly to make, and answers one event after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handler import aws, telemetry
from handler.acknowledging import Acknowledgements
from handler.deadline import Deadline
from handler.delivery import Delivery
from handler.erasure import Erasure
from handler.errors import TryAgainError
from handler.events import read_event
from handler.fetching import ImageStore
from handler.loading import load
from handler.stages import Stages
from handler.table import PredictionsTable

if TYPE_CHECKING:
    from concurrent.futures import Future

    from handler.configuration import Settings
    from handler.messages import Batch, Removal, Upload
    from model_layer import Classifier


class Worker:
    """Answers events one at a time, as a Lambda's sandbox does."""

    def __init__(self, settings: Settings, stages: Stages, erasure: Erasure | None) -> None:
        self._settings = settings
        self._stages = stages
        self._erasure = erasure
        self._acknowledgements = Acknowledgements(lambda: aws.client("sqs", settings))

    @classmethod
    def start(cls, settings: Settings, loading: Future[Classifier] | None = None) -> Worker:
        """Makes the clients, and takes the model that is `loading` (default: loads it now).

        All that an invocation would otherwise wait for happens here, a first run of the network included.

        Raises:
            ConfigurationError: the bundle cannot be used.
        """
        store = ImageStore(aws.client("s3", settings), settings.max_image_bytes)
        dynamodb, name = aws.client("dynamodb", settings), settings.predictions_table
        classifier = loading.result() if loading else load(settings)
        table = PredictionsTable(dynamodb, name, settings.record_ttl_days)
        stages = Stages(store, classifier, table, settings.inference_threads)
        return cls(settings, stages, Erasure(dynamodb, name, store) if settings.erase_removed else None)

    def handle(self, event: object, context: Any) -> dict[str, list[dict[str, str]]]:
        """Brings every upload that `event` speaks of to its record, or its message back to the queue.

        Returns SQS's partial batch response. `context` is Lambda's.

        Raises:
            TryAgainError: only for an event that came from no queue, after all that could be done is done: Lambda
                knows no partial response there, and retries the event as a whole.
        """
        batch = read_event(event, self._settings.uploads_bucket)
        delivery = Delivery(
            batch,
            self._stages,
            self._erasure,
            self._acknowledgements,
            threads=self._settings.download_threads,
            max_receives=self._settings.max_receives,
            deadline=Deadline(context.get_remaining_time_in_millis),
            request_id=context.aws_request_id,
        )
        telemetry.report_batch(batch, len(delivery.named))
        unfinished: set[Upload | Removal] = set()
        for removal, erased, error in delivery.removals():
            telemetry.report_removal(removal, erased, error)
            if error:
                unfinished.add(removal)
        unbegun = 0
        for outcome in delivery.uploads():
            if outcome.error:
                unfinished.add(outcome.upload)
            if outcome.unbegun:
                unbegun += 1
            else:
                telemetry.report_outcome(outcome, delivery.named[outcome.upload][0])
        if unbegun:
            telemetry.report_unbegun(unbegun)
        if unfinished and not batch.partial_response:
            raise TryAgainError("unfinished", f"{len(unfinished)} of {_count(batch)} uploads must come again.")
        return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in _unfinished(batch, unfinished)]}


def _count(batch: Batch) -> int:
    return len({part for message in batch.messages for part in (*message.uploads, *message.removals)})


def _unfinished(batch: Batch, unfinished: set[Upload | Removal]) -> list[str]:
    """The ids of messages to hand back: each that is not understood in full, or has a part that is not done."""
    return [
        message.id
        for message in batch.messages
        if message.id and (message.problems or not unfinished.isdisjoint((*message.uploads, *message.removals)))
    ]
