"""`dermbatch backfill` beyond listing: by day, by model version, from an S3 Inventory, and with a look at the queue."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import json
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored_items import SCHEMAS, item_of

from cli.app import main
from cli.backfill import choice, inventory, run
from cli.backfill.inventory import NEEDED, InventoryError, current, read_manifest, read_rows
from handler.errors import TryAgainError
from handler.intake.events import read_event
from handler.intake.messages import Upload
from handler.store import objects
from handler.store.record import Finding, build_record
from model_layer import Rejection, RejectionCode

COLUMNS = ("Bucket", *NEEDED, "StorageClass")
UGLY = "clinic/é a+b %20 ?#&=,\"'/x.jpg"


@pytest.fixture
def filled(reached):
    """Versions of the keys in the bucket of a stack."""
    s3 = reached.endpoint.client("s3")
    keys = [*(f"2026/{number}.jpg" for number in range(5)), UGLY]
    s3.put_object(Bucket=reached.bucket, Key="2026/0.jpg", Body=b"older")
    versions = {key: s3.put_object(Bucket=reached.bucket, Key=key, Body=b"image")["VersionId"] for key in keys}
    s3.put_object(Bucket=reached.bucket, Key="deleted.jpg", Body=b"gone")
    s3.delete_object(Bucket=reached.bucket, Key="deleted.jpg")
    return versions


def _sent(stack) -> list[tuple[str, str]]:
    found = []
    asked = {"QueueUrl": stack.lanes["Bulk"].queue_url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0}
    while got := stack.endpoint.client("sqs").receive_message(**asked).get("Messages"):
        messages = [message for one in got for message in read_event(json.loads(one["Body"])).messages]
        found += [(upload.key, upload.version) for message in messages for upload in message.uploads]
    return sorted(found)


def _backfill(stack, tmp_path, *more: str) -> int:
    return main(["backfill", "--stack", stack.name, "--state", str(tmp_path / "state.json"), *more])


SCHEMA = (
    "message s3.inventory {  required binary bucket (STRING);  required binary key (STRING);  optional binary "
    "version_id (STRING);  optional boolean is_latest;  optional boolean is_delete_marker;  optional int64 size;  "
    "optional int64 last_modified_date (TIMESTAMP(MILLIS,true));  optional binary e_tag (STRING);  optional binary "
    "storage_class (STRING);  optional boolean is_multipart_uploaded;}"
)
"""Of an inventory in Parquet, as S3 words it."""


def _parquet_inventory(stack, arrow, rows_per_file: int = 1000) -> str:
    """As `_inventory`, in Parquet: keys as they are, and every value in its own type."""
    s3, home = stack.endpoint.client("s3"), f"{stack.bucket}-inventory"
    s3.create_bucket(Bucket=home, CreateBucketConfiguration={"LocationConstraint": stack.endpoint.region})
    listed = s3.list_object_versions(Bucket=stack.bucket)
    rows = [
        {"bucket": stack.bucket, "key": one["Key"], "version_id": one["VersionId"], "is_latest": one["IsLatest"],
         "is_delete_marker": kind == "DeleteMarkers", "size": one.get("Size"),
         "last_modified_date": one["LastModified"], "e_tag": one["ETag"].strip('"') if "ETag" in one else None,
         "storage_class": one.get("StorageClass"),
         "is_multipart_uploaded": False}
        for kind in ("Versions", "DeleteMarkers") for one in listed.get(kind, ())
    ]  # fmt: skip
    text, flag = arrow.string(), arrow.bool_()
    schema = arrow.schema([
        arrow.field("bucket", text, nullable=False), arrow.field("key", text, nullable=False), ("version_id", text),
        ("is_latest", flag), ("is_delete_marker", flag), ("size", arrow.int64()),
        ("last_modified_date", arrow.timestamp("ms", "UTC")), ("e_tag", text), ("storage_class", text),
        ("is_multipart_uploaded", flag),
    ])  # fmt: skip
    contents = {}
    for start in range(0, len(rows), rows_per_file):
        file = io.BytesIO()
        arrow.parquet.write_table(arrow.Table.from_pylist(rows[start : start + rows_per_file], schema), file)
        contents[f"data/{start}.parquet"] = file.getvalue()
    return _publish(stack, home, contents, {"fileFormat": "Parquet", "fileSchema": SCHEMA})


def _publish(stack, home: str, contents: dict[str, bytes], described: dict[str, str]) -> str:
    """Puts the files and their manifest into the bucket `home`; returns the manifest's address."""
    s3 = stack.endpoint.client("s3")
    files = []
    for key, content in contents.items():
        s3.put_object(Bucket=home, Key=key, Body=content)
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        files.append({"key": key, "size": len(content), "MD5checksum": digest})
    manifest = {
        "sourceBucket": stack.bucket, "destinationBucket": f"arn:aws:s3:::{home}", "version": "2016-11-30",
        **described, "files": files,
    }  # fmt: skip
    s3.put_object(Bucket=home, Key="2026-11-23T01-00Z/manifest.json", Body=json.dumps(manifest).encode())
    return f"s3://{home}/2026-11-23T01-00Z/manifest.json"


