"""From any event that reaches the worker to the uploads and removals that it names. Pure; raises for no event.

The kinds of events, and how each writes an object's key:

| event | key |
|---|---|
| S3 notification, invoking the function directly | as a form's field: `+` is a space, the rest percent-encoded |
| EventBridge's `Object Created`, `Object Restore Completed` and `Object Deleted` | plain |
| SQS: a batch of messages, each with one of the two above as its body | as in its body |
| SNS, invoking the function or in an SQS message: an envelope around one of these | as in the envelope |
| `s3:TestEvent`, other S3 events (tagged, replicated, ...) | they name no upload and are done |

Folder markers, and the files that macOS and Windows leave in every folder, are not uploads either.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from handler.errors import ErrorCode, UnreadableMessageError
from handler.intake.messages import Batch, Message, Receipt, Removal, Upload, iso8601

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_KEY_BYTES = 1024  # S3's own limit
# DynamoDB takes 1,024 bytes of sort key; this leaves room for the model's version. S3's ids have 32 characters.
MAX_VERSION_BYTES = 512
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_QUEUE_ARN = re.compile(r"arn:[a-z-]+:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,80}")

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html
_UPLOADS = ("ObjectCreated:", "ObjectRestore:Completed")
_REMOVALS = ("ObjectRemoved:", "LifecycleExpiration:")
_MARKER_EVENT = "DeleteMarkerCreated"
_MARKER_DETAIL = "Delete Marker Created"
_UPLOAD_DETAILS = frozenset({"Object Created", "Object Restore Completed"})
_REMOVAL_DETAIL = "Object Deleted"

_FOLDER_SUFFIX = "$folder$"  # Hadoop's, behind an underscore
_SYSTEM_FILES = frozenset({".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini"})
_APPLE_DOUBLE = "._"
_SMALLER_THAN_ANY_IMAGE = 16  # bytes; the smallest GIF has 26


@dataclass(frozen=True, slots=True)
class _Scope:
    """Which of the objects that events name are this worker's."""

    bucket: str | None
    ignore_system_files: bool


def read_event(event: object, bucket: str | None = None, *, ignore_system_files: bool = True) -> Batch:
    """Reads any event, even garbage. A part that cannot be understood is a problem of its own message only.

    So is a part that names another bucket than `bucket` (None: any bucket will do). `ignore_system_files` says whether
    folder markers and system files are ignored.
    """
    scope = _Scope(bucket, ignore_system_files)
    match event:
        case {"Records": [*records]} if any(_is_queued(record) for record in records):
            messages = [_queued(record, scope) for record in records if _is_queued(record)]
            if len(messages) < len(records):
                problem = UnreadableMessageError("The batch contains something that is not an SQS message.")
                messages.append(Message(None, problems=(problem,)))
            return Batch(tuple(messages), partial_response=True)
        case {"Records": [*records]} if any(_is_from_topic(record) for record in records):
            messages = [_message(None, record, scope) for record in records]
            return Batch(tuple(messages), partial_response=False, from_topic=True)
        case _:
            return Batch((_message(None, event, scope),), partial_response=False)


def _is_from_topic(record: object) -> bool:
    return isinstance(record, dict) and isinstance(record.get("Sns"), dict)


def _is_queued(record: object) -> bool:
    return isinstance(record, dict) and isinstance(record.get("messageId"), str) and "body" in record


def _queued(record: Any, scope: _Scope) -> Message:
    sent, first_received = (_milliseconds(record, f"{name}Timestamp") for name in ("Sent", "ApproximateFirstReceive"))
    facts: dict[str, Any] = {"receives": _receives(record), "receipt": _receipt(record)}
    facts["sent_at"] = None if sent is None else iso8601(datetime.fromtimestamp(sent / 1000, UTC))
    facts["first_received_at"] = None if first_received is None else first_received / 1000
    try:
        body = _parsed(record["body"])
    except UnreadableMessageError as problem:
        return Message(record["messageId"], problems=(problem,), **facts)
    return _message(record["messageId"], body, scope, **facts)


def _parsed(text: object) -> Any:
    try:
        return json.loads(text)  # type: ignore[arg-type]
    except (ValueError, TypeError, RecursionError):
        raise UnreadableMessageError("The message's body is not JSON.") from None


def _receives(record: dict[str, Any]) -> int:
    match record:
        case {"attributes": {"ApproximateReceiveCount": str(count)}} if re.fullmatch(r"[0-9]{1,9}", count):
            return int(count)
        case _:
            return 0


def _milliseconds(record: dict[str, Any], name: str) -> int | None:
    match record:
        case {"attributes": {**attributes}}:
            text = attributes.get(name)
            return int(text) if isinstance(text, str) and re.fullmatch(r"[0-9]{1,14}", text) else None
        case _:
            return None


def _receipt(record: dict[str, Any]) -> Receipt | None:
    match record:
        case {"eventSourceARN": str(queue), "receiptHandle": str(handle)} if handle and _QUEUE_ARN.fullmatch(queue):
            return Receipt(queue, handle)
        case _:
            return None


def _message(identifier: str | None, notification: object, scope: _Scope, **facts: Any) -> Message:
    """The uploads and removals of one notification, in order, and the problems with its other parts."""
    try:
        parts, parse = _parts(_without_envelope(notification))
    except UnreadableMessageError as unreadable:
        return Message(identifier, problems=(unreadable,), **facts)
    uploads, removals, problems = list[Upload](), list[Removal](), dict[str, UnreadableMessageError]()
    ignored = 0
    for part in parts:
        try:
            found = _ours(parse(part), scope)
        except UnreadableMessageError as problem:
            # Each kind once: a megabyte of commas would make half a million problems, and as many log lines.
            problems.setdefault(problem.sentence, problem.with_traceback(None))
        else:
            match found:
                case Upload(key=key) if scope.ignore_system_files and is_system_file(key, _size(part)):
                    ignored += 1
                case Upload():
                    uploads.append(found)
                case Removal():
                    removals.append(found)
    return Message(identifier, tuple(uploads), tuple(removals), tuple(problems.values()), ignored, **facts)


