"""The worker's errors, named by what the caller does about them.

    HandlerError
    ├── ConfigurationError       stop at start; the sentence names the variable to correct
    ├── UnreadableMessageError   hand the message back; it ends in the dead-letter queue, where a person looks at it
    ├── SupersededError          write a `superseded` record; the message is done, because the object is gone for good
    ├── RefusedError             write a `rejected` record; the message is done, because the object's owner must act
    └── TryAgainError            hand the message back; the same upload may work later

An image that cannot be classified is an answer (`model_layer.Rejection`), not an error.

Sentences go into logs and records. They never contain an object's key or the text of a library's exception.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

from model_layer.errors import UserError


class ErrorCode(StrEnum):
    """Every code of this package's errors. `model_layer` has the codes of images."""

    CONFIGURATION = "configuration"
    """An environment variable is missing or wrong; the worker does not start."""

    UNREADABLE_MESSAGE = "unreadable_message"
    """Part of a message is not an event of S3, or names no object."""
    FOREIGN_BUCKET = "foreign_bucket"
    """A message names a bucket that is not this worker's."""

    OVERWRITTEN = "overwritten"
    """A newer object replaced this one before it could be read."""
    DELETED = "deleted"
    """The object was deleted before it could be read."""

    ARCHIVED = "archived"
    """The object is in an archive storage class."""
    NOT_READABLE = "not_readable"
    """The object is encrypted with a key that the worker may not use."""

    STORAGE_UNAVAILABLE = "storage_unavailable"
    """S3 did not give the object: permissions, throttling, or an outage."""
    TABLE_UNAVAILABLE = "table_unavailable"
    """DynamoDB did not take the record: permissions, throttling, or an outage."""
    QUEUE_UNAVAILABLE = "queue_unavailable"
    """SQS did not take a message that the worker or the housekeeper passes on."""
    OUT_OF_TIME = "out_of_time"
    """The invocation ended before this upload was done."""
    OUT_OF_MEMORY = "out_of_memory"
    """The worker was short of memory."""
    INTERNAL_ERROR = "internal_error"
    """A defect; the log has its trace."""
    UNFINISHED = "unfinished"
    """A try has begun and has not reported back."""
    WORKER_DIED = "worker_died"
    """Two tries of this upload ended the worker's process."""
    BAD_COMPANY = "bad_company"
    """It waits for a delivery without messages that are on their last receive."""
    GIVEN_UP = "given_up"
    """Its message has used up its receives, and no worker could write why."""


REFUSALS = MappingProxyType(
    {
        ErrorCode.ARCHIVED: (
            "The file is in an archive storage class and cannot be read; restore it, or upload it again."
        ),
        ErrorCode.NOT_READABLE: (
            "The file is encrypted with a key that this service may not use; upload it without that key."
        ),
    }
)
"""The codes of `RefusedError`, each with the sentence that a person reads."""


class HandlerError(Exception):
    """Base of the tree above. `code` never changes, `sentence` is for a person."""

    def __init__(self, code: ErrorCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class ConfigurationError(HandlerError, UserError):
    """An environment variable is missing or wrong."""

    def __init__(self, sentence: str) -> None:
        super().__init__(ErrorCode.CONFIGURATION, sentence)


class UnreadableMessageError(HandlerError):
    """Part of a message names no object, or one of another bucket. Codes: `unreadable_message`, `foreign_bucket`."""

    def __init__(self, sentence: str, code: ErrorCode = ErrorCode.UNREADABLE_MESSAGE) -> None:
        super().__init__(code, sentence)


class SupersededError(HandlerError):
    """The object was overwritten or deleted before it could be read. Codes: `overwritten`, `deleted`."""


class RefusedError(HandlerError):
    """S3 will refuse to give the object until its owner acts. Codes: the keys of `REFUSALS`.

    Any record except another refusal replaces its record, since the object may be restored or its key granted.
    """

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code, REFUSALS[code])


class TryAgainError(HandlerError):
    """Codes: `storage_unavailable`, `table_unavailable`, `out_of_time`, `out_of_memory`, `internal_error`.

    For a suspect (`handler.flow.delivery`) also `worker_died` and `bad_company`, and for a removal `queue_unavailable`.
    `unfinished` is the code of a record that announces an attempt, and of an event that came from no queue and must
    come again. `given_up` is the housekeeper's.
    """
