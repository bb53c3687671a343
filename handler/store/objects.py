"""The current version of each object in a bucket, page by page from any place on, and the message for each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from handler.intake.events import is_system_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

PAGE = 1000  # objects; S3's own limit
# Unreadable until restored, unlike GLACIER_IR. A listing does not show what Intelligent-Tiering has archived.
ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})


@dataclass(frozen=True, slots=True)
class Current:
    """The current version of one object. `version` is None if the bucket was not versioned when it was uploaded."""

    key: str
    version: str | None
    etag: str
    size: int
    uploaded_at: datetime
    archived: bool = False
    """In an archive storage class without a restored copy, so S3 would refuse to return it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a listing continues: after this version of this key. Both are empty at the start."""

    key: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """`after` is where the next page starts, or None on the last page."""

    objects: tuple[Current, ...]
    after: Place | None


def pages(s3: Any, bucket: str, prefix: str, start: Place) -> Iterator[Page]:
    """The bucket's current objects under `prefix`, in the order of their keys.

    Lists versions, not objects: a message must name the same version as S3's own event, or the image would get a
    second record.
    """
    place: Place | None = start
    while place:
        markers = {"KeyMarker": place.key, "VersionIdMarker": place.version}
        listed = s3.list_object_versions(
            Bucket=bucket,
            Prefix=prefix,
            MaxKeys=PAGE,
            OptionalObjectAttributes=["RestoreStatus"],
            **{name: value for name, value in markers.items() if value},
        )
        place = None
        if listed.get("IsTruncated"):
            place = Place(listed["NextKeyMarker"], listed.get("NextVersionIdMarker", ""))
        yield Page(tuple(_current(item) for item in listed.get("Versions", ()) if item["IsLatest"]), place)


def _current(item: Any) -> Current:
    version = item.get("VersionId")
    return Current(
        key=item["Key"],
        version=None if version == "null" else version,
        etag=item["ETag"].strip('"'),
        size=item["Size"],
        uploaded_at=item["LastModified"],
        archived=item.get("StorageClass") in ARCHIVES and "RestoreExpiryDate" not in item.get("RestoreStatus", {}),
    )


def sendable(objects: Iterable[Current], *, system_files: bool) -> list[Current]:
    """Those that a worker would give an answer: no archived ones and, unless `system_files`, none of those."""
    readable = (one for one in objects if not one.archived)
    return [one for one in readable if system_files or not is_system_file(one.key, one.size)]


def message(bucket: str, found: Current) -> str:
    """The body of the message that S3 would have sent for the upload of `found`."""
    described: dict[str, Any] = {
        "key": quote_plus(found.key, safe="/"),  # as S3 writes keys in events
        "size": found.size,
        "eTag": found.etag,
    }
    if found.version:
        described["versionId"] = found.version
    event = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Backfill",
        "eventTime": found.uploaded_at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": bucket}, "object": described},
    }
    return json.dumps({"Records": [event]}, separators=(",", ":"))
