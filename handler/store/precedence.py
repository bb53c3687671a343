"""Which of an upload's records is current, where several models have answered: queries give only that one.

Nothing is written when an image is scored again, and no record carries a flag. The records and the table's list of
models decide, so that a repeated delivery, two workers of different versions or an interruption can leave no image
with two current records, or with none. The first rule that tells two records apart decides:

    1. a record that nothing replaces comes before one that gives way to an answer (`State.final`)
    2. the record of the model that entered the list later, or was preferred later, comes first
    3. the record of the greater model version, as text, comes first

Each worker enters its model before its first record. An entry is an item of the table beside the records. It has no
status, and so is in no index:

    image    S  `#models`; no bucket's name begins with `#`
    version  S  the model's version
    since    S  UTC, ISO 8601: when its first worker began, or when somebody preferred it

A model without an entry, from before there were entries, comes after all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from handler.aws import AWS_ERRORS, IMPATIENT, aws_code, unavailable
from handler.errors import ErrorCode
from handler.intake.messages import iso8601
from handler.store.record import object_version
from handler.store.table import PredictionsTable, plain, state_of, typed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from handler.aws import Patience
    from handler.store.record import Record
    from handler.store.table import Key, State

PARTITION = "#models"

Rank = tuple[bool, str, str]
"""Of a record among those of its upload; the greatest is current."""


def enter(client: DynamoDBClient, table: str, model_version: str, patience: Patience = IMPATIENT) -> None:
    """Enters a model into the list, unless it is there.

    Raises:
        TryAgainError: the table cannot be written now.
    """
    try:
        patience.call(
            client.put_item,
            TableName=table,
            Item=_entry(model_version),
            ConditionExpression="attribute_not_exists(image)",
        )
    except AWS_ERRORS as error:
        if aws_code(error) != "ConditionalCheckFailedException":
            raise unavailable(ErrorCode.TABLE_UNAVAILABLE, "PutItem", error) from error


def prefer(client: DynamoDBClient, table: str, model_version: str) -> None:
    """Gives a model's records precedence over those of all models that are in the list now."""
    client.put_item(TableName=table, Item=_entry(model_version))


@dataclass(frozen=True, slots=True)
class Precedence:
    """The order of the models of one table, as it was when it was read."""

    since: Mapping[str, str]
    """Of each model version in the list."""

    @classmethod
    def read(cls, client: DynamoDBClient, table: str) -> Precedence:
        """One small query."""
        pages = client.get_paginator("query").paginate(
            TableName=table,
            KeyConditionExpression="image = :models",
            ExpressionAttributeValues={":models": {"S": PARTITION}},
        )
        listed = (plain(item) for page in pages for item in page["Items"])
        return cls({entry["version"]: entry["since"] for entry in listed})

    @property
    def models(self) -> list[str]:
        """The model versions in the list; the first has precedence."""
        return sorted(self.since, key=self._order, reverse=True)

    def current(self, records: Iterable[Record]) -> list[Record]:
        """The current one of each upload that has a record among `records`, the latest prediction first."""
        best: dict[Key, Record] = {}
        for record in records:
            upload = record["image"], object_version(record["version"])
            if upload not in best or self._rank_of(record) > self._rank_of(best[upload]):
                best[upload] = record
        return sorted(best.values(), key=lambda record: record["predicted_at"], reverse=True)

    def latest_first(self, records: Collection[Record]) -> list[Record]:
        """All of `records`: the current ones first, each group by the time of its prediction, the latest first."""
        current = {(record["image"], record["version"]) for record in self.current(records)}
        return sorted(
            records,
            key=lambda record: ((record["image"], record["version"]) in current, record["predicted_at"]),
            reverse=True,
        )

    def current_keys(self, client: DynamoDBClient, table: str, entries: Collection[Mapping[str, Any]]) -> set[Key]:
        """The keys of those of `entries` (of an index) whose record is current.

        Looks up only records that could come before one of them: none for an answer of the first model in the list.

        Raises:
            TryAgainError: the table cannot be read now.
        """
        ranks = {(entry["image"], entry["version"]): self._rank_of(entry) for entry in entries}
        rivals = {key: self._rivals(key, rank) for key, rank in ranks.items()}
        states = PredictionsTable(client, table).states(rival for some in rivals.values() for rival in some)

        def precedes(rival: Key, rank: Rank) -> bool:
            return rival in states and self._rank(rival[1], states[rival]) > rank

        return {key for key, rank in ranks.items() if not any(precedes(rival, rank) for rival in rivals[key])}

    def _rivals(self, key: Key, rank: Rank) -> list[Key]:
        image, version = key
        upload, own = object_version(version), _model(version)
        final = rank[0]
        return [
            (image, f"{upload}#{model}")
            for model in self.since
            if model != own and (not final or self._order(model) > self._order(own))
        ]

    def _rank_of(self, item: Mapping[str, Any]) -> Rank:
        return self._rank(item["version"], state_of(item))

    def _rank(self, version: str, state: State) -> Rank:
        return state.final, *self._order(_model(version))

    def _order(self, model_version: str) -> tuple[str, str]:
        return self.since.get(model_version, ""), model_version


def _model(version: str) -> str:
    return version.rpartition("#")[2]


def _entry(model_version: str) -> dict[str, Any]:
    return typed({"image": PARTITION, "version": model_version, "since": iso8601(datetime.now(UTC))})
