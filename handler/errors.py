"""The worker's errors, named by what the caller does about them.

    HandlerError
    ├── ConfigurationError       stop at start; the sentence names the variable to mend
    ├── UnreadableMessageError   hand the message back; it ends in the dead-letter queue, for a person to look at
    ├── SupersededError          write a `superseded` record, the message is done: the object is gone for good
    ├── RefusedError             write a `rejected` record, the message is done: its owner must act before S3 gives it
    └── TryAgainError            write nothing, hand the message back: the same upload may work later

An image that cannot be classified is an answer (`model_layer.Rejection`), not an error.

Sentences go into logs and records: they never hold an object's key, nor what a library says about its arguments.
"""

from __future__ import annotations

from types import MappingProxyType

REFUSALS = MappingProxyType(
    {
        "archived": "The file is in an archive storage class and cannot be read; restore it, or upload it again.",
        "not_readable": "The file is encrypted with a key that this service may not use; upload it without that key.",
    }
)
"""Every code of an object that S3 keeps back, with the sentence that a person reads."""


class HandlerError(Exception):
    """Base of the tree above. `code` is stable, `sentence` is for a person."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class ConfigurationError(HandlerError):
    """An environment variable is missing or wrong."""

    def __init__(self, sentence: str) -> None:
        super().__init__("configuration", sentence)


class UnreadableMessageError(HandlerError):
    """Part of a message names nothing that could or may be looked for.

    Codes: `unreadable_message`, `foreign_bucket`.
    """

    def __init__(self, sentence: str, code: str = "unreadable_message") -> None:
        super().__init__(code, sentence)


class SupersededError(HandlerError):
    """The object was overwritten or deleted before it could be read. Codes: `overwritten`, `deleted`."""


class RefusedError(HandlerError):
    """S3 will give the same refusal every time until the object's owner acts. Codes: the keys of `REFUSALS`.

    Its record gives way to every other, since the object may be restored, or its key be granted.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code, REFUSALS[code])


class TryAgainError(HandlerError):
    """Codes: `storage_unavailable`, `table_unavailable`, `out_of_time`, `out_of_memory`, `internal_error`.

    And of an upload that is tried alone (`handler.flow.delivery`): `unfinished`, `worker_died`, `bad_company`.
    """
