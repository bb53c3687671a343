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
    attempts         N  only on `failed`: how often the upload was tried alone without a word back (`handler.delivery`)

Indexes, which `handler.indexes` explains and `handler.queries` asks:

    by_label     label_shard, confidence_rank    carries status, label, confidence, triage, predicted_at
    by_problem   problem_shard, predicted_at     carries status, reasons

When several events, workers or retries speak of one upload, one record stands. A prediction or a rejection is final.
`superseded` gives way to these, because an unversioned object may come back with the same etag; so does a rejection for
what S3 kept back (`handler.errors.REFUSALS`), because the object may be restored. `failed` gives way to all others,
because a redrive may succeed, and to a later `failed`, which knows more.

Beside the records, and for some weeks only, stand the marks of removed objects: `handler.erasure` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from handler.aws import AWS_ERRORS, error_code, unavailable
from handler.errors import REFUSALS
from handler.indexes import INDEX_KEYS, index_keys
from handler.items import plain, typed
from handler.lookup import Key, look_up
from handler.patience import IMPATIENT, Patience

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from handler.record import Record

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
