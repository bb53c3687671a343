"""`dermbatch restore`: records of an earlier time come back, and none of an image that was removed since.

The emulator restores a table as it is now, whatever the time. So the copy is made before the harm is done.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from cli.app import main
from cli.restore import at_time, copying
from handler.errors import ErrorCode, RefusedError, TryAgainError
from handler.flow.fetching import BucketReader
from handler.intake.messages import Removal, Upload, iso8601
from handler.pseudonyms import Pseudonyms
from handler.store.erasure import Erasure
from handler.store.items import whole
from handler.store.record import Finding, build_record
from handler.store.table import PredictionsTable, item_key, plain
from model_layer import Rejection, RejectionCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.stack import Stack

pytestmark = pytest.mark.integration

AT = "2026-11-23T09:00"
THEN = datetime(2026, 11, 23, 8, tzinfo=UTC)
BLANK = Rejection(RejectionCode.BLANK)


class Clinic:
    """A stack with images and their records."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.s3, self.dynamodb = stack.endpoint.client("s3"), stack.endpoint.client("dynamodb")
        self.copy = at_time.name_at(stack.table, at_time.time_of(AT))

    def upload(self, key: str) -> Upload:
        put = self.s3.put_object(Bucket=self.stack.bucket, Key=key, Body=b"image")
        return Upload(self.stack.bucket, key, put["VersionId"], put["ETag"].strip('"'), iso8601(THEN))

    def record(self, upload: Upload, answer: Any = BLANK, model: str = "1", ttl_days: int = 0) -> None:
        bundle = SimpleNamespace(name="m", version=model, digest="sha256:0")
        record = build_record(Finding(upload, answer), bundle, "request", THEN)
        assert PredictionsTable(self.dynamodb, self.stack.table, ttl_days).put(record)

    def filled(self, *keys: str) -> dict[str, Upload]:
        uploads = {key: self.upload(key) for key in keys}
        for upload in uploads.values():
            self.record(upload)
        return uploads

    def lose(self, upload: Upload, model: str = "1") -> None:
        key = item_key(upload.image, f"{upload.version}#{model}")
        self.dynamodb.delete_item(TableName=self.stack.table, Key=key)

    def remove(self, removal: Removal) -> None:
        """As the worker does when the bucket tells of it."""
        remaining = BucketReader(self.s3, 1000).remaining
        secret = self.stack.environment["HASH_SECRET_ARN"]
        pseudonyms = Pseudonyms.read(self.stack.endpoint.client("secretsmanager"), secret)
        Erasure(self.dynamodb, self.stack.table, remaining, pseudonyms).remove(removal, copying.IMPATIENT)

    def records(self) -> dict[str, str]:
        """The status of each record's image, by its key and model."""
        items = self.dynamodb.scan(TableName=self.stack.table, ConsistentRead=True)["Items"]
        records = (whole(plain(item)) for item in items if "status" in item)
        return {f"{one['object']['key']} {one['version'].partition('#')[2]}": one["status"] for one in records}

    def restore(self, *more: str) -> int:
        return main(["restore", "--stack", self.stack.name, "--at", AT, *more])


@pytest.fixture
def clinic(reached: Stack) -> Clinic:
    return Clinic(reached)


def _now() -> str:
    return iso8601(datetime.now(UTC))


def test_what_was_lost_comes_back_and_what_was_removed_does_not(clinic, capsys):
    uploads = clinic.filled("lost.jpg", "kept.jpg", "erased.jpg", "deleted.jpg", "hidden.jpg", "again.jpg")
    clinic.record(uploads["lost.jpg"], model="2")
    assert clinic.restore() == 0
    # Removed since: by the command, in S3 without the table's knowledge, and hidden by a delete marker.
    assert main(["erase", "erased.jpg", "--yes", "--stack", clinic.stack.name]) == 0
    deleted = uploads["deleted.jpg"]
    clinic.s3.delete_object(Bucket=deleted.bucket, Key=deleted.key, VersionId=deleted.version)
    for key in ("hidden.jpg", "again.jpg"):
        marker = clinic.s3.delete_object(Bucket=clinic.stack.bucket, Key=key)["VersionId"]
        clinic.remove(Removal(clinic.stack.bucket, key, marker, marker=True, removed_at=_now()))
    later = clinic.upload("again.jpg")
    clinic.record(later)
    for model in ("1", "2"):
        clinic.lose(uploads["lost.jpg"], model)
    clinic.lose(deleted)
    left = {"kept.jpg 1": "rejected", "again.jpg 1": "rejected"}
    assert clinic.records() == left
    capsys.readouterr()
    assert clinic.restore("--dry-run") == 0
    assert clinic.records() == left
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "7 records of that time; 2 would be copied.",
        "           1 are in the table already",
        "           3 left out: their image was removed",
        "           1 left out: their version of the object no longer exists",
    ]
    assert f"aws dynamodb delete-table --table-name {clinic.copy}" in told.err
    assert clinic.restore() == 0
    assert clinic.records() == left | {"lost.jpg 1": "rejected", "lost.jpg 2": "rejected"}
    assert clinic.restore("--drop") == 0
    assert "7 records of that time; 0 were copied." in capsys.readouterr().out
    assert at_time.status(clinic.dynamodb, clinic.copy) is None


