"""What events speak of, as plain values: uploads, removals, and the messages that name them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from handler.errors import UnreadableMessageError


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
class Removal:
    """An object, or one version of it, that was taken out of its bucket. A hint: S3 is asked before it is believed."""

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
        """`<bucket>/<key>`, the partition key of the records that it is about."""
        return f"{self.bucket}/{self.key}"

    def concerns(self, version: str | None, object_version: str, uploaded_at: str | None) -> bool:
        """Whether it may have taken away the upload of these facts. Equal times count as uploaded before."""
        if self.version and not self.marker:
            return object_version == self.version
        before = uploaded_at is None or uploaded_at <= self.removed_at
        return before and (self.marker or version is None)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a queue wants to hear to drop one delivery of a message."""

    queue_arn: str
    handle: str


@dataclass(frozen=True, slots=True)
class Message:
    """What is acknowledged as a whole: done when all of its uploads and removals are."""

    id: str | None
    """SQS's message id; None where there is none to report."""
    uploads: tuple[Upload, ...] = ()
    removals: tuple[Removal, ...] = ()
    problems: tuple[UnreadableMessageError, ...] = ()
    """What is wrong with parts that could not be understood, or are not ours to touch, each sort once.

    The other parts are good.
    """
    ignored: int = 0
    """How many objects it names that are no uploads: folder markers and system files."""
    receives: int = 0
    """How often it was delivered, this time included; 0 when the source does not say."""
    first_received_at: float | None = None
    """When its first delivery out of its queue began, in epoch seconds; None where the source does not say."""
    sent_at: str | None = None
    """When it came into its queue, or came back to it from the dead-letter queue; UTC, ISO 8601."""
    receipt: Receipt | None = None
    """None where the source does not say."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One event."""

    messages: tuple[Message, ...]
    partial_response: bool
    """Whether single messages can be handed back (a queue), or only the whole event (an asynchronous invocation)."""
    from_topic: bool = False
    """Whether SNS invoked the function: the topic's own dead-letter queue is then where what fails is looked at."""


def iso8601(moment: datetime) -> str:
    """A time in UTC as records write it, so that text order is time order: `2026-11-23T09:30:00.125Z`."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
