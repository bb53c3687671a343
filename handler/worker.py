"""One worker: keeps the clients and the model, which are slow to make, and answers one event after the other."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from handler import aws, telemetry
from handler.errors import ErrorCode, TryAgainError
from handler.flow.delivery import Delivery, RemovalOutcome
from handler.flow.fetching import BucketReader
from handler.flow.invocation import Invocation
from handler.flow.queues import Queues
from handler.flow.stages import Stages
from handler.intake.events import read_event
from handler.loading import load
from handler.pseudonyms import Pseudonyms
from handler.store.erasure import Marks
from handler.store.precedence import enter
from handler.store.table import PredictionsTable

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from handler.configuration import Settings
    from handler.intake.messages import Batch
    from model_layer import Classifier


class Worker:
    """Answers events one at a time, as a Lambda's sandbox does."""

    def __init__(
        self,
        settings: Settings,
        stages: Stages,
        marks: Marks | None,
        pseudonyms: Pseudonyms,
        enter_model: Callable[[], None],
    ) -> None:
        """`enter_model` enters the model into the table's list (`handler.store.precedence`)."""
        self._settings = settings
        self._stages = stages
        self._marks = marks
        self._pseudonyms = pseudonyms
        self._enter_model = enter_model
        self._entered = False
        self._queues = Queues(lambda: aws.client("sqs", settings), settings.removals_queue_url)

    @classmethod
    def start(cls, settings: Settings, loading: Future[Classifier] | None = None) -> Worker:
        """Makes the clients, and takes the model that is `loading` (default: loads it now).

        All that an invocation would otherwise wait for happens here, including a first run of the network.

        Raises:
            ConfigurationError: the bundle or the secret cannot be used.
        """
        pseudonyms = Pseudonyms.of(settings)
        reader = BucketReader(aws.client("s3", settings), settings.max_image_bytes)
        dynamodb, name = aws.client("dynamodb", settings), settings.predictions_table
        classifier = loading.result() if loading else load(settings)
        table = PredictionsTable(dynamodb, name, settings.record_ttl_days, shadow=settings.shadow)
        return cls(
            settings,
            Stages(reader, classifier, table, settings.inference_threads),
            Marks(dynamodb, name, pseudonyms) if settings.erase_removed else None,
            pseudonyms,
            partial(enter, dynamodb, name, classifier.bundle.version),
        )

    def enter_model(self) -> None:
        """Enters the model into the table's list, once in the life of this process; a candidate has no place there.

        A table that cannot be written will not take a record either; then the next invocation enters the model.
        """
        if not self._entered and not self._settings.shadow:
            with suppress(TryAgainError):
                self._enter_model()
                self._entered = True

    def check(self) -> dict[str, Any]:
        """The model's version, and `problems`: one sentence for each reason why this worker should get no uploads."""
        return {"model": self._stages.model_version, "problems": self._stages.problems(self._settings.uploads_bucket)}

    def handle(self, event: object, context: Any) -> dict[str, list[dict[str, str]]]:
        """Gives every upload that `event` names a record, or hands its message back to the queue.

        Returns SQS's partial batch response. `context` is Lambda's.

        Raises:
            TryAgainError: only for an event that came from no queue, and after everything else is done. Lambda knows
                no partial response there, and retries the event as a whole.
            UnreadableMessageError: likewise, and only for an event from SNS: part of it is not understood.
        """
        settings = self._settings
        batch = read_event(event, settings.uploads_bucket, ignore_system_files=settings.ignore_system_files)
        delivery = Delivery(
            batch,
            self._stages,
            self._marks,
            self._queues,
            Invocation(context.get_remaining_time_in_millis, context.aws_request_id, settings.download_threads),
            max_receives=settings.max_receives,
            visibility_timeout=settings.visibility_timeout,
        )
        telemetry.report_batch(batch, len(delivery.messages_naming), self._stages.model_version)
        if delivery.messages_naming:
            self.enter_model()
        errors = unbegun = 0
        for outcome in delivery.run():
            errors += bool(outcome.error)
            if isinstance(outcome, RemovalOutcome):
                telemetry.report_removal(outcome.removal, None, outcome.error, self._pseudonyms)
            elif outcome.unbegun:
                unbegun += 1
            else:
                message = delivery.messages_naming[outcome.upload][0]
                telemetry.report_outcome(outcome, message, self._pseudonyms)
        if unbegun:
            telemetry.report_unbegun(unbegun)
        if not batch.partial_response:
            _raise_if_unfinished(batch, errors)
        unfinished = delivery.unfinished()
        delivery.hand_back(unfinished)
        return {"batchItemFailures": [{"itemIdentifier": str(message.id)} for message in unfinished]}


def _raise_if_unfinished(batch: Batch, errors: int) -> None:
    """For events that came from no queue.

    A part that is not understood raises only for SNS, which keeps failed events for a person to see. Elsewhere it is
    only logged.
    """
    if errors:
        parts = {part for message in batch.messages for part in (*message.uploads, *message.removals)}
        raise TryAgainError(ErrorCode.UNFINISHED, f"{errors} of {len(parts)} uploads must come again.")
    problems = [problem for message in batch.messages for problem in message.problems]
    if problems and batch.from_topic:
        raise problems[0]