def _inventory(stack, rows_per_file: int = 1000) -> str:
    """Writes an inventory of the bucket as S3 does, into a bucket of its own; returns the manifest's address."""
    s3 = stack.endpoint.client("s3")
    home = f"{stack.bucket}-inventory"
    s3.create_bucket(Bucket=home, CreateBucketConfiguration={"LocationConstraint": stack.endpoint.region})
    listed = s3.list_object_versions(Bucket=stack.bucket)
    rows = [
        [stack.bucket, quote_plus(one["Key"], safe="/"), one["VersionId"], str(one["IsLatest"]).lower(), marker,
         str(one.get("Size", "")), one["LastModified"].strftime("%Y-%m-%dT%H:%M:%S.000Z"),
         one.get("ETag", "").strip('"'), one.get("StorageClass", "")]
        for marker, kind in (("false", "Versions"), ("true", "DeleteMarkers")) for one in listed.get(kind, ())
    ]  # fmt: skip
    contents = {}
    for start in range(0, len(rows), rows_per_file):
        text = io.StringIO()
        csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows[start : start + rows_per_file])
        contents[f"data/{start}.csv.gz"] = gzip.compress(text.getvalue().encode())
    return _publish(stack, home, contents, {"fileFormat": "CSV", "fileSchema": ", ".join(COLUMNS)})


