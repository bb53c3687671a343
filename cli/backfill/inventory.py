"""An S3 Inventory instead of a listing, for buckets with too many objects to list.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html

CSV is read by Python itself, Parquet by pyarrow (`cli.parquet`). ORC is not read: S3 writes the other two as well.
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

from cli import parquet
from handler.store.objects import ARCHIVES, PAGE, Current, Page, Place
from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CSV, PARQUET = "CSV", "Parquet"
COLUMNS = {
    "Key": "key", "VersionId": "version_id", "IsLatest": "is_latest", "IsDeleteMarker": "is_delete_marker",
    "Size": "size", "LastModifiedDate": "last_modified_date", "ETag": "e_tag", "StorageClass": "storage_class",
}  # fmt: skip
"""What a backfill looks at: the columns' names in a CSV, and in Parquet."""
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
    form: str = CSV
    """CSV or PARQUET."""


def read_manifest(content: bytes, home: str) -> Inventory:
    """Raises InventoryError in one sentence if it is not one, or its inventory does not serve for a backfill."""
    try:
        told = json.loads(content)
        form, schema = str(told["fileFormat"]), str(told.get("fileSchema", ""))
        files = tuple((str(file["key"]), str(file["MD5checksum"])) for file in told["files"])
        bucket = str(told["sourceBucket"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InventoryError("This is no manifest.json of an S3 Inventory.") from error
    if form not in {CSV, PARQUET}:
        raise InventoryError(f"The inventory is {form}; only CSV and Parquet are read. Configure one of these.")
    columns = _csv_columns(schema) if form == CSV else _parquet_columns(schema)
    if missing := [name for name in NEEDED if name not in columns]:
        raise InventoryError(
            f"The inventory lacks {', '.join(missing)}; configure it with all versions, and with size, last modified "
            "date and ETag."
        )
    return Inventory(bucket, columns, home, files, form)


def _csv_columns(schema: str) -> tuple[str, ...]:
    return tuple(column.strip() for column in schema.split(","))


def _parquet_columns(schema: str) -> tuple[str, ...]:
    """By their names in a CSV, those that a backfill looks at."""
    found = set(re.findall(r"(?:required|optional)\s+\w+\s+(\w+)", schema))
    return tuple(name for name, column in COLUMNS.items() if column in found)


def fetch_manifest(s3: Any, address: str) -> Inventory:
    """The manifest at `s3://<bucket>/<key>`."""
    found = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)", address)
    if not found:
        raise InventoryError(f"--inventory takes s3://BUCKET/.../manifest.json, not {address!r}.")
    inventory = read_manifest(s3.get_object(Bucket=found[1], Key=found[2])["Body"].read(), found[1])
    if inventory.form == PARQUET:
        parquet.pyarrow()  # said before anything is sent
    return inventory


def pages(s3: Any, inventory: Inventory, prefix: str, start: Place) -> Iterator[Page]:
    """Its current objects under `prefix`, page by page from `start` on, whose version is the number of a row."""
    keys = [key for key, _ in inventory.files]
    if start.key and start.key not in keys:
        raise InventoryError("The progress belongs to another inventory; --restart starts again.")
    first = keys.index(start.key) if start.key else 0
    for number in range(first, len(keys)):
        rows = read_rows(_fetch(s3, inventory, number), inventory.columns, inventory.form)
        begin = int(start.version or 0) if number == first else 0
        for offset in range(begin, len(rows) or 1, PAGE):
            if offset + PAGE < len(rows):
                after: Place | None = Place(keys[number], str(offset + PAGE))
            else:
                after = Place(keys[number + 1], "0") if number + 1 < len(keys) else None
            objects = [current(row) for row in rows[offset : offset + PAGE]]
            yield Page(tuple(one for one in objects if one and one.key.startswith(prefix)), after)


def read_rows(content: bytes, columns: Sequence[str], form: str = CSV) -> list[dict[str, str]]:
    """The rows of one file, as texts by the columns' names in a CSV. Raises InventoryError for one of another shape."""
    return _csv_rows(content, columns) if form == CSV else _parquet_rows(content, columns)


def _parquet_rows(content: bytes, columns: Sequence[str]) -> list[dict[str, str]]:
    try:
        rows = parquet.read_rows(content, [COLUMNS[name] for name in columns])
    except parquet.ParquetError as error:
        raise InventoryError("A file of the inventory is damaged.") from error
    if rows and len(rows[0]) != len(columns):
        raise InventoryError("A file of the inventory has other columns than its manifest says.")
    return [{name: _text(row[COLUMNS[name]]) for name in columns} for row in rows]


def _text(value: Any) -> str:
    return "" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)


def _csv_rows(content: bytes, columns: Sequence[str]) -> list[dict[str, str]]:
    """A CSV has no header, and its keys are URL-encoded."""
    try:
        text = gzip.decompress(content).decode() if content[:2] == b"\x1f\x8b" else content.decode()
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise InventoryError("A file of the inventory is damaged.") from error
    if any(len(row) != len(columns) for row in rows):
        raise InventoryError("A file of the inventory has other columns than its manifest says.")
    try:
        found = [dict(zip(columns, row, strict=True)) for row in rows]
        return [{**row, "Key": unquote_plus(row["Key"], errors="strict")} for row in found]
    except UnicodeDecodeError as error:
        raise InventoryError("A row of the inventory has a key that is no text.") from error


def current(row: Mapping[str, str]) -> Current | None:
    """The object of a row; None for older versions and delete markers."""
    if row["IsLatest"].lower() != "true" or row["IsDeleteMarker"].lower() == "true":
        return None
    try:
        uploaded_at = datetime.fromisoformat(row["LastModifiedDate"])
        return Current(
            key=row["Key"],
            version=row["VersionId"] if row["VersionId"] not in {"", "null"} else None,
            etag=row["ETag"].strip('"'),
            size=int(row["Size"] or 0),
            uploaded_at=uploaded_at if uploaded_at.tzinfo else uploaded_at.replace(tzinfo=UTC),
            archived=row.get("StorageClass") in ARCHIVES,
        )
    except ValueError as error:
        raise InventoryError("A row of the inventory has no number as size, or no time.") from error


def _fetch(s3: Any, inventory: Inventory, number: int) -> bytes:
    key, digest = inventory.files[number]
    content: bytes = s3.get_object(Bucket=inventory.home, Key=key)["Body"].read()
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != digest.lower():
        raise InventoryError(f"{key} is not the file that the manifest names: its MD5 differs.")
    return content
