"""The things that events name, as plain values: uploads, removals, and the messages that they come in."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

if TYPE_CHECKING:
    from datetime import datetime

    from handler.errors import UnreadableMessageError


@dataclass(frozen=True, slots=True)
class Upload:
    """One version of one object. Equal in all events that name it."""

    bucket: str
    key: str
    """Decoded: as S3's API takes it."""
    version: str | None
    """The object's version id; None where the bucket keeps no versions."""
    etag: str | None
    """Without its quotes."""
    uploaded_at: str | None = field(compare=False)
    """UTC, ISO 8601, to the millisecond; None if the event gives no time."""

    @property
    def image(self) -> str:
        """`<bucket>/<key>`, the record's partition key."""
        return f"{self.bucket}/{self.key}"

    @property
    def object_version(self) -> str:
        """Distinguishes this upload from others of the same key: the version id, or else the etag."""
        return self.version or self.etag or ""


@dataclass(frozen=True, slots=True)
class Removal:
    """An object, or one version of it, that was removed from its bucket. Only a hint: S3 is asked before it counts."""

    bucket: str
    key: str
    version: str | None
    """The version that is gone for good, or the delete marker's own; None where the bucket keeps no versions."""
    marker: bool
    """Whether a delete marker now hides every older version."""
    removed_at: str
    """UTC, ISO 8601, to the millisecond."""

    @property
    def image(self) -> str:
        """`<bucket>/<key>`, the partition key of the records that it concerns."""
        return f"{self.bucket}/{self.key}"

    def concerns(self, version: str | None, object_version: str, uploaded_at: str | None) -> bool:
        """Whether it may have removed the upload with these facts. Of two equal times, the upload counts as earlier."""
        if self.version and not self.marker:
            return object_version == self.version
        before = uploaded_at is None or uploaded_at <= self.removed_at
        return before and (self.marker or version is None)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Identifies one delivery of a message to its queue."""

    queue_arn: str
    handle: str


@dataclass(frozen=True, slots=True)
class Message:
    """The unit of acknowledgement: done when all of its uploads and removals are."""

    id: str | None
    """SQS's message id; None if it did not come from a queue."""
    uploads: tuple[Upload, ...] = ()
    removals: tuple[Removal, ...] = ()
    problems: tuple[UnreadableMessageError, ...] = ()
    """One for each kind of part that could not be understood, or is not ours to touch. The other parts are good."""
    ignored: int = 0
    """How many folder markers and system files it names. They count as no uploads."""
    receives: int = 0
    """How often it was delivered, this time included; 0 if the source does not say."""
    first_received_at: float | None = None
    """When its first delivery out of its queue began, in epoch seconds; None if the source does not say."""
    sent_at: str | None = None
    """When it entered its queue, or came back to it from the dead-letter queue; UTC, ISO 8601."""
    receipt: Receipt | None = None
    """None if the source does not say."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One event."""

    messages: tuple[Message, ...]
    partial_response: bool
    """Whether single messages can be handed back (a queue), or only the whole event (an asynchronous invocation)."""
    from_topic: bool = False
    """Whether SNS invoked the function: failed events then go to the topic's own dead-letter queue."""


def removal_body(removal: Removal) -> str:
    """The message in which S3 would tell of `removal`; `handler.intake.events` reads it back as the same."""
    facts: dict[str, Any] = {"key": quote_plus(removal.key)}
    if removal.version:
        facts["versionId"] = removal.version
    record = {
        "eventSource": "aws:s3",
        "eventName": f"ObjectRemoved:{'DeleteMarkerCreated' if removal.marker else 'Delete'}",
        "eventTime": removal.removed_at,
        "s3": {"bucket": {"name": removal.bucket}, "object": facts},
    }
    return json.dumps({"Records": [record]})


def iso8601(moment: datetime) -> str:
    """A time in UTC as records write it, so that text order is time order: `2026-11-23T09:30:00.125Z`."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
