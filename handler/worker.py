"""One worker: holds what is costly to make, and answers one event after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handler import aws, telemetry
from handler.configuration import load
from handler.errors import TryAgainError
from handler.flow.delivery import Delivery
from handler.flow.fetching import ImageStore
from handler.flow.invocation import Deadline
from handler.flow.queues import Queues
from handler.flow.stages import Stages
from handler.intake.events import read_event
from handler.store.erasure import Erasure
from handler.store.table import PredictionsTable

if TYPE_CHECKING:
    from concurrent.futures import Future

    from handler.configuration import Settings
    from handler.intake.messages import Batch, Message, Removal, Upload
    from model_layer import Classifier


class Worker:
    """Answers events one at a time, as a Lambda's sandbox does."""

    def __init__(self, settings: Settings, stages: Stages, erasure: Erasure | None) -> None:
        self._settings = settings
        self._stages = stages
        self._erasure = erasure
        self._queues = Queues(lambda: aws.client("sqs", settings))

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
            UnreadableMessageError: so, and only for an event of SNS: part of it is not understood.
        """
        settings = self._settings
        batch = read_event(event, settings.uploads_bucket, ignore_system_files=settings.ignore_system_files)
        delivery = Delivery(
            batch,
            self._stages,
            self._erasure,
            self._queues,
            threads=settings.download_threads,
            max_receives=settings.max_receives,
            visibility_timeout=settings.visibility_timeout,
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
        if not batch.partial_response:
            _raise_what_is_unfinished(batch, unfinished)
        returned = _unfinished(batch, unfinished)
        delivery.hand_back(returned)
        return {"batchItemFailures": [{"itemIdentifier": str(message.id)} for message in returned]}


def _raise_what_is_unfinished(batch: Batch, unfinished: set[Upload | Removal]) -> None:
    """What nobody can understand is logged and done, but where SNS keeps what fails for a person to look at."""
    problems = [problem for message in batch.messages for problem in message.problems]
    if unfinished:
        raise TryAgainError("unfinished", f"{len(unfinished)} of {_count(batch)} uploads must come again.")
    if problems and batch.from_topic:
        raise problems[0]


def _count(batch: Batch) -> int:
    return len({part for message in batch.messages for part in (*message.uploads, *message.removals)})


def _unfinished(batch: Batch, unfinished: set[Upload | Removal]) -> list[Message]:
    """The messages to hand back: each that is not understood in full, or has a part that is not done."""
    return [
        message
        for message in batch.messages
        if message.id and (message.problems or not unfinished.isdisjoint((*message.uploads, *message.removals)))
    ]
