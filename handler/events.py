"""Any event that reaches the worker to the uploads that it speaks of. Pure: no AWS, and no exception for any event.

What arrives, and how each writes an object's key:

| event | key |
|---|---|
| S3 notification, invoking the function directly | as a form's field: `+` is a space, the rest percent-encoded |
| EventBridge's `Object Created` | plain |
| SQS: a batch of messages, the body of each one of the two above | as in its body |
| `s3:TestEvent`, other S3 events (removed, restored, tagged, ...) | speak of no upload; they are done |
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from handler.errors import UnreadableMessageError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_KEY_BYTES = 1024  # S3's own limit
# DynamoDB takes 1,024 bytes of sort key; this leaves room for the model's version. S3's ids have 32 characters.
MAX_VERSION_BYTES = 512
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


@dataclass(frozen=True, slots=True)
class Upload:
    """One version of one object. Equal in all events that speak of it."""

    bucket: str
    key: str
    """Decoded: as S3's API takes it."""
    version: str | None
    """The object's version id; None where the bucket keeps no versions."""
    etag: str | None
    """Without its quotes."""
    uploaded_at: str | None = field(compare=False)
    """UTC, ISO 8601, to the millisecond; None when the event tells no time."""

    @property
    def image(self) -> str:
        """`<bucket>/<key>`, the record's partition key."""
        return f"{self.bucket}/{self.key}"

    @property
    def object_version(self) -> str:
        """What tells this upload from others of the same key: the version id, or else the etag."""
        return self.version or self.etag or ""


@dataclass(frozen=True, slots=True)
class Message:
    """What is acknowledged as a whole: done when all of its uploads are."""

    id: str | None
    """SQS's message id; None where there is none to report."""
    uploads: tuple[Upload, ...] = ()
    problems: tuple[UnreadableMessageError, ...] = ()
    """One for each part that could not be understood; the other parts are good."""
    receives: int = 0
    """How often it was delivered, this time included; 0 when the source does not say."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One event."""

    messages: tuple[Message, ...]
    partial_response: bool
    """Whether single messages can be handed back (a queue), or only the whole event (an asynchronous invocation)."""


def read_event(event: object) -> Batch:
    """Reads any event, garbage too: what cannot be understood is a problem of its own message alone."""
    match event:
        case {"Records": [*records]} if any(_is_queued(record) for record in records):
            return Batch(tuple(_queued(record) for record in records), partial_response=True)
        case _:
            uploads, problems = _uploads(event)
            return Batch((Message(None, uploads, problems),), partial_response=False)


def _is_queued(record: object) -> bool:
    return isinstance(record, dict) and isinstance(record.get("messageId"), str) and "body" in record


def _queued(record: Any) -> Message:
    if not _is_queued(record):
        return Message(None, problems=(UnreadableMessageError("The batch holds something that is no SQS message."),))
    try:
        body = json.loads(record["body"])
    except (ValueError, TypeError, RecursionError):
        problem = UnreadableMessageError("The message's body is not JSON.")
        return Message(record["messageId"], problems=(problem,), receives=_receives(record))
    uploads, problems = _uploads(body)
    return Message(record["messageId"], uploads, problems, _receives(record))


def _receives(record: dict[str, Any]) -> int:
    match record:
        case {"attributes": {"ApproximateReceiveCount": str(count)}} if re.fullmatch(r"[0-9]{1,9}", count):
            return int(count)
        case _:
            return 0


def _uploads(notification: object) -> tuple[tuple[Upload, ...], tuple[UnreadableMessageError, ...]]:
    """The uploads of one notification, in order, and what is wrong with its other parts."""
    parse: Callable[[Any], Upload | None]
    match notification:
        case {"Records": [*parts]}:
            parse = _from_s3
        case {"source": "aws.s3"}:
            parts, parse = [notification], _from_eventbridge
        case {"Service": "Amazon S3", "Event": "s3:TestEvent"}:
            return (), ()
        case _:
            return (), (UnreadableMessageError("The message is no event of S3."),)
    uploads, problems = [], []
    for part in parts:
        try:
            upload = parse(part)
        except UnreadableMessageError as problem:
            problems.append(problem)
        else:
            if upload:
                uploads.append(upload)
    return tuple(uploads), tuple(problems)


def _from_s3(record: Any) -> Upload | None:
    """One record of a notification (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html)."""
    match record:
        case {"eventName": str(name)} if not name.removeprefix("s3:").startswith("ObjectCreated:"):
            return None
        case {"eventName": str(), "s3": {"bucket": {"name": bucket}, "object": {"key": str(key), **facts}}}:
            try:
                key = unquote_plus(key, errors="strict")
            except UnicodeDecodeError:
                raise UnreadableMessageError("A record's key is not UTF-8.") from None
            return _upload(bucket, key, facts.get("versionId"), facts.get("eTag"), record.get("eventTime"))
        case _:
            raise UnreadableMessageError("A record is no S3 event, or names no object.")


def _from_eventbridge(event: Any) -> Upload | None:
    """EventBridge's form (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html)."""
    match event:
        case {"detail-type": str(kind)} if kind != "Object Created":
            return None
        case {"detail-type": str(), "detail": {"bucket": {"name": bucket}, "object": {"key": str(key), **facts}}}:
            return _upload(bucket, key, facts.get("version-id"), facts.get("etag"), event.get("time"))
        case _:
            raise UnreadableMessageError("The event of EventBridge names no object.")


def _upload(bucket: object, key: str, version: object, etag: object, time: object) -> Upload:
    if not (isinstance(bucket, str) and _BUCKET.fullmatch(bucket)):
        raise UnreadableMessageError("A record names no bucket.")
    if not 0 < _utf8_length(key) <= MAX_KEY_BYTES:
        raise UnreadableMessageError(f"A record's key is not 1 to {MAX_KEY_BYTES} bytes of UTF-8.")
    # An object of a bucket whose versioning is suspended has version "null", which an overwrite reuses.
    upload = Upload(
        bucket,
        key,
        version=None if version == "null" else _identifier(version, "version"),
        etag=_identifier(etag.strip('"') if isinstance(etag, str) else etag, "etag"),
        uploaded_at=_utc(time),
    )
    if not upload.object_version:
        raise UnreadableMessageError("A record names neither the version nor the etag of its object.")
    return upload


def _identifier(value: object, name: str) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isprintable() and 0 < _utf8_length(value) <= MAX_VERSION_BYTES:
        return value
    raise UnreadableMessageError(f"A record's {name} is not a string of at most {MAX_VERSION_BYTES} bytes.")


def _utf8_length(text: str) -> int:
    """In bytes; 0 for what has no UTF-8 form (JSON may hold half of a surrogate pair)."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 0


def _utc(time: object) -> str | None:
    if not isinstance(time, str):
        return None
    try:
        return iso8601(datetime.fromisoformat(time).astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def iso8601(moment: datetime) -> str:
    """A time in UTC as records write it, so that text order is time order: `2026-11-23T09:30:00.125Z`."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
