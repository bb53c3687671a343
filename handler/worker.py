"""One worker: holds what is costly to make, and answers one event after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from handler import aws, telemetry
from handler.deadline import Deadline
from handler.errors import ConfigurationError, TryAgainError
from handler.events import read_event
from handler.fetching import ImageStore
from handler.pipeline import Pipeline
from handler.stages import Stages
from handler.table import PredictionsTable
from model_layer import BundleError, Classifier, DecodedImage, DecodingLimits, ImageFacts

if TYPE_CHECKING:
    from handler.configuration import Settings
    from handler.events import Batch, Message, Upload


class Worker:
    """Answers events one at a time, as a Lambda's sandbox does."""

    def __init__(self, settings: Settings, stages: Stages) -> None:
        self._settings = settings
        self._stages = stages

    @classmethod
    def start(cls, settings: Settings) -> Worker:
        """Loads the model, runs it once, and makes the clients: all that an invocation would otherwise wait for.

        Raises:
            ConfigurationError: the bundle cannot be used.
        """
        limits = DecodingLimits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
        try:
            classifier = Classifier.load(settings.model_bundle, limits=limits, threads=settings.inference_threads)
        except BundleError as error:
            raise ConfigurationError(f"MODEL_BUNDLE cannot be used: {error}") from error
        _warm_up(classifier)
        store = ImageStore(aws.client("s3", settings), settings.max_image_bytes)
        table = PredictionsTable(aws.client("dynamodb", settings), settings.predictions_table, settings.record_ttl_days)
        return cls(settings, Stages(store, classifier, table))

    def handle(self, event: object, context: Any) -> dict[str, list[dict[str, str]]]:
        """Brings every upload that `event` speaks of to its record, or its message back to the queue.

        Returns SQS's partial batch response. `context` is Lambda's.

        Raises:
            TryAgainError: only for an event that came from no queue, after all that could be done is done: Lambda
                knows no partial response there, and retries the event as a whole.
        """
        batch = read_event(event)
        named = _messages_by_upload(batch)
        telemetry.report_batch(batch, len(named))
        pipeline = Pipeline(
            self._stages,
            self._settings.download_threads,
            Deadline(context.get_remaining_time_in_millis),
            context.aws_request_id,
            last_chance=[upload for upload, messages in named.items() if any(map(self._is_last_receive, messages))],
        )
        unfinished = set()
        for outcome in pipeline.run(named):
            telemetry.report_outcome(outcome, named[outcome.upload][0])
            if outcome.error:
                unfinished.add(outcome.upload)
        if unfinished and not batch.partial_response:
            raise TryAgainError("unfinished", f"{len(unfinished)} of {len(named)} uploads must come again.")
        return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in _unfinished(batch, unfinished)]}

    def _is_last_receive(self, message: Message) -> bool:
        return message.receives >= self._settings.max_receives


def _messages_by_upload(batch: Batch) -> dict[Upload, list[Message]]:
    """Every distinct upload with the messages that name it: several may, since S3 delivers at least once."""
    named: dict[Upload, list[Message]] = {}
    for message in batch.messages:
        for upload in message.uploads:
            named.setdefault(upload, []).append(message)
    return named


def _unfinished(batch: Batch, unfinished: set[Upload]) -> list[str]:
    """The ids of messages to hand back: each that is not understood in full, or has an upload that is not done."""
    return [
        message.id
        for message in batch.messages
        if message.id and (message.problems or not unfinished.isdisjoint(message.uploads))
    ]


def _warm_up(classifier: Classifier) -> None:
    """The first run of a network plans its memory; better while starting than in front of an upload."""
    size = classifier.bundle.input_size
    classifier.predict([DecodedImage(np.zeros((size, size, 3), np.uint8), ImageFacts("none", size, size))])
