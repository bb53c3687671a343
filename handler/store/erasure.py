"""Erases the records of objects that are removed from the bucket, even if the removal's event comes first.

The housekeeper answers a removal: it leaves a mark, and then erases the records. A worker that has recorded an upload
reads the marks afterwards. So one of the two sees the other, in whatever order they come:

    removal   write the mark     read the records, ask S3, erase
    upload    write the record   read the marks; pass the removal on to the housekeeper once more

An upload whose removal came first usually finds its object gone. Its record is then `superseded`, and is erased all the
same. A worker erases nothing itself, because it decodes strangers' files.

S3 is asked before anything is erased, whether the object is really gone. No event, whether late, repeated or forged,
erases the record of an object that still exists.

A mark is an item of the table beside the records. It has no status, and so is in no index:

    image       S  `#<pseudonym>`: the name of what was removed is not kept (`handler.pseudonyms`)
    version     S  `<object version>` that is gone for good, or `*` for all versions up to `removed_at`
    removed_at  S  UTC, ISO 8601
    marker      S  only where a delete marker hides the older versions: its version id, or `null`
    expires_at  N  epoch seconds; a mark outlives every message that may still name the object
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from handler.aws import AWS_ERRORS, IMPATIENT, aws_code, unavailable
from handler.errors import ErrorCode
from handler.intake.messages import Removal, iso8601
from handler.store.items import whole
from handler.store.record import object_version
from handler.store.table import Key, item_key, look_up, plain, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

    from handler.aws import Patience
    from handler.intake.messages import Upload
    from handler.pseudonyms import Pseudonyms
    from handler.store.record import Record

# Twice through a queue with the housekeeper's (14 days together) and its dead-letter queue (14 days), for one redrive,
# and a day more.
MARK_DAYS = 57
_SECONDS_PER_DAY = 86_400
_ANY_VERSION = "*"


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks that removals have left. Thread-safe."""

    client: DynamoDBClient
    table: str
    pseudonyms: Pseudonyms

    def overtaking(self, uploads: Collection[Upload], patience: Patience) -> Iterator[tuple[Removal, list[Upload]]]:
        """The removals that have left a mark, each with those of `uploads` that it may have removed.

        Raises:
            TryAgainError: the table cannot be read now.
        """
        wanted = {key: upload for upload in uploads for key in self._keys(upload)}
        attributes = ("image", "version", "removed_at", "marker")
        found = look_up(self.client, self.table, wanted, attributes, consistent=True, patience=patience)
        for mark in map(plain, found):
            removal = _removal(mark, wanted[mark["image"], mark["version"]])
            concerned = [
                upload
                for upload in uploads
                if upload.image == removal.image
                and removal.concerns(upload.version, upload.object_version, upload.uploaded_at)
            ]
            if concerned:
                yield removal, concerned

    def partition(self, image: str) -> str:
        """Where the marks of `image` lie. No bucket's name begins with `#`, so no record's partition does."""
        return "#" + self.pseudonyms.in_mark(image)

    def _keys(self, upload: Upload) -> tuple[Key, Key]:
        partition = self.partition(upload.image)
        return (partition, _ANY_VERSION), (partition, upload.object_version)


