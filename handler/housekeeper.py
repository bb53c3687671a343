"""The housekeeper: erases the records of removed objects, and sees that no upload ends without a record.

It is a function of its own because it may erase, and a worker decodes strangers' files: whoever takes over a worker
through a flaw of a decoder can neither delete a record nor take a removal out of its queue. It imports no decoder and
no inference runtime.

    removals      from S3, and those that a worker passes on ──► records erased ──► done
    spent queues  messages that have used up their receives on a lane
                     │ each removal: its records are erased
                     │ each upload: gets a `failed` record where it has none; is erased where it was removed meanwhile
                     ├── everything is answered or erased ──► done
                     └── the rest ──► the dead-letter queue

A message of any of these queues is treated alike, so that what reaches the wrong queue is not lost. "The dead-letter
queue" is that of the queue which the message came from. A message that cannot be settled comes again, and SQS itself
moves it to that dead-letter queue in the end.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from handler import aws, telemetry
from handler.aws import AWS_ERRORS, queue_url, unavailable
from handler.errors import ConfigurationError, ErrorCode, TryAgainError, UnreadableMessageError
from handler.flow.fetching import BucketReader
from handler.flow.invocation import Invocation, each_within
from handler.flow.stages import in_time_or_again
from handler.intake.events import read_event
from handler.pseudonyms import Pseudonyms
from handler.store.erasure import Erasure
from handler.store.record import Finding, build_record, record_key
from handler.store.table import PredictionsTable
from model_layer import Bundle, BundleError

if TYPE_CHECKING:
    from handler.configuration import Settings
    from handler.intake.messages import Message, Removal, Upload

GIVEN_UP = TryAgainError(
    ErrorCode.GIVEN_UP,
    "Every try failed, and no worker could write why: it was killed, ran out of time, or could not reach the table.",
)


@dataclass(slots=True)
class Settled:
    """What was done with one message."""

    erased: dict[Removal, int] = field(default_factory=dict)
    """The number of records, for each removal."""
    given_up: list[Upload] = field(default_factory=list)
    """Uploads that got their `failed` record here."""
    is_dead: bool = False
    """Whether it was sent to the dead-letter queue."""


class Housekeeper:
    """Answers events of its queues, one at a time."""

    def __init__(
        self,
        settings: Settings,
        bundle: Bundle,
        table: PredictionsTable,
        erasure: Erasure | None,
        pseudonyms: Pseudonyms,
        sqs: Any,
    ) -> None:
        """`erasure` is None where the records of removed objects are kept."""
        self._settings = settings
        self._bundle = bundle
        self._table = table
        self._erasure = erasure
        self._pseudonyms = pseudonyms
        self._sqs = sqs
        self._dead_letters: dict[str, str] = {}
        """The address of each queue's dead-letter queue, by the queue's ARN."""

    @classmethod
    def start(cls, settings: Settings) -> Housekeeper:
        """Makes the clients, and reads which model it is that gave no answer.

        Raises:
            ConfigurationError: the bundle or the secret cannot be used.
        """
        pseudonyms = Pseudonyms.of(settings)
        try:
            bundle = Bundle.read(settings.model_bundle)
        except BundleError as error:
            raise ConfigurationError(f"MODEL_BUNDLE cannot be used: {error}") from error
        dynamodb, name = aws.client("dynamodb", settings), settings.predictions_table
        reader = BucketReader(aws.client("s3", settings), settings.max_image_bytes)
        erasure = Erasure(dynamodb, name, reader.remaining, pseudonyms) if settings.erase_removed else None
        table = PredictionsTable(dynamodb, name, settings.record_ttl_days)
        return cls(settings, bundle, table, erasure, pseudonyms, aws.client("sqs", settings))

    def handle(self, event: Any, context: Any) -> dict[str, list[dict[str, str]]]:
        """Settles every message of `event`, or hands it back; returns SQS's partial batch response.

        Raises:
            UnreadableMessageError: the event comes from no queue.
        """
        settings = self._settings
        batch = read_event(event, settings.uploads_bucket, ignore_system_files=settings.ignore_system_files)
        if not batch.partial_response:
            raise UnreadableMessageError("The housekeeper takes events from its queues only.")
        raw = {record["messageId"]: record for record in event["Records"] if "messageId" in record}
        invocation = Invocation(context.get_remaining_time_in_millis, context.aws_request_id, settings.download_threads)

        def settle(message: Message) -> Settled:
            return self._settle(message, raw[message.id], invocation)

        messages = [message for message in batch.messages if message.id]
        failed = []
        for message, settled in each_within(invocation.seconds_to_write(), settle, messages, invocation.threads):
            if isinstance(settled, Exception):
                failed.append(message)
            _report(message, settled, self._pseudonyms)
        return {"batchItemFailures": [{"itemIdentifier": str(message.id)} for message in failed]}

    def _settle(self, message: Message, raw: dict[str, Any], invocation: Invocation) -> Settled:
        """Raises TryAgainError where something must come again; what was done by then stays done."""
        settled = Settled()
        if self._erasure:
            for removal in dict.fromkeys(message.removals):
                settled.erased[removal] = self._erasure.remove(removal, invocation.patience)
        left = [
            upload for upload in dict.fromkeys(message.uploads) if self._is_left(upload, message, invocation, settled)
        ]
        if left or message.problems:
            self._bury(raw)
            settled.is_dead = True
        return settled

    def _is_left(self, upload: Upload, message: Message, invocation: Invocation, settled: Settled) -> bool:
        """Whether somebody must still look at `upload`. Gives it a record if it has none."""
        own = record_key(upload, self._bundle.version)[1]
        states = self._table.states_of(upload.image, upload.object_version, invocation.patience)
        # A former model's record counts only if it is an answer to this message: a backfill asks for another one.
        states = {
            key: state
            for key, state in states.items()
            if key == own or (message.sent_at and state.since >= message.sent_at)
        }
        if not states:
            record = build_record(Finding(upload, GIVEN_UP), self._bundle, invocation.request_id)
            if self._table.put(record, attempts=None, patience=invocation.patience):
                settled.given_up.append(upload)
        # Also where there was a record: its worker may not have got as far as looking for a removal.
        if self._erasure and self._erasure.erase_overtaken([upload], invocation.patience):
            return False
        return not any(state.final for state in states.values())

    def _bury(self, raw: dict[str, Any]) -> None:
        """Sends a message to its queue's dead-letter queue. Lambda deletes the original after the answer."""
        attributes = {name: _attribute(attribute) for name, attribute in (raw.get("messageAttributes") or {}).items()}
        given = {"MessageAttributes": attributes} if attributes else {}
        try:
            self._sqs.send_message(QueueUrl=self._dead_letters_of(raw), MessageBody=raw["body"], **given)
        except AWS_ERRORS as error:
            raise unavailable(ErrorCode.QUEUE_UNAVAILABLE, "SendMessage", error) from error

    def _dead_letters_of(self, raw: dict[str, Any]) -> str:
        arn = raw["eventSourceARN"]
        if arn not in self._dead_letters:
            wanted = {"QueueUrl": queue_url(self._sqs, arn), "AttributeNames": ["RedrivePolicy"]}
            policy = json.loads(self._sqs.get_queue_attributes(**wanted)["Attributes"]["RedrivePolicy"])
            self._dead_letters[arn] = queue_url(self._sqs, policy["deadLetterTargetArn"])
        return self._dead_letters[arn]


def _report(message: Message, settled: Settled | Exception, pseudonyms: Pseudonyms) -> None:
    if isinstance(settled, Exception):
        error = in_time_or_again(settled)
        for removal in message.removals:
            telemetry.report_removal(removal, None, error, pseudonyms)
        telemetry.report_letter(message, error, dead=False)
        return
    for removal, erased in settled.erased.items():
        telemetry.report_removal(removal, erased, None, pseudonyms)
    telemetry.report_given_up(settled.given_up, message, pseudonyms)
    telemetry.report_letter(message, None, dead=settled.is_dead)


def _attribute(told: dict[str, Any]) -> dict[str, Any]:
    """A message's attribute as SendMessage takes it; `told` is Lambda's form of it."""
    attribute = {"DataType": told["dataType"]}
    if "stringValue" in told:
        return {**attribute, "StringValue": told["stringValue"]}
    return {**attribute, "BinaryValue": base64.b64decode(told["binaryValue"])}
