"""The two questions that the table's indexes answer, asked of every shard and merged, page by page.

An upload that several models have answered is given once, by its current record (`handler.store.precedence`).

A cursor is the place of the last entry that was given, so that it needs no memory anywhere and never expires. Places
are unique: entries with equal sort keys are ordered by image and version.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any

from handler.store.items import with_sentences
from handler.store.precedence import Precedence
from handler.store.record import BY_LABEL, BY_PROBLEM, INDEX_KEYS, shards
from handler.store.table import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from datetime import date

    from mypy_boto3_dynamodb import DynamoDBClient

_Place = tuple[str, str, str]  # an entry's sort key, image and version

_KEYS = {BY_LABEL: ("label_shard", "confidence_rank"), BY_PROBLEM: ("problem_shard", "predicted_at")}
_MOST_AT_ONCE = 50  # entries read from a shard at a time, about 8 KB
_THREADS = 8  # shards that are asked at a time

MOST_READ = 5000
"""Entries read for one page, at most. A filter that lets few pass gives short pages, each with a cursor to go on."""


class CursorError(ValueError):
    """A cursor that no page of this question gave."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which predictions a person asks for; None: any. `days` are of `predicted_at`, in UTC."""

    days: Collection[date]
    label: str | None = None
    status: str | None = None
    triage: str | None = None
    least_confidence: float | None = None
    open_ended: bool = False
    """Whether `days` are one day and all since. Tomorrow it is still the same question, with a day more."""

    @property
    def about_problems(self) -> bool:
        """Whether it is answered latest first, by status; else by label, most confident first.

        Only images with a label have a confidence and a triage. `referred` ones are found either way.
        """
        unlabelled = self.label is None and self.triage is None and self.least_confidence is None
        return self.status not in {None, "classified"} and unlabelled

    def subjects(self, labels: Collection[str]) -> list[str]:
        """What the index is asked for; `labels` are all that the model knows."""
        if self.about_problems:
            return [str(self.status)]
        return [self.label] if self.label else list(labels)

    def page(
        self,
        client: DynamoDBClient,
        table: str,
        labels: Collection[str],
        size: int,
        cursor: str | None = None,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """See the function `page`. A cursor belongs to the question that gave it.

        Raises:
            CursorError: `cursor` is of another question.
        """
        inner = None
        if cursor is not None:
            asked, _, inner = cursor.partition(".")
            if asked != self._digest or not inner:
                raise CursorError("The cursor is of another question.")
        found, following = page(
            client,
            table,
            BY_PROBLEM if self.about_problems else BY_LABEL,
            self.subjects(labels),
            self.days,
            size,
            inner,
            least_confidence=self.least_confidence or 0,
            wanted=self._wants,
        )
        return found, f"{self._digest}.{following}" if following else None

    @property
    def _digest(self) -> str:
        days = [day.isoformat() for day in sorted(set(self.days))]
        named = ["since", *days[:1]] if self.open_ended else days
        asked = json.dumps([named, self.label, self.status, self.triage, self.least_confidence])
        return hashlib.sha256(asked.encode()).hexdigest()[:16]

    def _wants(self, entry: Mapping[str, Any]) -> bool:
        asked = (("status", self.status), ("triage", self.triage))
        return all(value is None or entry.get(name) == value for name, value in asked)


def page(
    client: DynamoDBClient,
    table: str,
    index: str,
    subjects: Collection[str],
    days: Iterable[date],
    size: int,
    cursor: str | None = None,
    *,
    least_confidence: float = 0,
    wanted: Callable[[dict[str, Any]], bool] = lambda _: True,
) -> tuple[list[dict[str, Any]], str | None]:
    """At most `size` entries of `index` behind `cursor`, and the cursor of the next page; None after the last page.

    `BY_LABEL`: `subjects` are labels, and the most confident come first. Entries have `image`, `version`, `status`,
    `label`, `confidence`, `triage` and `predicted_at`.
    `BY_PROBLEM`: `subjects` are statuses, and the latest come first. Entries have `image`, `version`, `status`,
    `reasons` and `predicted_at`.

    `least_confidence` is for `BY_LABEL`. Entries that are not `wanted`, and those that are not current, are read and
    left out, so a page may be short.
    `days` are of `predicted_at`, in UTC. The cursor is text that needs no escaping in a URL. Give it back with the
    same index, subjects and days.

    Raises:
        CursorError: `cursor` is not one of this index.
        TryAgainError: the records of other models cannot be read now.
    """
    after = _place_in(cursor, index) if cursor else None
    lowest = f"{math.floor(least_confidence * 1e6) / 1e6:.6f}" if least_confidence else "0"
    found: list[dict[str, Any]] = []
    last = after
    at_once = min(size + 1, _MOST_AT_ONCE)
    ordered = _entries(client, table, index, subjects, days, lowest, after, at_once)
    judged = _judged(
        client, table, ordered, lambda entry: entry.get("confidence", 1) >= least_confidence and wanted(entry), at_once
    )
    for read, (entry, given) in enumerate(judged):
        if last and (len(found) == size or read == MOST_READ):
            return found, _cursor(index, last)
        last = _place(entry, index)
        if given:
            found.append({k: v for k, v in entry.items() if k not in INDEX_KEYS})
    return found, None


def entries(
    client: DynamoDBClient,
    table: str,
    index: str,
    subjects: Collection[str],
    days: Iterable[date],
    *,
    every_model: bool = False,
) -> Iterator[dict[str, Any]]:
    """Every entry of `index` about `subjects` on `days`, as `page` orders them, with the index's own keys.

    `every_model`: also those whose record is not current.

    Raises:
        TryAgainError: the records of other models cannot be read now.
    """
    ordered = _entries(client, table, index, subjects, days, "0", None, _MOST_AT_ONCE)
    if every_model:
        return ordered
    judged = _judged(client, table, ordered, lambda _: True, _MOST_AT_ONCE)
    return (entry for entry, given in judged if given)


def _judged(
    client: DynamoDBClient,
    table: str,
    ordered: Iterator[dict[str, Any]],
    passes: Callable[[dict[str, Any]], bool],
    at_once: int,
) -> Iterator[tuple[dict[str, Any], bool]]:
    """Each entry, and whether it passes and its record is current. Looks up a few entries' other records together."""
    precedence = Precedence.read(client, table)
    while group := list(islice(ordered, at_once)):
        current = precedence.current_keys(client, table, [entry for entry in group if passes(entry)])
        yield from ((entry, (entry["image"], entry["version"]) in current) for entry in group)


def _entries(
    client: DynamoDBClient,
    table: str,
    index: str,
    subjects: Collection[str],
    days: Iterable[date],
    lowest: str,
    after: _Place | None,
    at_once: int,
) -> Iterator[dict[str, Any]]:
    """All entries behind `after`, in order, read only as far as they are used."""
    ordered = sorted(set(days), reverse=True)
    if index == BY_PROBLEM:  # a day's entries all come before those of the day before, so each day is read by itself
        groups = [[day] for day in ordered if not after or day.isoformat() <= after[0][:10]]
    else:
        groups = [ordered]
    for group in groups:
        asked = [shard for subject in subjects for shard in shards(subject, group)]
        with ThreadPoolExecutor(_THREADS, "query") as threads:
            streams = threads.map(
                lambda shard: _begun(_shard_entries(client, table, index, shard, lowest, after, at_once)), asked
            )
        yield from heapq.merge(*streams, key=lambda entry: _place(entry, index), reverse=True)


def _begun(entries: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same entries, the first of them read now."""
    return chain([first], entries) if (first := next(entries, None)) else iter(())


def _shard_entries(
    client: DynamoDBClient, table: str, index: str, shard: str, lowest: str, after: _Place | None, at_once: int
) -> Iterator[dict[str, Any]]:
    """One shard's entries behind `after`, in order. DynamoDB leaves the order of equal sort keys open."""
    partition_key, sort_key = _KEYS[index]
    highest = after[0] if after else "~"  # after every digit
    if highest < lowest:
        return
    pages = client.get_paginator("query").paginate(
        TableName=table,
        IndexName=index,
        ScanIndexForward=False,
        PaginationConfig={"PageSize": at_once},
        KeyConditionExpression="#shard = :shard AND #rank BETWEEN :lowest AND :highest",
        ExpressionAttributeNames={"#shard": partition_key, "#rank": sort_key},
        ExpressionAttributeValues={":shard": {"S": shard}, ":lowest": {"S": lowest}, ":highest": {"S": highest}},
    )
    entries = (_entry(plain(item)) for page in pages for item in page["Items"])
    for _, equal in groupby(entries, key=lambda entry: entry[sort_key]):
        for entry in sorted(equal, key=lambda entry: _place(entry, index), reverse=True):
            if not after or _place(entry, index) < after:
                yield entry


def _entry(attributes: dict[str, Any]) -> dict[str, Any]:
    return attributes | ({"reasons": with_sentences(attributes["reasons"])} if "reasons" in attributes else {})


def _place(entry: dict[str, Any], index: str) -> _Place:
    return entry[_KEYS[index][1]], entry["image"], entry["version"]


def _cursor(index: str, place: _Place) -> str:
    return base64.urlsafe_b64encode(json.dumps([index, *place]).encode()).decode().rstrip("=")


def _place_in(cursor: str, index: str) -> _Place:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        match json.loads(base64.b64decode(padded, altchars=b"-_", validate=True)):
            case [of, str(rank), str(image), str(version)] if of == index and rank.isascii() and 0 < len(rank) < 100:
                return rank, image, version
    except (ValueError, RecursionError):
        pass
    raise CursorError("The cursor is not one that a page of this question gave.")
