"""The table of predictions: the one place where records are written and read.

Attributes of an item:

    image            S  partition key, `<bucket>/<key>`
    version          S  sort key, `<object version id, or etag>#<model version>`: one item for each upload and model
    schema, status, label, confidence, ...
                        the fields of `handler.store.record.Record`, as they are; numbers are exact decimals
    object           M  bucket, key, version, etag, bytes, sha256, format, width and height of the image's file.
                        Not called `image`: an attribute has one type, and that name is the key's
    label_shard      S  `<label>#<yyyy-mm-dd>#<shard>`, only on classified and referred
    confidence_rank  S  `0.973114#<hash of image>`, only on classified and referred
    problem_shard    S  `<status>#<yyyy-mm-dd>#<shard>`, only on referred, rejected, superseded and failed
    expires_at       N  epoch seconds, the TTL attribute, only where records are kept for a time
    attempts         N  only on `failed`: how often an attempt on it alone was never heard of again

Indexes, which `handler.store.record` explains and `handler.store.queries` asks:

    by_label     label_shard, confidence_rank    carries status, label, confidence, triage, predicted_at
    by_problem   problem_shard, predicted_at     carries status, reasons

When several events, workers or retries speak of one upload, one record stands. A prediction or a rejection is final.
`superseded` gives way to these, because an unversioned object may come back with the same etag; so does a rejection for
what S3 kept back (`handler.errors.REFUSALS`), because the object may be restored. `failed` gives way to all others,
because a redrive may succeed, and to a later `failed`, which knows more.

Beside the records, and for some weeks only, stand the marks of removed objects: `handler.store.erasure` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from handler.aws import AWS_ERRORS, IMPATIENT, Patience, error_code, unavailable
from handler.errors import REFUSALS, TryAgainError
from handler.store.record import INDEX_KEYS, index_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from handler.store.record import Record

_PROVISIONAL = ("failed", "superseded")

_HIDDEN = INDEX_KEYS | {"expires_at", "attempts"}
_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, slots=True)
class State:
    """What the table holds of one upload, in short."""

    status: str
    since: str
    """The record's `predicted_at`."""
    attempts: int
    refused: bool = False
    """Whether it is a rejection for what S3 kept back."""

    @property
    def final(self) -> bool:
        """Whether it gives way to nothing."""
        return self.status not in _PROVISIONAL and not self.refused


class PredictionsTable:
    """Writes and reads records. Thread-safe."""

    def __init__(self, client: DynamoDBClient, name: str, ttl_days: int = 0) -> None:
        """Records expire `ttl_days` after their prediction; 0: never."""
        self._client = client
        self._name = name
        self._ttl_days = ttl_days

    def put(self, record: Record, *, attempts: int | None = 0, patience: Patience = IMPATIENT) -> bool:
        """Writes `record`, unless one that stands is there; tells whether it was written.

        `attempts` None, where their number is not known, writes over no record at all: none is forgotten.

        Raises:
            TryAgainError: the table cannot be written now.
        """
        item = self._item(record, attempts or 0)
        condition = _unless_one_is_there() if attempts is None else _unless_one_stands(record)
        try:
            patience.call(self._client.put_item, TableName=self._name, Item=item, **condition)
        except AWS_ERRORS as error:
            # Also the answer to a repetition by botocore, whose first try was written though its response got lost.
            if error_code(error) == "ConditionalCheckFailedException":
                return False
            raise unavailable("table_unavailable", "PutItem", error) from error
        return True

    def withdraw(self, key: Key, request_id: str) -> None:
        """Takes back the `failed` record that the invocation `request_id` wrote, if that is the one that is there.

        Raises:
            TryAgainError: the table cannot be written now.
        """
        try:
            self._client.delete_item(
                TableName=self._name,
                Key={"image": {"S": key[0]}, "version": {"S": key[1]}},
                ConditionExpression="#status = :failed AND request_id = :own",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={":failed": {"S": "failed"}, ":own": {"S": request_id}},
            )
        except AWS_ERRORS as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise unavailable("table_unavailable", "DeleteItem", error) from error

    def states(self, keys: Iterable[Key], patience: Patience = IMPATIENT) -> dict[Key, State]:
        """What stands under those of `keys` that have a record. One written within the last second may be missed.

        Raises:
            TryAgainError: the table cannot be read now.
        """
        attributes = ("image", "version", "status", "predicted_at", "attempts", "reasons")
        found = map(plain, look_up(self._client, self._name, keys, attributes, patience=patience))
        return {(item["image"], item["version"]): _state(item) for item in found}

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
        """Every record of the table, in no order. Reads every byte of it: for exports and small tables."""
        for page in self._client.get_paginator("scan").paginate(TableName=self._name):
            yield from (_record(item) for item in page["Items"] if "status" in item)

    def _item(self, record: Record, attempts: int) -> dict[str, Any]:
        attributes: dict[str, Any] = {**record, **index_keys(record)}
        if attempts:
            attributes["attempts"] = attempts
        if self._ttl_days:
            predicted = datetime.fromisoformat(record["predicted_at"])
            attributes["expires_at"] = int(predicted.timestamp()) + self._ttl_days * _SECONDS_PER_DAY
        return typed(attributes)


