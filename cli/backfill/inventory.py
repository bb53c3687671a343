"""An S3 Inventory instead of a listing, for buckets with too many objects to list.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html

Only CSV is read. Parquet and ORC would need a library of 40 MB or more (pyarrow), and S3 writes CSV for the same price.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from cli.backfill.objects import ARCHIVES, PAGE, Current, Page, Place
from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NEEDED = ("Key", "VersionId", "IsLatest", "IsDeleteMarker", "Size", "LastModifiedDate", "ETag")


class InventoryError(UserError):
    """The manifest or one of its files cannot be read, or lacks what a backfill needs."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a manifest.json says."""

    bucket: str
    """The bucket that it lists."""
    columns: tuple[str, ...]
    home: str
    """The bucket that holds its files."""
    files: tuple[tuple[str, str], ...]
    """Key and MD5 of each."""


def read_manifest(content: bytes, home: str) -> Inventory:
    """Raises InventoryError in one sentence if it is not one, or its inventory does not serve for a backfill."""
    try:
        told = json.loads(content)
        form, schema = str(told["fileFormat"]), str(told.get("fileSchema", ""))
        files = tuple((str(file["key"]), str(file["MD5checksum"])) for file in told["files"])
        bucket = str(told["sourceBucket"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InventoryError("This is no manifest.json of an S3 Inventory.") from error
    if form.upper() != "CSV":
        raise InventoryError(f"The inventory is {form}; only CSV is read. Configure one in CSV.")
    columns = tuple(column.strip() for column in schema.split(","))
    if missing := [name for name in NEEDED if name not in columns]:
        raise InventoryError(
            f"The inventory lacks {', '.join(missing)}; configure it with all versions, and with size, last modified "
            "date and ETag."
        )
    return Inventory(bucket, columns, home, files)


def fetch_manifest(s3: Any, address: str) -> Inventory:
    """The manifest at `s3://<bucket>/<key>`."""
    found = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)", address)
    if not found:
        raise InventoryError(f"--inventory takes s3://BUCKET/.../manifest.json, not {address!r}.")
    return read_manifest(s3.get_object(Bucket=found[1], Key=found[2])["Body"].read(), found[1])


def pages(s3: Any, inventory: Inventory, prefix: str, start: Place) -> Iterator[Page]:
    """Its current objects under `prefix`, page by page from `start` on, whose version is the number of a row."""
    keys = [key for key, _ in inventory.files]
    if start.key and start.key not in keys:
        raise InventoryError("The progress belongs to another inventory; --restart starts again.")
    first = keys.index(start.key) if start.key else 0
    for number in range(first, len(keys)):
        rows = read_rows(_fetch(s3, inventory, number), inventory.columns)
        begin = int(start.version or 0) if number == first else 0
        for offset in range(begin, len(rows) or 1, PAGE):
            if offset + PAGE < len(rows):
                after: Place | None = Place(keys[number], str(offset + PAGE))
            else:
                after = Place(keys[number + 1], "0") if number + 1 < len(keys) else None
            objects = [current(row) for row in rows[offset : offset + PAGE]]
            yield Page(tuple(one for one in objects if one and one.key.startswith(prefix)), after)


def read_rows(content: bytes, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of one file, which has no header. Raises InventoryError for a file of another shape."""
    try:
        text = gzip.decompress(content).decode() if content[:2] == b"\x1f\x8b" else content.decode()
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise InventoryError("A file of the inventory is damaged.") from error
    if any(len(row) != len(columns) for row in rows):
        raise InventoryError("A file of the inventory has other columns than its manifest says.")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def current(row: Mapping[str, str]) -> Current | None:
    """The object of a row; None for older versions and delete markers."""
    if row["IsLatest"].lower() != "true" or row["IsDeleteMarker"].lower() == "true":
        return None
    try:
        uploaded_at = datetime.fromisoformat(row["LastModifiedDate"])
        return Current(
            key=unquote_plus(row["Key"], errors="strict"),
            version=row["VersionId"] if row["VersionId"] not in {"", "null"} else None,
            etag=row["ETag"].strip('"'),
            size=int(row["Size"] or 0),
            uploaded_at=uploaded_at if uploaded_at.tzinfo else uploaded_at.replace(tzinfo=UTC),
            archived=row.get("StorageClass") in ARCHIVES,
        )
    except ValueError as error:
        raise InventoryError(
            "A row of the inventory has no number as size, no time, or a key that is no text."
        ) from error


def _fetch(s3: Any, inventory: Inventory, number: int) -> bytes:
    key, digest = inventory.files[number]
    content: bytes = s3.get_object(Bucket=inventory.home, Key=key)["Body"].read()
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != digest.lower():
        raise InventoryError(f"{key} is not the file that the manifest names: its MD5 differs.")
    return content