@pytest.mark.integration
def test_an_inventory_sends_what_a_listing_sends_also_after_an_interruption(reached, filled, tmp_path, monkeypatch):
    address = _inventory(reached, rows_per_file=3)
    monkeypatch.setattr(inventory, "PAGE", 2)
    whole, calls = run.send, []

    def stop_in_the_third_page(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(run, "send", stop_in_the_third_page)
        assert _backfill(reached, tmp_path, "--inventory", address) == 130
    assert _backfill(reached, tmp_path) == 1, "a listing does not continue what an inventory began"
    assert _backfill(reached, tmp_path, "--inventory", address) == 0
    assert _sent(reached) == sorted(filled.items())


@pytest.mark.integration
def test_an_inventory_in_parquet_sends_the_same(reached, filled, tmp_path, arrow, monkeypatch):
    monkeypatch.setattr(inventory, "PAGE", 2)
    address = _parquet_inventory(reached, arrow, rows_per_file=3)
    assert _backfill(reached, tmp_path, "--inventory", address) == 0
    assert _sent(reached) == sorted(filled.items())


@pytest.mark.integration
def test_parquet_without_its_package_is_said_before_anything_is_sent(reached, filled, tmp_path, monkeypatch, capsys):
    home = f"{reached.bucket}-inventory"
    where = {"LocationConstraint": reached.endpoint.region}
    reached.endpoint.client("s3").create_bucket(Bucket=home, CreateBucketConfiguration=where)
    address = _publish(reached, home, {"a": b"PAR1"}, {"fileFormat": "Parquet", "fileSchema": SCHEMA})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    assert _backfill(reached, tmp_path, "--inventory", address) == 1
    assert "'.[parquet]'" in capsys.readouterr().err
    assert _sent(reached) == []


def test_damaged_parquet_and_a_column_too_few_are_one_sentence(arrow):
    file = io.BytesIO()
    arrow.parquet.write_table(arrow.table({"key": ["a"], "size": [3]}), file)
    with pytest.raises(InventoryError, match="other columns"):
        read_rows(file.getvalue(), NEEDED, "Parquet")
    for content in (file.getvalue()[:-9], b"PAR1", b""):
        with pytest.raises(InventoryError, match="damaged"):
            read_rows(content, NEEDED, "Parquet")


@pytest.mark.integration
def test_a_changed_file_and_another_buckets_inventory_are_refused(reached, filled, tmp_path, capsys):
    address = _inventory(reached)
    s3, (home, key) = reached.endpoint.client("s3"), address.removeprefix("s3://").split("/", 1)
    manifest = json.loads(s3.get_object(Bucket=home, Key=key)["Body"].read())
    s3.put_object(Bucket=home, Key=manifest["files"][0]["key"], Body=b"else")
    assert _backfill(reached, tmp_path, "--inventory", address) == 1
    assert "its MD5 differs" in capsys.readouterr().err
    s3.put_object(Bucket=home, Key=key, Body=json.dumps({**manifest, "sourceBucket": "another"}).encode())
    assert _backfill(reached, tmp_path, "--inventory", address) == 1
    assert "is of the bucket another" in capsys.readouterr().err
    assert _backfill(reached, tmp_path, "--inventory", f"s3://{home}/nothing.json") == 4
    assert _backfill(reached, tmp_path, "--inventory", "manifest.json") == 1
    assert capsys.readouterr().err.count("\n") == 2
    assert _sent(reached) == []


@pytest.mark.integration
@pytest.mark.parametrize("schema", SCHEMAS)
def test_only_objects_without_an_answer_of_the_model_version(reached, filled, tmp_path, capsys, schema):
    dynamodb = reached.endpoint.client("dynamodb")
    bundle = SimpleNamespace(name="m", version="2", digest="sha256:0")
    for key, answer in (
        ("2026/1.jpg", Rejection(RejectionCode.BLANK)),
        ("2026/2.jpg", TryAgainError("out_of_time", "There was no time.")),
    ):
        finding = Finding(Upload(reached.bucket, key, filled[key], "e", None), answer)
        dynamodb.put_item(TableName=reached.table, Item=item_of(build_record(finding, bundle, "request"), schema))
    assert _backfill(reached, tmp_path, "--model-version", "2", "--dry-run") == 0
    out = capsys.readouterr().out
    assert out.startswith("5 objects of ")
    assert "of Lambda, $" in out
    assert _backfill(reached, tmp_path, "--model-version", "2") == 0
    assert _sent(reached) == sorted(pair for pair in filled.items() if pair[0] != "2026/1.jpg")


@pytest.mark.integration
def test_only_objects_of_a_day_and_later(reached, filled, tmp_path, capsys):
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    assert _backfill(reached, tmp_path, "--since", str(tomorrow)) == 0
    assert _sent(reached) == []
    assert _backfill(reached, tmp_path, "--since", str(tomorrow - timedelta(days=2))) == 0
    assert len(_sent(reached)) == len(filled)
    assert _backfill(reached, tmp_path, "--since", "yesterday") == 2
    assert "--since takes a day such as" in capsys.readouterr().err


@pytest.mark.integration
def test_it_pauses_while_the_bulk_queue_is_too_deep(reached, filled, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(objects, "PAGE", 2)
    monkeypatch.setattr(run, "PAUSE", 0.1)
    taken: list[tuple[str, str]] = []
    over = threading.Event()
    depths = []

    def work():
        while not over.is_set():
            time.sleep(0.3)
            depths.append(run.waiting(reached.endpoint.client("sqs"), reached.lanes["Bulk"].queue_url))
            taken.extend(_sent(reached))

    thread = threading.Thread(target=work)
    thread.start()
    assert _backfill(reached, tmp_path, "--max-waiting", "1") == 0
    over.set()
    thread.join()
    assert sorted(taken + _sent(reached)) == sorted(filled.items())
    assert max(depths) <= 1 + 2, "more than a page over the bound"
    assert "Paused: 2 messages wait in the bulk lane, more than 1." in capsys.readouterr().err


def _manifest(**changes) -> bytes:
    told = {
        "sourceBucket": "b", "fileFormat": "CSV", "fileSchema": ", ".join(COLUMNS),
        "files": [{"key": "k", "MD5checksum": "0"}],
    }  # fmt: skip
    return json.dumps({**told, **changes}).encode()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (_manifest(fileFormat="ORC"), "The inventory is ORC; only CSV and Parquet are read"),
        (_manifest(fileFormat="Parquet", fileSchema="message s3.inventory { required binary key (UTF8); }"), "lacks V"),
        (_manifest(fileSchema="Bucket, Key, Size"), "lacks VersionId, IsLatest, IsDeleteMarker, LastModifiedDate"),
        (_manifest(files=None), "no manifest.json"),
        (b"[" * 100_000, "no manifest.json"),
        (b"\xff", "no manifest.json"),
        (b"3", "no manifest.json"),
    ],
)  # fmt: skip
def test_a_manifest_that_does_not_serve_is_one_sentence(content, told):
    with pytest.raises(InventoryError, match=told):
        read_manifest(content, "home")


@given(st.binary(max_size=300))
def test_no_bytes_break_the_manifest_or_the_rows(content):
    for read in (lambda: read_manifest(content, "home"), lambda: read_rows(content, COLUMNS)):
        with contextlib.suppress(InventoryError):
            read()


@given(st.lists(st.text(max_size=20), min_size=len(COLUMNS), max_size=len(COLUMNS)))
def test_a_row_is_an_object_or_none_or_refused(cells):
    row = dict(zip(COLUMNS, cells, strict=True))
    with contextlib.suppress(InventoryError):
        current({**row, "IsLatest": "true", "IsDeleteMarker": "false"})


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=100), st.text("abcXYZ019._-", min_size=1, max_size=32)
)
def test_a_key_comes_back_as_it_was(key, version):
    cells = ["b", quote_plus(key, safe="/"), version, "true", "false", "7", "2026-11-23T09:30:00.000Z", "e", "STANDARD"]
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(cells)
    (row,) = read_rows(text.getvalue().encode(), COLUMNS)
    found = current(row)
    assert (found.key, found.version, found.size) == (key, None if version == "null" else version, 7)
    assert found.uploaded_at == datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


@given(st.text(max_size=12))
def test_since_is_a_day_or_refused(text):
    with contextlib.suppress(choice.ChoiceError):
        choice.Choice.of(text, None)