def test_a_removal_counts_also_where_the_table_lost_its_marks(clinic):
    (upload,) = clinic.filled("hidden.jpg").values()
    marker = clinic.s3.delete_object(Bucket=upload.bucket, Key=upload.key)["VersionId"]
    clinic.remove(Removal(upload.bucket, upload.key, marker, marker=True, removed_at=_now()))
    clinic.record(upload)  # the record was there once more at that time, as after a redrive
    assert clinic.restore() == 0
    for item in clinic.dynamodb.scan(TableName=clinic.stack.table)["Items"]:
        clinic.dynamodb.delete_item(TableName=clinic.stack.table, Key={n: item[n] for n in ("image", "version")})
    assert clinic.restore() == 0
    assert clinic.records() == {}


def test_an_image_that_is_removed_while_its_record_is_copied_is_erased(clinic, monkeypatch):
    (upload,) = clinic.filled("lesion.jpg").values()
    assert clinic.restore() == 0
    clinic.lose(upload)
    write = copying.Copying._write

    def removed_meanwhile(self: copying.Copying, item: Any, *, over: bool) -> bool:
        clinic.s3.delete_object(Bucket=upload.bucket, Key=upload.key, VersionId=upload.version)
        clinic.remove(Removal(upload.bucket, upload.key, upload.version, marker=False, removed_at=_now()))
        return write(self, item, over=over)

    monkeypatch.setattr(copying.Copying, "_write", removed_meanwhile)
    assert clinic.restore() == 0
    assert clinic.records() == {}


def test_the_run_after_an_interruption_copies_the_rest_and_erases_what_was_removed_meanwhile(clinic, monkeypatch):
    uploads = clinic.filled(*(f"{number}.jpg" for number in range(6)))
    assert clinic.restore() == 0
    for upload in uploads.values():
        clinic.lose(upload)
    write, done = copying.Copying._write, 0

    def interrupted(self: copying.Copying, item: Any, *, over: bool) -> bool:
        nonlocal done
        done += 1
        if done > 3:
            raise KeyboardInterrupt
        return write(self, item, over=over)

    with monkeypatch.context() as patch:
        patch.setattr(copying, "CONNECTIONS", 1)
        patch.setattr(copying.Copying, "_write", interrupted)
        assert clinic.restore() == 130
    (gone, *_) = sorted(clinic.records())
    upload = uploads[gone.split()[0]]
    clinic.s3.delete_object(Bucket=upload.bucket, Key=upload.key, VersionId=upload.version)
    # Its removal left its mark before the interrupted run wrote the record, and looked for records before that too.
    clinic.remove(Removal(upload.bucket, upload.key, upload.version, marker=False, removed_at=_now()))
    clinic.record(upload)
    assert clinic.restore() == 0
    assert set(clinic.records()) == {f"{key} 1" for key in uploads} - {gone}


def test_a_later_record_stays_and_a_changed_one_gives_way_only_if_asked(clinic, capsys):
    failed, unread, changed = (clinic.upload(key) for key in ("failed.jpg", "archived.jpg", "changed.jpg"))
    clinic.record(failed, TryAgainError("out_of_time", "There was no time."))
    clinic.record(unread, RefusedError(ErrorCode.ARCHIVED))
    clinic.record(changed)
    assert clinic.restore() == 0
    clinic.record(failed)
    clinic.record(unread)
    clinic.dynamodb.update_item(  # what a script did that it should not have
        TableName=clinic.stack.table,
        Key=item_key(changed.image, f"{changed.version}#1"),
        UpdateExpression="SET #status = :wrong",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":wrong": {"S": "classified"}},
    )
    later = {"failed.jpg 1": "rejected", "archived.jpg 1": "rejected"}
    capsys.readouterr()
    assert clinic.restore() == 0
    assert "1 differ from those in the table, and were left; --replace" in capsys.readouterr().out
    assert clinic.records() == later | {"changed.jpg 1": "classified"}
    assert clinic.restore("--replace") == 0
    assert "1 were put in the place of others" in capsys.readouterr().out
    assert clinic.records() == later | {"changed.jpg 1": "rejected"}