def _unless_one_is_there() -> dict[str, Any]:
    return {"ConditionExpression": "attribute_not_exists(image)"}


def _unless_one_stands(record: Record) -> dict[str, Any]:
    """PutItem's condition: there is no record, or one that gives way to `record`."""
    refused = _is_refusal(record["status"], record["reasons"])
    replaced = ("failed",) if refused or record["status"] in _PROVISIONAL else _PROVISIONAL
    values = {f":replaced{i}": {"S": status} for i, status in enumerate(replaced)}
    condition = f"attribute_not_exists(image) OR #status IN ({', '.join(values)})"
    if not refused:
        refusals = {f":refusal{i}": {"S": code} for i, code in enumerate(REFUSALS)}
        condition += f" OR (#status = :rejected AND reasons[0].code IN ({', '.join(refusals)}))"
        values |= {":rejected": {"S": "rejected"}, **refusals}
    return {
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {"#status": "status"},
        "ExpressionAttributeValues": values,
    }


def _is_refusal(status: str, reasons: Iterable[Any]) -> bool:
    return status == "rejected" and any(reason["code"] in REFUSALS for reason in reasons)


def _state(item: dict[str, Any]) -> State:
    refused = _is_refusal(item["status"], item.get("reasons", ()))
    return State(item["status"], item["predicted_at"], item.get("attempts", 0), refused)


def _record(item: dict[str, Any]) -> Record:
    return cast("Record", plain({name: value for name, value in item.items() if name not in _HIDDEN}))


_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


def typed(attributes: dict[str, Any]) -> dict[str, Any]:
    """Plain JSON as an item. Raises TypeError for what DynamoDB has no number for (NaN, infinity)."""
    return {name: _serialize(_exact(value)) for name, value in attributes.items()}


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


Key = tuple[str, str]
"""`image` and `version` of an item."""

MOST_KEYS = 100  # of one request; BatchGetItem's limit
# An answer may leave keys out for reasons of its own. So often they are asked for again, however little time is left.
_ATTEMPTS = 5
_BRIEF = Patience(lambda: 10.0)


def look_up(
    client: DynamoDBClient,
    table: str,
    keys: Iterable[Key],
    attributes: tuple[str, ...],
    *,
    consistent: bool = False,
    patience: Patience = IMPATIENT,
) -> Iterator[dict[str, Any]]:
    """The items under `keys` that are there, in no order: `attributes` of each, in DynamoDB's typed form.

    Raises:
        TryAgainError: the table cannot be read now.
    """
    names = {f"#{i}": name for i, name in enumerate(attributes)}
    asked: dict[str, Any] = {
        "ConsistentRead": consistent,
        "ProjectionExpression": ", ".join(names),
        "ExpressionAttributeNames": names,
    }
    wanted = [{"image": {"S": image}, "version": {"S": version}} for image, version in dict.fromkeys(keys)]
    for i in range(0, len(wanted), MOST_KEYS):
        yield from _all(client, table, wanted[i : i + MOST_KEYS], asked, patience)


def _all(
    client: DynamoDBClient, table: str, keys: list[dict[str, Any]], asked: dict[str, Any], patience: Patience
) -> Iterator[dict[str, Any]]:
    attempt = 0
    while True:
        try:
            answer = patience.call(client.batch_get_item, RequestItems={table: {"Keys": keys, **asked}})
        except AWS_ERRORS as error:
            raise unavailable("table_unavailable", "BatchGetItem", error) from error
        yield from answer["Responses"].get(table, [])
        if table not in answer["UnprocessedKeys"]:
            return
        left = cast("list[dict[str, Any]]", answer["UnprocessedKeys"][table]["Keys"])
        attempt = 1 if len(left) < len(keys) else attempt + 1
        keys = left
        if not (_BRIEF if attempt < _ATTEMPTS else patience).wait(attempt):
            raise TryAgainError("table_unavailable", f"BatchGetItem left {len(keys)} keys unread.")
