"""Dead letters: what they name, why they failed, and their way back into their queue.

SQS has no way to look at a message without receiving it. So letters are received, which hides them for a while, and
shown again at the end. If the command is killed before that, they show again by themselves after HIDDEN seconds.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from cli.deployed import Account, aws_calls, find
from cli.following import latest
from cli.output import Form, Progress, count, say, write_rows
from handler.aws import AWS_ERRORS
from handler.intake.events import read_event
from handler.intake.messages import iso8601
from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cli.deployed import Deployed
    from handler.intake.messages import Message
    from handler.store.record import Record
    from handler.store.table import PredictionsTable

LANES = ("live", "bulk", "removals")
HIDDEN = 300
"""Seconds that a letter is hidden from others while this command looks at it."""
TOGETHER = 10  # messages; SQS's limit for a request
LONG_POLL = 1
"""Seconds. Any waiting at all lets SQS ask all of its servers, so that an empty answer means an empty queue."""

NO_RECORD = "no_record"
REMOVAL = "removal"

COLUMNS = {"lane": None, "message": None, "code": None, "status": None, "image": None, "uploads": None, "sent_at": None}


class DeadLetterError(UserError):
    """There is no such dead letter."""


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The dead-letter queue of one lane."""

    lane: str
    url: str
    source_url: str
    """The queue that its letters come from and go back to."""
    sqs: Any

    def send_back(self, letter: Letter) -> str:
        """Puts the letter into its queue and only then deletes it here; returns its new id.

        Whatever interrupts this, the letter is in one of the two queues. It may be in both, which the worker notices.
        """
        raw = letter.raw
        attributes = {"MessageAttributes": raw["MessageAttributes"]} if raw.get("MessageAttributes") else {}
        sent = self.sqs.send_message(QueueUrl=self.source_url, MessageBody=raw["Body"], **attributes)
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=raw["ReceiptHandle"])
        return str(sent["MessageId"])

    @contextlib.contextmanager
    def hidden(self) -> Iterator[dict[str, str]]:
        """The receipts of the messages that this process hides, by their ids. At the end they are shown again."""
        receipts: dict[str, str] = {}
        try:
            yield receipts
        finally:
            # If this fails, they show by themselves some minutes later.
            with contextlib.suppress(*AWS_ERRORS):
                self._show_again(list(receipts.values()))

    def _show_again(self, receipts: Sequence[str]) -> None:
        for start in range(0, len(receipts), TOGETHER):
            entries = [
                {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for number, receipt in enumerate(receipts[start : start + TOGETHER])
            ]
            self.sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)

    def receive(self, receipts: dict[str, str], seen: set[str]) -> Iterator[dict[str, Any]]:
        """Every message of the queue once, as SQS gives it, until it gives no more.

        Adds to `receipts` what is hidden, and to `seen` the ids of what was given. An id in `seen` is not given.
        """
        new = True
        while new:
            found = self.sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=TOGETHER,
                VisibilityTimeout=HIDDEN,
                WaitTimeSeconds=LONG_POLL,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            ).get("Messages", [])
            receipts |= {raw["MessageId"]: raw["ReceiptHandle"] for raw in found}
            new = any(raw["MessageId"] not in seen for raw in found)
            for raw in found:
                if raw["MessageId"] not in seen:
                    seen.add(raw["MessageId"])
                    yield raw


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter, and what the table says of the uploads that it names."""

    lane: str
    raw: dict[str, Any]
    message: Message
    records: tuple[Record, ...]
    """The newest record of each of its uploads that has one."""

    @property
    def id(self) -> str:
        return str(self.raw["MessageId"])

    @property
    def reasons(self) -> dict[str, str]:
        """Why it is here: a sentence for each code, the most telling one first."""
        found: dict[str, str] = {}
        for record in sorted(self.records, key=lambda record: record["status"] != "failed"):
            found |= {reason["code"]: reason["sentence"] for reason in record["reasons"]}
        for problem in self.message.problems:
            found |= {str(problem.code): problem.sentence}
        if self.message.removals:
            found |= {REMOVAL: "The records of a deleted image could not be erased."}
        if len(self.records) < len(self.message.uploads):
            found |= {NO_RECORD: "An upload that it names has no record."}
        return found

    def row(self) -> dict[str, Any]:
        """The letter in one line."""
        named = [part.image for part in self.message.uploads] + [part.image for part in self.message.removals]
        code, sentence = next(iter(self.reasons.items()), (None, None))
        return {
            "lane": self.lane,
            "message": self.id,
            "code": code,
            "codes": list(self.reasons),
            "sentence": sentence,
            "status": self.records[0]["status"] if self.records else None,
            "image": named[0] if named else None,
            "uploads": len(self.message.uploads),
            "sent_at": _sent_at(self.raw),
            "receives": int(self.raw["Attributes"].get("ApproximateReceiveCount", 0)),
        }


def list_letters(stack: str, account: Account, lane: str | None, only: str | None, limit: int, form: Form) -> int:
    """Prints at most `limit` letters, and leaves them where they are."""
    with aws_calls():
        deployed = find(stack, account)
        with _looked_at(deployed, lane, limit) as letters:
            chosen = [letter for letter in letters if only is None or only in letter.reasons]
    write_rows((letter.row() for letter in chosen), COLUMNS, form)
    say(f"{count(len(chosen), 'dead letter')}.")
    return 0


def show_letter(stack: str, account: Account, message_id: str) -> int:
    """Prints everything about one letter, as JSON.

    Raises:
        DeadLetterError: it is in none of the dead-letter queues.
    """
    with aws_calls():
        deployed = find(stack, account)
        with _looked_at(deployed, None, None) as letters:
            found = next((letter for letter in letters if letter.id == message_id), None)
    if found is None:
        raise DeadLetterError(f"No dead letter has the id {message_id}; it may be in use elsewhere for some minutes.")
    told = {
        **found.row(),
        "reasons": [{"code": code, "sentence": sentence} for code, sentence in found.reasons.items()],
        "body": _parsed(found.raw["Body"]),
        "records": list(found.records),
    }
    print(json.dumps(told, ensure_ascii=False, indent=2))
    return 0


def redrive(
    stack: str,
    account: Account,
    lane: str | None,
    only: str | None,
    *,
    dry_run: bool = False,
    per_second: float = 0,
    limit: int | None = None,
) -> int:
    """Sends letters back into their queues: all, or those with the reason `only`; returns 0."""
    moved = 0
    with aws_calls(" What was sent back so far stays sent; the rest is still in the dead-letter queue."):
        deployed = find(stack, account)
        table = deployed.predictions()
        for queue in _queues(deployed, lane):
            if moved == limit:  # or looking at the next lane would cost its letters a receive
                break
            with Progress(f"{queue.lane}: sent back", None) as progress, queue.hidden() as receipts:
                seen: set[str] = set()
                for raw in queue.receive(receipts, seen):
                    letter = _letter(queue.lane, raw, table, deployed.bucket)
                    if only is not None and only not in letter.reasons:
                        continue
                    moved += 1
                    if not dry_run:
                        seen.add(queue.send_back(letter))  # or one that fails at once again would go round forever
                        del receipts[letter.id]
                        progress.advance()
                        time.sleep(1 / per_second if per_second else 0)
                    if moved == limit:
                        break
    with_code = f" with the reason {only}" if only else ""
    said = "would be sent back" if dry_run else "sent back to the worker"
    say(f"{count(moved, 'dead letter')}{with_code} {said}.")
    return 0


@contextlib.contextmanager
def _looked_at(deployed: Deployed, lane: str | None, limit: int | None) -> Iterator[list[Letter]]:
    """At most `limit` letters, which are shown again at the end."""
    with contextlib.ExitStack() as hidden:
        yield list(islice(_letters(deployed, lane, hidden), limit))


def _letters(deployed: Deployed, lane: str | None, hidden: contextlib.ExitStack) -> Iterator[Letter]:
    """Each letter once; they stay hidden until the end of `hidden`."""
    table = deployed.predictions()
    for queue in _queues(deployed, lane):
        receipts = hidden.enter_context(queue.hidden())
        for raw in queue.receive(receipts, set()):
            yield _letter(queue.lane, raw, table, deployed.bucket)


def _letter(lane: str, raw: dict[str, Any], table: PredictionsTable, bucket: str) -> Letter:
    event = {"Records": [{"messageId": raw["MessageId"], "body": raw["Body"], "eventSource": "aws:sqs"}]}
    (message,) = read_event(event, bucket).messages
    records = (latest(table, upload.image, upload.object_version) for upload in message.uploads)
    return Letter(lane, raw, message, tuple(record for record in records if record))


def _queues(deployed: Deployed, lane: str | None) -> list[DeadLetters]:
    return [
        DeadLetters(
            name,
            deployed.outputs[f"{name.capitalize()}DeadLettersUrl"],
            deployed.outputs[f"{name.capitalize()}QueueUrl"],
            deployed.client("sqs"),
        )
        for name in ([lane] if lane else LANES)
        if f"{name.capitalize()}DeadLettersUrl" in deployed.outputs  # a stack from before there was a housekeeper
    ]


def _sent_at(raw: dict[str, Any]) -> str | None:
    sent = raw["Attributes"].get("SentTimestamp")
    return iso8601(datetime.fromtimestamp(int(sent) / 1000, UTC)) if sent else None


def _parsed(body: str) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(body)
    return body
