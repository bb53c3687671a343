"""The table of predictions: where records are written and read.

Attributes of an item:

    image            S  partition key, `<bucket>/<key>`
    version          S  sort key, `<object version id, or etag>#<model version>`: one item for each upload and model
    schema           N  2, of the item; 1 on items that hold the whole record
    status, label, confidence, ...
                        the fields of `handler.store.record.Record`, as far as a reader cannot know them without being
                        told: `handler.store.items` says which, and in what form. Numbers are exact decimals
    heatmap          B  rows, columns, and the values row by row, one byte each
    reasons          L  of M: code; and a sentence, where it is not the code's own
    object           M  etag, bytes, sha256 (B), format, width and height of the image's file; version only where it is
                        null. Not called `image`: an attribute has one type, and that name is the key's
    model            M  name, digest (B)
    notice           S  Research use only.
    label_shard      S  `<label>#<yyyy-mm-dd>#<shard>`, only on classified and referred
    confidence_rank  S  `0.973114#<hash of image>`, only on classified and referred
    problem_shard    S  `<status>#<yyyy-mm-dd>#<shard>`, only on referred, rejected, superseded and failed
    expires_at       N  epoch seconds, the TTL attribute, only where records are kept for a limited time
    attempts         N  only on `failed`: how many attempts on it alone have not reported back
    shadow           BOOL  true, only on what a candidate model answered in the shadow lane. Such a record is in no
                        index, and readers see it only where they ask for it by its key

Indexes, which `handler.store.record` explains and `handler.store.queries` reads:

    by_label     label_shard, confidence_rank    carries status, label, confidence, triage, predicted_at
    by_problem   problem_shard, predicted_at     carries status, reasons (without the codes' own sentences)

When several events, workers or retries name one upload, one record remains:

    a prediction, or a rejection of the image           is final: nothing replaces it
    `superseded`                                        gives way to a final one: the object may come back
    a rejection for what S3 refused                     gives way to all others: the object may become readable
    `failed`                                            gives way to all others, and to a later `failed`
    a record of the shadow lane                         gives way to all others of the same model

The marks of removed objects, the list of models, and the place where a comparison with the bucket goes on are items
beside the records; `handler.store.erasure`, `handler.store.precedence` and `handler.store.unrecorded` describe them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer

from handler.aws import AWS_ERRORS, IMPATIENT, Patience, aws_code, unavailable
from handler.errors import REFUSALS, ErrorCode, TryAgainError
from handler.store.items import stored, whole
from handler.store.record import Record, index_keys, object_version
from model_layer import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

Key = tuple[str, str]
"""`image` and `version` of an item."""

_MOST_KEYS = 100
"""Of one look-up request; BatchGetItem's limit."""
# A response may leave keys out at any time. They are asked for this often, however little time is left.
_SURE_REQUESTS = 5
_BRIEF = Patience(lambda: 10.0)

_PROVISIONAL = (Status.FAILED, Status.SUPERSEDED)
_FIELDS = tuple(Record.__annotations__)  # the inherited ones too
_SECONDS_PER_DAY = 86_400

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


@dataclass(frozen=True, slots=True)
class State:
    """A record in short, as it is looked up before its upload is worked on."""

    status: str
    since: str
    """The record's `predicted_at`."""
    attempts: int
    refused: bool = False
    """Whether it is a rejection for what S3 refused."""

    @property
    def final(self) -> bool:
        """Whether nothing replaces it."""
        return self.status not in _PROVISIONAL and not self.refused