def test_expired_records_and_those_that_cannot_be_checked_are_left_out_and_told(clinic, monkeypatch, capsys):
    expired, dark = clinic.upload("expired.jpg"), clinic.upload("dark.jpg")
    clinic.record(expired, ttl_days=(datetime.now(UTC) - THEN).days)
    clinic.record(dark)
    assert clinic.restore() == 0
    for upload in (expired, dark):
        clinic.lose(upload)

    def refuse(self: BucketReader, upload: Upload) -> bool:
        raise TryAgainError(ErrorCode.STORAGE_UNAVAILABLE, "No.") from ClientError(
            {"Error": {"Code": "403"}}, "HeadObject"
        )

    monkeypatch.setattr(BucketReader, "exists", refuse)
    capsys.readouterr()
    assert clinic.restore() == 1
    out = capsys.readouterr().out
    assert "1 left out: their time to live has ended" in out
    assert "1 left out: S3 does not let you see whether the object exists" in out
    assert clinic.records() == {}


def test_a_table_that_somebody_else_restored_is_copied_from(clinic, capsys):
    (upload,) = clinic.filled("lesion.jpg").values()
    clinic.dynamodb.restore_table_to_point_in_time(
        SourceTableName=clinic.stack.table, TargetTableName=f"{clinic.stack.table}-own", UseLatestRestorableTime=True
    )
    clinic.lose(upload)
    stack = ["--stack", clinic.stack.name]
    assert main(["restore", *stack, "--from", f"{clinic.stack.table}-own"]) == 0
    assert clinic.records() == {"lesion.jpg 1": "rejected"}
    assert main(["restore", *stack, "--from", clinic.stack.table]) == 1
    assert main(["restore", *stack, "--from", "nowhere"]) == 1
    assert capsys.readouterr().err.endswith("restore: There is no table nowhere that can be read.\n")


def test_a_dry_run_before_the_restore_makes_no_table(clinic, capsys):
    clinic.dynamodb.update_continuous_backups(
        TableName=clinic.stack.table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    assert clinic.restore("--dry-run") == 0
    assert "can be restored to any second from 20" in capsys.readouterr().out
    assert at_time.status(clinic.dynamodb, clinic.copy) is None


def test_it_waits_for_a_table_that_is_still_being_restored(clinic, monkeypatch):
    words = iter([None, "CREATING", "CREATING", "ACTIVE"])
    monkeypatch.setattr(at_time, "status", lambda *_: next(words))
    slept: list[float] = []
    monkeypatch.setattr(at_time.time, "sleep", slept.append)
    assert clinic.restore() == 0
    assert slept == [at_time.POLL, at_time.POLL]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--at", "yesterday"],
        ["--at", f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M}"],
        ["--at", AT, "--from", "table"],
        ["--from", "table", "--drop"],
    ],
)
def test_a_wrong_question_is_2(arguments, clinic, capsys):
    assert main(["restore", "--stack", clinic.stack.name, *arguments]) == 2
    assert capsys.readouterr().err


def test_a_time_that_dynamodb_refuses_is_one_sentence(clinic, monkeypatch, capsys):
    class Refusing:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            return getattr(clinic.dynamodb, name)

        def restore_table_to_point_in_time(self, **_: Any) -> None:
            raise ClientError({"Error": {"Code": "InvalidRestoreTimeException"}}, "RestoreTableToPointInTime")

    with pytest.raises(at_time.TimeError, match="Point-in-time recovery is off"):
        at_time.restore_to(Refusing(), clinic.stack.table, clinic.copy, THEN)


def test_times_are_of_utc_unless_they_say_otherwise():
    assert at_time.time_of("2026-11-23T09:00") == at_time.time_of("2026-11-23T10:00+01:00")
    assert at_time.time_of("2026-11-23T09:00Z").tzinfo == UTC
    assert len(at_time.name_at("x" * 255, at_time.time_of(AT))) == 255
