"""Names of images, safe to show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def one_line(text: str) -> str:
    """A name whose control characters are escaped, so that it cannot move the cursor or reverse a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def key_of(record: Mapping[str, Any]) -> str:
    """The object key of a record of schema 1."""
    facts = record.get("object") or {}
    return str(facts.get("key") or str(record["image"]).partition("/")[2])


def name_of(record: Mapping[str, Any]) -> str:
    """The image's key, safe to show."""
    return one_line(key_of(record))