class PredictionsTable:
    """Writes and reads records. Thread-safe."""

    def __init__(self, client: DynamoDBClient, name: str, ttl_days: int = 0, *, shadow: bool = False) -> None:
        """Records expire `ttl_days` after their prediction; 0: never. `shadow`: those written are the shadow lane's."""
        self._client = client
        self._name = name
        self._ttl_days = ttl_days
        self._shadow = shadow

    def put(self, record: Record, *, attempts: int | None = 0, patience: Patience = IMPATIENT) -> bool:
        """Writes `record`, unless there is one that does not give way to it; returns whether it was written.

        `attempts` None means that their number is not known. Then no record is replaced, so that no number is lost.

        Raises:
            TryAgainError: the table cannot be written now.
        """
        condition = self._of_own_kind(_nothing_is_there() if attempts is None else _gives_way_to(record))
        return self._put(self._item(record, attempts or 0), condition, patience)

    def replace_own(self, record: Record, *, attempts: int = 0) -> bool:
        """Writes `record` over the `failed` one of the same invocation, unless another invocation has replaced that.

        Returns whether it was written.

        Raises:
            TryAgainError: the table cannot be written now.
        """
        condition = {
            "ConditionExpression": "#status = :failed AND request_id = :own",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": {":failed": {"S": str(Status.FAILED)}, ":own": {"S": record["request_id"]}},
        }
        return self._put(self._item(record, attempts), condition, IMPATIENT)

    def _put(self, item: dict[str, Any], condition: dict[str, Any], patience: Patience) -> bool:
        try:
            patience.call(self._client.put_item, TableName=self._name, Item=item, **condition)
        except AWS_ERRORS as error:
            # Also after a repetition by botocore, whose first request was carried out though its answer got lost.
            if aws_code(error) == "ConditionalCheckFailedException":
                return False
            raise unavailable(ErrorCode.TABLE_UNAVAILABLE, "PutItem", error) from error
        return True

    def states(self, keys: Iterable[Key], patience: Patience = IMPATIENT) -> dict[Key, State]:
        """The states of those of `keys` that have a record. One written within the last second may be missed.

        Records of the shadow lane count only in that lane.

        Raises:
            TryAgainError: the table cannot be read now.
        """
        attributes = ("image", "version", "status", "predicted_at", "attempts", "reasons", "shadow")
        found = map(plain, look_up(self._client, self._name, keys, attributes, patience=patience))
        counting = (item for item in found if self._shadow or "shadow" not in item)
        return {(item["image"], item["version"]): state_of(item) for item in counting}

    def states_of(self, image: str, version: str, patience: Patience = IMPATIENT) -> dict[str, State]:
        """The state of one upload under every model, by the records' sort keys; `version` is the object's, or its etag.

        Raises:
            TryAgainError: the table cannot be read now.
        """
        query: dict[str, Any] = {
            "TableName": self._name,
            "ConsistentRead": True,
            "KeyConditionExpression": "image = :image AND begins_with(#version, :version)",
            "ExpressionAttributeValues": {":image": {"S": image}, ":version": {"S": f"{version}#"}},
            "ProjectionExpression": "#version, #status, predicted_at, attempts, reasons, shadow",
            "ExpressionAttributeNames": {"#version": "version", "#status": "status"},
        }
        try:
            answer = patience.call(self._client.query, **query)  # a few records, so one page
        except AWS_ERRORS as error:
            raise unavailable(ErrorCode.TABLE_UNAVAILABLE, "Query", error) from error
        items = (item for item in map(plain, answer["Items"]) if self._shadow or "shadow" not in item)
        found = {item["version"]: state_of(item) for item in items}
        return {key: state for key, state in found.items() if object_version(key) == version}

    def get(self, image: str, version: str) -> Record | None:
        """The record of `image` (`<bucket>/<key>`) and `version` (`<object version>#<model version>`)."""
        answer = self._client.get_item(TableName=self._name, Key=item_key(image, version), ConsistentRead=True)
        return _record(answer["Item"]) if "Item" in answer else None

    def history(self, image: str) -> Iterator[Record]:
        """Every version of one image, under every model except candidates."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            KeyConditionExpression="image = :image",
            ExpressionAttributeValues={":image": {"S": image}},
        )
        for page in pages:
            yield from (_record(item) for item in page["Items"] if "shadow" not in item)

    def recorded(self, keys: Iterable[Key]) -> set[Key]:
        """Those of `keys` that have a record, except candidates'.

        Raises:
            TryAgainError: the table cannot be read now.
        """
        found = map(plain, look_up(self._client, self._name, keys, ("image", "version", "status", "shadow")))
        return {(item["image"], item["version"]) for item in found if "status" in item and "shadow" not in item}

    def has_record(self, image: str, object_version: str) -> bool:
        """Whether this upload of `image` (`<bucket>/<key>`) has a record, under any model except candidates."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            Select="COUNT",
            KeyConditionExpression="image = :image AND begins_with(version, :version)",
            FilterExpression="attribute_exists(#status) AND attribute_not_exists(shadow)",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":image": {"S": image}, ":version": {"S": f"{object_version}#"}},
        )
        return any(page["Count"] for page in pages)

    def get_many(self, keys: Iterable[Key]) -> Iterator[Record]:
        """The records under those of `keys` that have one, in no order.

        Raises:
            TryAgainError: the table cannot be read now.
        """
        found = look_up(self._client, self._name, keys, _FIELDS, patience=_BRIEF)
        yield from map(_record, found)

    def everything(self) -> Iterator[Record]:
        """Every record of the table, in no order. Reads every byte of it: for exports and small tables."""
        for page in self._client.get_paginator("scan").paginate(TableName=self._name):
            yield from (_record(item) for item in page["Items"] if "status" in item and "shadow" not in item)

    def _item(self, record: Record, attempts: int) -> dict[str, Any]:
        attributes = {**stored(record), **({"shadow": True} if self._shadow else index_keys(record))}
        if attempts:
            attributes["attempts"] = attempts
        if self._ttl_days:
            predicted = datetime.fromisoformat(record["predicted_at"])
            attributes["expires_at"] = int(predicted.timestamp()) + self._ttl_days * _SECONDS_PER_DAY
        return typed(attributes)

    def _of_own_kind(self, condition: dict[str, Any]) -> dict[str, Any]:
        """`condition` as it applies between the lanes: what is written into the shadow lane replaces nothing else."""
        own = condition["ConditionExpression"]
        if self._shadow:
            own = f"attribute_not_exists(image) OR (attribute_exists(shadow) AND ({own}))"
        else:
            own = f"attribute_exists(shadow) OR {own}"
        return {**condition, "ConditionExpression": own}


