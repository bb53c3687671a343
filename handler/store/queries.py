"""The two questions that the table's indexes answer, asked of every shard and merged."""

from __future__ import annotations

import heapq
from itertools import islice
from typing import TYPE_CHECKING, Any

from handler.store.record import BY_LABEL, BY_PROBLEM, INDEX_KEYS, shards
from handler.store.table import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from mypy_boto3_dynamodb import DynamoDBClient

_KEYS = {BY_LABEL: ("label_shard", "confidence_rank"), BY_PROBLEM: ("problem_shard", "predicted_at")}
_PAGE = 50  # entries read from a shard at a time, about 8 KB


def most_confident(
    client: DynamoDBClient, table: str, label: str, days: Iterable[date], limit: int = 100
) -> list[dict[str, Any]]:
    """The images that got `label` on `days` (UTC), most confident first.

    Each has `image`, `version`, `status`, `label`, `confidence`, `triage` and `predicted_at`.
    """
    return _merged([_entries(client, table, BY_LABEL, shard) for shard in shards(label, days)], BY_LABEL, limit)


def latest_problems(
    client: DynamoDBClient, table: str, status: str, days: Iterable[date], limit: int = 100
) -> list[dict[str, Any]]:
    """What was `referred`, `rejected`, `superseded` or `failed` on `days` (UTC), latest first.

    Each has `image`, `version`, `status`, `reasons` and `predicted_at`.
    """
    return _merged([_entries(client, table, BY_PROBLEM, shard) for shard in shards(status, days)], BY_PROBLEM, limit)


def _entries(client: DynamoDBClient, table: str, index: str, shard: str) -> Iterator[dict[str, Any]]:
    """One shard, highest sort key first, read page by page and only as far as it is asked for."""
    pages = client.get_paginator("query").paginate(
        TableName=table,
        IndexName=index,
        KeyConditionExpression="#shard = :shard",
        ExpressionAttributeNames={"#shard": _KEYS[index][0]},
        ExpressionAttributeValues={":shard": {"S": shard}},
        ScanIndexForward=False,
        PaginationConfig={"PageSize": _PAGE},
    )
    return (plain(item) for page in pages for item in page["Items"])


def _merged(streams: list[Iterator[dict[str, Any]]], index: str, limit: int) -> list[dict[str, Any]]:
    sort_key = _KEYS[index][1]
    entries = heapq.merge(*streams, key=lambda entry: str(entry[sort_key]), reverse=True)
    return [{k: v for k, v in entry.items() if k not in INDEX_KEYS} for entry in islice(entries, limit)]
