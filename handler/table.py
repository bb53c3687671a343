"""The table of predictions: the one place where records are written and read.

Attributes of an item:

    image            S  partition key, `<bucket>/<key>`
    version          S  sort key, `<object version id, or etag>#<model version>`: one item for each upload and model
    schema, status, label, confidence, ...
                        the fields of `handler.record.Record`, as they are; numbers are exact decimals
    object           M  bucket, key, version, etag, bytes, sha256, format, width and height of the image's file.
                        Not called `image`: an attribute has one type, and that name is the key's
    label_shard      S  `<label>#<yyyy-mm-dd>#<shard>`, only on classified and referred
    confidence_rank  S  `0.973114#<hash of image>`, only on classified and referred
    problem_shard    S  `<status>#<yyyy-mm-dd>#<shard>`, only on referred, rejected, superseded and failed
    expires_at       N  epoch seconds, the TTL attribute, only where records are kept for a time

Indexes, which `handler.indexes` explains and `handler.queries` asks:

    by_label     label_shard, confidence_rank    carries status, label, confidence, triage, predicted_at
    by_problem   problem_shard, predicted_at     carries status, reasons

When several events, workers or retries speak of one upload, one record stands. A prediction or a rejection is final.
`superseded` gives way to these, because an unversioned object may come back with the same etag; `failed` gives way to
all others, because a redrive may succeed.
"""

from __future__ import annotations

import random
import time
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from handler.aws import AWS_ERRORS, error_code, unavailable
from handler.errors import TryAgainError
from handler.indexes import INDEX_KEYS, index_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from handler.record import Record

Key = tuple[str, str]
"""`image` and `version` of a record."""

_PROVISIONAL = ("failed", "superseded")
_GIVES_WAY_TO_IT = {"failed": (), "superseded": ("failed",)}  # every other status: _PROVISIONAL

_LOOKUP_KEYS = 100  # BatchGetItem's limit
_LOOKUP_ATTEMPTS = 5
_SECONDS_PER_DAY = 86_400

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


class PredictionsTable:
    """Writes and reads records. Thread-safe."""

    def __init__(self, client: DynamoDBClient, name: str, ttl_days: int = 0) -> None:
        """Records expire `ttl_days` after their prediction; 0: never."""
        self._client = client
        self._name = name
        self._ttl_days = ttl_days

    def put(self, record: Record) -> bool:
        """Writes `record`, unless one that stands is there; tells whether it was written.

        Raises:
            TryAgainError: the table cannot be written now.
        """
        replaced = _GIVES_WAY_TO_IT.get(record["status"], _PROVISIONAL)
        try:
            self._client.put_item(TableName=self._name, Item=self._item(record), **_unless_one_stands(replaced))
        except AWS_ERRORS as error:
            # Also the answer to a repetition by botocore, whose first try was written though its response got lost.
            if error_code(error) == "ConditionalCheckFailedException":
                return False
            raise unavailable("table_unavailable", "PutItem", error) from error
        return True

    def final(self, keys: Iterable[Key]) -> set[Key]:
        """Those of `keys` whose record is final. A record written within the last second may be missed.

        Raises:
            TryAgainError: the table cannot be read now.
        """
        wanted = [{"image": {"S": image}, "version": {"S": version}} for image, version in dict.fromkeys(keys)]
        return {key for i in range(0, len(wanted), _LOOKUP_KEYS) for key in self._final(wanted[i : i + _LOOKUP_KEYS])}

    def get(self, image: str, version: str) -> Record | None:
        """The record of `image` (`<bucket>/<key>`) and `version` (`<object version>#<model version>`)."""
        key = {"image": {"S": image}, "version": {"S": version}}
        item = self._client.get_item(TableName=self._name, Key=key, ConsistentRead=True).get("Item")
        return _record(item) if item else None

    def history(self, image: str) -> Iterator[Record]:
        """Every version of one image, under every model."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            KeyConditionExpression="image = :image",
            ExpressionAttributeValues={":image": {"S": image}},
        )
        for page in pages:
            yield from map(_record, page["Items"])

    def everything(self) -> Iterator[Record]:
        """The whole table, in no order. Reads every byte of it: for exports and small tables."""
        for page in self._client.get_paginator("scan").paginate(TableName=self._name):
            yield from map(_record, page["Items"])

    def _final(self, keys: list[dict[str, Any]]) -> Iterator[Key]:
        for attempt in range(_LOOKUP_ATTEMPTS):
            if attempt:
                time.sleep(random.uniform(0, 0.05 * 2**attempt))  # full jitter, in seconds
            request: Any = {
                self._name: {
                    "Keys": keys,
                    "ProjectionExpression": "image, version, #status",
                    "ExpressionAttributeNames": {"#status": "status"},
                }
            }
            try:
                answer = self._client.batch_get_item(RequestItems=request)
            except AWS_ERRORS as error:
                raise unavailable("table_unavailable", "BatchGetItem", error) from error
            for item in answer["Responses"].get(self._name, []):
                if item["status"]["S"] not in _PROVISIONAL:
                    yield item["image"]["S"], item["version"]["S"]
            if self._name not in answer["UnprocessedKeys"]:
                return
            keys = cast("list[dict[str, Any]]", answer["UnprocessedKeys"][self._name]["Keys"])
        raise TryAgainError("table_unavailable", f"BatchGetItem left {len(keys)} keys unread.")

    def _item(self, record: Record) -> dict[str, Any]:
        attributes: dict[str, Any] = {**record, **index_keys(record)}
        if self._ttl_days:
            predicted = datetime.fromisoformat(record["predicted_at"])
            attributes["expires_at"] = int(predicted.timestamp()) + self._ttl_days * _SECONDS_PER_DAY
        return {name: _serialize(_exact(value)) for name, value in attributes.items()}


def _unless_one_stands(replaced: tuple[str, ...]) -> dict[str, Any]:
    """PutItem's condition: there is no record, or one whose status is among `replaced`."""
    if not replaced:
        return {"ConditionExpression": "attribute_not_exists(image)"}
    values = {f":replaced{i}": {"S": status} for i, status in enumerate(replaced)}
    return {
        "ConditionExpression": f"attribute_not_exists(image) OR #status IN ({', '.join(values)})",
        "ExpressionAttributeNames": {"#status": "status"},
        "ExpressionAttributeValues": values,
    }


def _record(item: dict[str, Any]) -> Record:
    hidden = INDEX_KEYS | {"expires_at"}
    return cast("Record", plain({name: value for name, value in item.items() if name not in hidden}))


def plain(item: dict[str, Any]) -> dict[str, Any]:
    """An item in DynamoDB's typed form as plain JSON."""
    return {name: _number(_deserialize(value)) for name, value in item.items()}


def _exact(value: Any) -> Any:
    """Floats to the decimals that they print as: 0.1 is stored as 0.1, not as the binary fraction next to it."""
    match value:
        case float():
            return Decimal(str(value))
        case dict():
            return {name: _exact(part) for name, part in value.items()}
        case list():
            return [_exact(part) for part in value]
        case _:
            return value


def _number(value: Any) -> Any:
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case dict():
            return {name: _number(part) for name, part in value.items()}
        case list():
            return [_number(part) for part in value]
        case _:
            return value
