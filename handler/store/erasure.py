"""What is deleted from the bucket is erased from the table, also when the news of the deletion comes first.

A removal leaves a mark, and then erases what is recorded. A worker that has recorded an upload looks for marks
afterwards. So one of the two sees the other, in whatever order they come:

    removal   marks, then reads the records and erases them
    upload    is recorded, then reads the marks and erases its own record

Before anything is erased, S3 is asked whether the object is gone indeed: no event, late, repeated or forged, erases
the record of what is still there.

A mark is an item of the table beside the records, without a status and thus in no index:

    image       S  `#<sha256 of bucket/key>`: the name of what was deleted is not kept either
    version     S  `<object version>` that is gone for good, or `*` for all up to a time
    removed_at  S  UTC, ISO 8601
    marker      S  only where a delete marker hides the older versions: its version id, or `null`
    expires_at  N  epoch seconds; a mark outlives every message that may still speak of the object
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from handler.aws import AWS_ERRORS, error_code, unavailable
from handler.intake.messages import Removal
from handler.store.table import Key, look_up, plain, typed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from handler.aws import Patience
    from handler.flow.fetching import ImageStore
    from handler.intake.messages import Upload

# Twice through a queue (4 days) and its dead-letter queue (14 days), by way of one redrive.
MARK_DAYS = 36
_SECONDS_PER_DAY = 86_400
_ANY_VERSION = "*"


@dataclass(frozen=True, slots=True)
class Erasure:
    """Erases records of removed objects. Thread-safe."""

    client: DynamoDBClient
    table: str
    store: ImageStore

    def remove(self, removal: Removal, patience: Patience) -> int:
        """Erases every record that `removal` concerns, under every model; gives their number.

        Raises:
            TryAgainError: the table or S3 failed. What was erased stays so.
        """
        self._mark(removal, patience)
        return len(self._erase(removal, patience))

    def overtaken(self, uploads: Collection[Upload], patience: Patience) -> set[Upload]:
        """Those of `uploads`, all recorded, that were removed before: their records are erased now.

        Raises:
            TryAgainError: as for `remove`.
        """
        wanted = {key: upload for upload in uploads for key in _mark_keys(upload)}
        attributes = ("image", "version", "removed_at", "marker")
        found = look_up(self.client, self.table, wanted, attributes, consistent=True, patience=patience)
        removed: set[Upload] = set()
        for mark in map(plain, found):
            removal = _removal(mark, wanted[mark["image"], mark["version"]])
            concerned = [
                upload
                for upload in uploads
                if upload.image == removal.image
                and removal.concerns(upload.version, upload.object_version, upload.uploaded_at)
            ]
            if concerned:
                erased = self._erase(removal, patience)
                removed.update(upload for upload in concerned if upload.object_version in erased)
        return removed

    def _mark(self, removal: Removal, patience: Patience) -> None:
        """Of several removals of one object the latest stands."""
        partition, version = _partition(removal.image), _scope(removal)
        item = {"image": partition, "version": version, "removed_at": removal.removed_at}
        item |= {"marker": removal.version or "null"} if removal.marker else {}
        try:
            patience.call(
                self.client.put_item,
                TableName=self.table,
                Item=typed({**item, "expires_at": _expiry(removal.removed_at)}),
                ConditionExpression="attribute_not_exists(image) OR removed_at < :now",
                ExpressionAttributeValues={":now": {"S": removal.removed_at}},
            )
        except AWS_ERRORS as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise unavailable("table_unavailable", "PutItem", error) from error

    def _erase(self, removal: Removal, patience: Patience) -> list[str]:
        """Gives the object's version of each record that was erased.

        Records are read before S3 is asked: one that is written later is of an upload that may be later, too.
        """
        concerned = [
            record
            for record in self._records(removal, patience)
            if removal.concerns(record["object"]["version"], _object_version(record), record.get("uploaded_at"))
        ]
        if not concerned:
            return []
        # Times alone do not tell what came before a delete marker: some sources give whole seconds, or none.
        remaining = self.store.remaining(removal)
        erased = [record for record in concerned if remaining not in {"*", _object_version(record)}]
        for record in erased:
            key = {"image": {"S": removal.image}, "version": {"S": record["version"]}}
            try:
                patience.call(self.client.delete_item, TableName=self.table, Key=key)
            except AWS_ERRORS as error:
                raise unavailable("table_unavailable", "DeleteItem", error) from error
        return [_object_version(record) for record in erased]

    def _records(self, removal: Removal, patience: Patience) -> Iterator[dict[str, Any]]:
        """The image's records, as far as erasing needs them."""
        query: dict[str, Any] = {
            "TableName": self.table,
            "ConsistentRead": True,
            "KeyConditionExpression": "image = :image",
            "ExpressionAttributeValues": {":image": {"S": removal.image}},
            "ProjectionExpression": "#version, uploaded_at, #object.#version",
            "ExpressionAttributeNames": {"#version": "version", "#object": "object"},
        }
        if removal.version and not removal.marker:
            query["KeyConditionExpression"] += " AND begins_with(#version, :version)"
            query["ExpressionAttributeValues"][":version"] = {"S": f"{removal.version}#"}
        while True:
            try:
                page = patience.call(self.client.query, **query)
            except AWS_ERRORS as error:
                raise unavailable("table_unavailable", "Query", error) from error
            yield from map(plain, page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _partition(image: str) -> str:
    """No bucket's name begins with `#`, so no record's partition does."""
    return "#" + hashlib.sha256(image.encode()).hexdigest()


def _object_version(record: dict[str, Any]) -> str:
    """No version of a model holds a `#`; an object's may."""
    return str(record["version"]).rpartition("#")[0]


def _scope(removal: Removal) -> str:
    return _ANY_VERSION if removal.marker or not removal.version else removal.version


def _mark_keys(upload: Upload) -> tuple[Key, Key]:
    partition = _partition(upload.image)
    return (partition, _ANY_VERSION), (partition, upload.object_version)


def _removal(mark: dict[str, Any], upload: Upload) -> Removal:
    """The removal that left `mark`, which may concern `upload`."""
    if "marker" in mark:
        version = None if mark["marker"] == "null" else mark["marker"]
    else:
        version = None if mark["version"] == _ANY_VERSION else mark["version"]
    return Removal(upload.bucket, upload.key, version, "marker" in mark, mark["removed_at"])


def _expiry(removed_at: str) -> int:
    """Counted from now where the removal is old: its messages are as young as their queue."""
    latest = max(datetime.fromisoformat(removed_at), datetime.now(UTC))
    return int(latest.timestamp()) + MARK_DAYS * _SECONDS_PER_DAY
