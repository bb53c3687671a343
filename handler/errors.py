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

    UNREADABLE_MESSAGE = "unreadable_message"
    FOREIGN_BUCKET = "foreign_bucket"

    OVERWRITTEN = "overwritten"
    DELETED = "deleted"

    ARCHIVED = "archived"
    NOT_READABLE = "not_readable"

    STORAGE_UNAVAILABLE = "storage_unavailable"
    TABLE_UNAVAILABLE = "table_unavailable"
    OUT_OF_TIME = "out_of_time"
    OUT_OF_MEMORY = "out_of_memory"
    INTERNAL_ERROR = "internal_error"
    UNFINISHED = "unfinished"
    WORKER_DIED = "worker_died"
    BAD_COMPANY = "bad_company"


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

    Every other record may replace the one of a refusal, since the object may be restored or its key granted.
    """

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code, REFUSALS[code])


class TryAgainError(HandlerError):
    """Codes: `storage_unavailable`, `table_unavailable`, `out_of_time`, `out_of_memory`, `internal_error`.

    For an upload that must be tried alone (`handler.flow.delivery`) also `unfinished`, `worker_died`, `bad_company`.
    """