@dataclass(frozen=True, slots=True)
class Erasure:
    """Erases records of removed objects. Thread-safe."""

    client: DynamoDBClient
    table: str
    remaining: Callable[[Removal], str | None]
    """Asks S3 what still exists of what a removal took away: `BucketReader.remaining`."""
    pseudonyms: Pseudonyms

    def remove(self, removal: Removal, patience: Patience) -> int:
        """Erases every record that `removal` concerns, under every model; returns their number.

        Raises:
            TryAgainError: the table or S3 failed. Whatever was erased by then stays erased.
        """
        self._mark(removal, patience)
        return len(self._erase(removal, patience))

    def remove_image(self, s3: S3Client, bucket: str, key: str) -> tuple[int, int]:
        """Deletes every version of an object and erases its records; returns the numbers of both.

        After an interruption the same call erases what is left.

        Raises:
            TryAgainError: the table or S3 failed while records were erased.
        """
        everything = Removal(bucket, key, None, marker=True, removed_at="")
        recorded = {record["object"]["version"] for record in self._records(everything, IMPATIENT)}
        deleted = 0
        for version in _object_versions(s3, bucket, key):
            s3.delete_object(Bucket=bucket, Key=key, VersionId=version)
            recorded.add(None if version == "null" else version)
            deleted += 1
        now = iso8601(datetime.now(UTC))
        # The bucket's own news of the deletion says the same to the housekeeper; this is so that it is done by now.
        removals = [Removal(bucket, key, version, marker=False, removed_at=now) for version in recorded]
        return deleted, sum(self.remove(removal, IMPATIENT) for removal in removals)

    def erase_overtaken(self, uploads: Collection[Upload], patience: Patience) -> set[Upload]:
        """Erases the records of those of `uploads` whose removal left a mark before they were recorded.

        Returns the uploads whose records it erased.

        Raises:
            TryAgainError: as for `remove`.
        """
        removed: set[Upload] = set()
        for removal, concerned in self._marks.overtaking(uploads, patience):
            erased = self._erase(removal, patience)
            removed.update(upload for upload in concerned if upload.object_version in erased)
        return removed

    def _mark(self, removal: Removal, patience: Patience) -> None:
        """Writes the mark. Of several removals of one object the latest one counts."""
        partition = self._marks.partition(removal.image)
        version = _ANY_VERSION if removal.marker or not removal.version else removal.version
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
            if aws_code(error) != "ConditionalCheckFailedException":
                raise unavailable(ErrorCode.TABLE_UNAVAILABLE, "PutItem", error) from error

    def _erase(self, removal: Removal, patience: Patience) -> list[str]:
        """Returns the object version of each record that was erased.

        Records are read before S3 is asked: a record that is written later may be of a later upload.
        """
        concerned = [
            record
            for record in self._records(removal, patience)
            if removal.concerns(
                record["object"]["version"], object_version(record["version"]), record.get("uploaded_at")
            )
        ]
        if not concerned:
            return []
        # Times do not show reliably what came before a delete marker: some sources give whole seconds, or none.
        remaining = self.remaining(removal)
        erased = [record for record in concerned if remaining not in {"*", object_version(record["version"])}]
        for record in erased:
            key = item_key(removal.image, record["version"])
            try:
                patience.call(self.client.delete_item, TableName=self.table, Key=key)
            except AWS_ERRORS as error:
                raise unavailable(ErrorCode.TABLE_UNAVAILABLE, "DeleteItem", error) from error
        return [object_version(record["version"]) for record in erased]

    def _records(self, removal: Removal, patience: Patience) -> Iterator[Record]:
        """The image's records: only the attributes that erasing needs."""
        query: dict[str, Any] = {
            "TableName": self.table,
            "ConsistentRead": True,
            "KeyConditionExpression": "image = :image",
            "ExpressionAttributeValues": {":image": {"S": removal.image}},
            "ProjectionExpression": "image, #version, uploaded_at, #object.#version",
            "ExpressionAttributeNames": {"#version": "version", "#object": "object"},
        }
        if removal.version and not removal.marker:
            query["KeyConditionExpression"] += " AND begins_with(#version, :version)"
            query["ExpressionAttributeValues"][":version"] = {"S": f"{removal.version}#"}
        while True:
            try:
                page = patience.call(self.client.query, **query)
            except AWS_ERRORS as error:
                raise unavailable(ErrorCode.TABLE_UNAVAILABLE, "Query", error) from error
            yield from (whole(plain(item)) for item in page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    @property
    def _marks(self) -> Marks:
        return Marks(self.client, self.table, self.pseudonyms)


def _object_versions(s3: S3Client, bucket: str, key: str) -> Iterator[str]:
    """The ids of all versions and delete markers of one object."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
        listed = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        yield from (version["VersionId"] for version in listed if version["Key"] == key)


def _removal(mark: dict[str, Any], upload: Upload) -> Removal:
    """The removal that left `mark`, which may concern `upload`."""
    if "marker" in mark:
        version = None if mark["marker"] == "null" else mark["marker"]
    else:
        version = None if mark["version"] == _ANY_VERSION else mark["version"]
    return Removal(upload.bucket, upload.key, version, "marker" in mark, mark["removed_at"])


def _expiry(removed_at: str) -> int:
    """Counted from now if the removal is old: its message may have entered the queue just now."""
    latest = max(datetime.fromisoformat(removed_at), datetime.now(UTC))
    return int(latest.timestamp()) + MARK_DAYS * _SECONDS_PER_DAY