def _parts(notification: object) -> tuple[list[Any], Callable[[Any], Upload | Removal | None]]:
    """The parts of a notification, and the function that reads one of them."""
    match notification:
        case {"Records": [*parts]}:
            return parts, _from_s3
        case {"source": "aws.s3"}:
            return [notification], _from_eventbridge
        case {"Service": "Amazon S3", "Event": "s3:TestEvent"}:
            return [], _from_s3
        case _:
            raise UnreadableMessageError("The message is not an event from S3.")


def _without_envelope(notification: object) -> object:
    """The notification inside SNS's envelope; any other as it is.

    https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
    """
    match notification:
        case {"Sns": {"Message": text}} | {"Type": "Notification", "Message": text}:
            return _parsed(text)
        case _:
            return notification


def _ours(found: Upload | Removal | None, scope: _Scope) -> Upload | Removal | None:
    if found and scope.bucket and found.bucket != scope.bucket:
        raise UnreadableMessageError("A record names a bucket that is not this worker's.", ErrorCode.FOREIGN_BUCKET)
    return found


def is_system_file(key: str, size: object) -> bool:
    """Whether S3's console, Hadoop, macOS or Windows made the object, and not a person.

    A key that ends in a slash is a folder marker only if it has a name and almost no content. If it contains a picture,
    it is somebody's upload, though it looks like a folder in the console.
    """
    folder, _, name = key.rpartition("/")
    if not name:
        return bool(folder.strip("/")) and not (isinstance(size, int | float) and size >= _SMALLER_THAN_ANY_IMAGE)
    name = name.lower()
    return name in _SYSTEM_FILES or name.startswith(_APPLE_DOUBLE) or name.endswith(_FOLDER_SUFFIX)


def _size(part: Any) -> object:
    """The object's size in bytes as the event gives it."""
    match part:
        case {"s3": {"object": {"size": size}}} | {"detail": {"object": {"size": size}}}:
            return size
        case _:
            return None


def _from_s3(record: Any) -> Upload | Removal | None:
    """One record of a notification (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html)."""
    match record:
        case {"eventName": str(event)} if not event.removeprefix("s3:").startswith((*_UPLOADS, *_REMOVALS)):
            return None
        case {"eventName": str(event), "s3": {"bucket": {"name": name}, "object": {"key": str(key), **facts}}}:
            try:
                key = unquote_plus(key, errors="strict")
            except UnicodeDecodeError:
                raise UnreadableMessageError("A record's key is not UTF-8.") from None
            _check_names(name, key)
            time = record.get("eventTime")
            if event.removeprefix("s3:").startswith(_REMOVALS):
                return _removal(name, key, facts.get("versionId"), time, marker=event.endswith(_MARKER_EVENT))
            return _upload(name, key, facts.get("versionId"), facts.get("eTag"), time)
        case _:
            raise UnreadableMessageError("A record is not an S3 event, or names no object.")


def _from_eventbridge(event: Any) -> Upload | Removal | None:
    """EventBridge's form (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html)."""
    match event:
        case {"detail-type": str(kind)} if kind not in _UPLOAD_DETAILS and kind != _REMOVAL_DETAIL:
            return None
        case {
            "detail-type": str(kind),
            "detail": {"bucket": {"name": name}, "object": {"key": str(key), **facts}, **detail},
        }:
            _check_names(name, key)
            if kind == _REMOVAL_DETAIL:
                marker = detail.get("deletion-type") == _MARKER_DETAIL
                return _removal(name, key, facts.get("version-id"), event.get("time"), marker=marker)
            return _upload(name, key, facts.get("version-id"), facts.get("etag"), event.get("time"))
        case _:
            raise UnreadableMessageError("The event of EventBridge names no object.")


def _check_names(bucket: object, key: str) -> None:
    if not (isinstance(bucket, str) and _BUCKET.fullmatch(bucket)):
        raise UnreadableMessageError("A record names no bucket.")
    if not 0 < _utf8_length(key) <= MAX_KEY_BYTES:
        raise UnreadableMessageError(f"A record's key is not 1 to {MAX_KEY_BYTES} bytes of UTF-8.")


def _upload(bucket: str, key: str, version: object, etag: object, time: object) -> Upload:
    upload = Upload(
        bucket,
        key,
        version=_version(version),
        etag=_identifier(etag.strip('"') if isinstance(etag, str) else etag, "etag"),
        uploaded_at=_utc(time),
    )
    if not upload.object_version:
        raise UnreadableMessageError("A record names neither the version nor the etag of its object.")
    return upload


def _removal(bucket: str, key: str, version: object, time: object, *, marker: bool) -> Removal:
    removed_at = _utc(time)
    if not removed_at:
        raise UnreadableMessageError("A removal gives no time.")
    return Removal(bucket, key, _version(version), marker, removed_at)


def _version(version: object) -> str | None:
    """An object of a bucket whose versioning is suspended has version "null", which an overwrite reuses."""
    return None if version == "null" else _identifier(version, "version")


def _identifier(value: object, name: str) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isprintable() and 0 < _utf8_length(value) <= MAX_VERSION_BYTES:
        return value
    raise UnreadableMessageError(f"A record's {name} is not a string of at most {MAX_VERSION_BYTES} bytes.")


def _utf8_length(text: str) -> int:
    """In bytes; 0 if there is no UTF-8 form (JSON may contain half of a surrogate pair)."""
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
