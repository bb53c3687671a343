"""The worker's errors, named by what the caller does about them.

    HandlerError
    ├── ConfigurationError       stop at start; the sentence names the variable to mend
    ├── UnreadableMessageError   hand the message back; it ends in the dead-letter queue, for a person to look at
    ├── SupersededError          write a `superseded` record, the message is done: the object is gone for good
    └── TryAgainError            write nothing, hand the message back: the same upload may work later

An image that cannot be classified is an answer (`model_layer.Rejection`), not an error.

Sentences go into logs and records: they never hold an object's key, nor what a library says about its arguments.
"""

from __future__ import annotations


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


class TryAgainError(HandlerError):
    """Codes: `storage_unavailable`, `table_unavailable`, `out_of_time`, `out_of_memory`, `internal_error`.

    And of an upload that is tried alone (`handler.delivery`): `unfinished`, `worker_died`, `bad_company`.
    """