# Which record gives way to which


def _nothing_is_there() -> dict[str, Any]:
    return {"ConditionExpression": "attribute_not_exists(image)"}


def _gives_way_to(record: Record) -> dict[str, Any]:
    """PutItem's condition: there is no record, or one that gives way to `record`."""
    refused = _is_refusal(record["status"], record["reasons"])
    replaced = (Status.FAILED,) if refused or record["status"] in _PROVISIONAL else _PROVISIONAL
    values = {f":replaced{i}": {"S": str(status)} for i, status in enumerate(replaced)}
    condition = f"attribute_not_exists(image) OR #status IN ({', '.join(values)})"
    if not refused:
        refusals = {f":refusal{i}": {"S": str(code)} for i, code in enumerate(REFUSALS)}
        condition += f" OR (#status = :rejected AND reasons[0].code IN ({', '.join(refusals)}))"
        values |= {":rejected": {"S": str(Status.REJECTED)}, **refusals}
    return {
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {"#status": "status"},
        "ExpressionAttributeValues": values,
    }


def _is_refusal(status: str, reasons: Iterable[Any]) -> bool:
    return status == Status.REJECTED and any(reason["code"] in REFUSALS for reason in reasons)


# Items


def item_key(image: str, version: str) -> dict[str, Any]:
    """An item's primary key, as DynamoDB's requests take it."""
    return {"image": {"S": image}, "version": {"S": version}}


def is_final(item: dict[str, Any]) -> bool:
    """Whether `item`, in DynamoDB's typed form, is a record that nothing replaces."""
    held = plain({name: item[name] for name in ("status", "reasons") if name in item})
    status = held.get("status", Status.FAILED)
    return status not in _PROVISIONAL and not _is_refusal(status, held.get("reasons", ()))


def typed(attributes: dict[str, Any]) -> dict[str, Any]:
    """Plain JSON and bytes as an item. Raises TypeError for what DynamoDB has no number for (NaN, infinity)."""
    return {name: _serialize(_exact(value)) for name, value in attributes.items()}


def plain(item: dict[str, Any]) -> dict[str, Any]:
    """An item in DynamoDB's typed form as plain JSON and bytes."""
    return {name: _number(_deserialize(value)) for name, value in item.items()}


def _exact(value: Any) -> Any:
    """Floats become the decimals that they print as: 0.1 is stored as 0.1, not as the binary fraction next to it."""
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
        case Binary():
            return bytes(cast("Any", value))  # its stub has no __bytes__
        case dict():
            return {name: _number(part) for name, part in value.items()}
        case list():
            return [_number(part) for part in value]
        case _:
            return value


def state_of(item: Mapping[str, Any]) -> State:
    """The state of a record, or of its entry in an index."""
    refused = _is_refusal(item["status"], item.get("reasons", ()))
    return State(item["status"], item["predicted_at"], item.get("attempts", 0), refused)


def _record(item: dict[str, Any]) -> Record:
    return whole(plain(item))


# Look-ups of many items


def look_up(
    client: DynamoDBClient,
    table: str,
    keys: Iterable[Key],
    attributes: tuple[str, ...],
    *,
    consistent: bool = False,
    patience: Patience = IMPATIENT,
) -> Iterator[dict[str, Any]]:
    """The items under those of `keys` that exist, in no order: `attributes` of each, in DynamoDB's typed form.

    Raises:
        TryAgainError: the table cannot be read now.
    """
    names = {f"#{i}": name for i, name in enumerate(attributes)}
    asked: dict[str, Any] = {
        "ConsistentRead": consistent,
        "ProjectionExpression": ", ".join(names),
        "ExpressionAttributeNames": names,
    }
    wanted = [item_key(image, version) for image, version in dict.fromkeys(keys)]
    for i in range(0, len(wanted), _MOST_KEYS):
        yield from _all(client, table, wanted[i : i + _MOST_KEYS], asked, patience)


def _all(
    client: DynamoDBClient, table: str, keys: list[dict[str, Any]], asked: dict[str, Any], patience: Patience
) -> Iterator[dict[str, Any]]:
    requests = 0  # since the last that brought something
    while True:
        try:
            answer = patience.call(client.batch_get_item, RequestItems={table: {"Keys": keys, **asked}})
        except AWS_ERRORS as error:
            raise unavailable(ErrorCode.TABLE_UNAVAILABLE, "BatchGetItem", error) from error
        yield from answer["Responses"].get(table, [])
        if table not in answer["UnprocessedKeys"]:
            return
        left = cast("list[dict[str, Any]]", answer["UnprocessedKeys"][table]["Keys"])
        requests = 1 if len(left) < len(keys) else requests + 1  # any progress starts the waits anew
        keys = left
        if not (_BRIEF if requests < _SURE_REQUESTS else patience).wait(requests):
            raise TryAgainError(ErrorCode.TABLE_UNAVAILABLE, f"BatchGetItem left {len(keys)} keys unread.")
