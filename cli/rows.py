"""Records in short, as the rows that `submit`, `results` and `classify` print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.output import percent
from pictures.names import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cli.manifest import Sent

FIELDS = ("image", "version", "status", "label", "confidence", "triage", "reasons", "predicted_at")
WAITING = "waiting"
GONE = "gone"
"""Of an upload without a record: it may still come, or the object was erased. Neither is a status of records."""


def codes(reasons: Any) -> str:
    """The codes of a record's reasons."""
    return ", ".join(str(reason["code"]) for reason in reasons)


def key(image: Any) -> str:
    """Of `<bucket>/<key>` what a person knows the image by."""
    return str(image).partition("/")[2]


def second(moment: Any) -> str:
    """`2026-11-23 09:30:00` of a record's time."""
    return str(moment)[:19].replace("T", " ")


COLUMNS: dict[str, Callable[[Any], str] | None] = {
    "file": None,
    "status": None,
    "label": None,
    "confidence": percent,
    "triage": None,
    "reasons": codes,
}
"""Of a row about a file."""

QUERY_COLUMNS: dict[str, Callable[[Any], str] | None] = {
    "image": key,
    "status": None,
    "label": None,
    "confidence": percent,
    "triage": None,
    "reasons": codes,
    "predicted_at": second,
}
"""Of a row that a query found."""


def in_short(record: Mapping[str, Any], file: str | None = None) -> dict[str, Any]:
    """`file` (default: the object's key) and the fields that say what became of it."""
    return {"file": file or key_of(record), **{name: record.get(name) for name in FIELDS}}


def without_record(sent: Sent, *, away: bool) -> dict[str, Any]:
    """The row of an upload that has no record; `away`: and is no longer in the bucket."""
    known = {"image": sent.image, "version": sent.object_version, "status": GONE if away else WAITING}
    return {"file": sent.file, **dict.fromkeys(FIELDS), **known}
