"""`dermbatch reconcile`: an upload whose notification was lost is found and sent, and nothing else is."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from cli.app import main
from cli.deployed import Account, find
from handler.errors import TryAgainError
from handler.intake.events import read_event
from handler.intake.messages import Upload
from handler.store import objects
from handler.store.record import Finding, build_record
from handler.store.table import PredictionsTable
from handler.store.unrecorded import Comparison
from model_layer import Rejection, RejectionCode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from infra.stack import Stack

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def _upload(stack: Stack, key: str, **given: str) -> Upload:
    put = stack.endpoint.client("s3").put_object(Bucket=stack.bucket, Key=key, Body=b"image", **given)
    return Upload(stack.bucket, key, put["VersionId"], put["ETag"].strip('"'), None)


def _record(stack: Stack, upload: Upload, answer: object, model: str = "1", *, shadow: bool = False) -> None:
    bundle = SimpleNamespace(name="m", version=model, digest="sha256:0")
    table = PredictionsTable(stack.endpoint.client("dynamodb"), stack.table, shadow=shadow)
    assert table.put(build_record(Finding(upload, answer), bundle, "request", NOW))


@pytest.fixture
def lost(reached: Stack) -> dict[str, str | None]:
    """Key and version of the uploads whose notification was lost, among others; the live lane is empty."""
    for key, answer in (("done.jpg", Rejection(RejectionCode.BLANK)), ("dead.jpg", TryAgainError("out_of_time", "."))):
        _record(reached, _upload(reached, key), answer, model="of last year")
    _record(reached, _upload(reached, "again.jpg"), Rejection(RejectionCode.BLANK))
    overwritten = _upload(reached, "again.jpg")
    _upload(reached, "archived.jpg", StorageClass="GLACIER")
    _upload(reached, "holiday/Thumbs.db")
    _upload(reached, "holiday/")
    missing = [overwritten, *(_upload(reached, f"clinic/é {number}.jpg") for number in range(5))]
    _record(reached, missing[2], Rejection(RejectionCode.BLANK), model="candidate", shadow=True)
    unfinished = {"image": {"S": missing[1].image}, "version": {"S": f"{missing[1].version}#1"}}
    reached.endpoint.client("dynamodb").put_item(TableName=reached.table, Item=unfinished)  # no status: no record
    reached.endpoint.client("sqs").purge_queue(QueueUrl=reached.queue_url)
    return {upload.key: upload.version for upload in missing}


def _reconcile(stack: Stack, tmp_path: Path, *more: str) -> int:
    return main(["reconcile", "--stack", stack.name, "--state", str(tmp_path / "state.json"), *more])


def _sent(stack: Stack) -> dict[str, str | None]:
    sqs, found = stack.endpoint.client("sqs"), {}
    asked = {"QueueUrl": stack.lanes["Bulk"].queue_url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0}
    while got := sqs.receive_message(**asked).get("Messages"):
        for message in (one for body in got for one in read_event(json.loads(body["Body"])).messages):
            found |= {upload.key: upload.version for upload in message.uploads}
    return found


def test_only_uploads_without_any_record_are_sent(reached, lost, tmp_path, capsys):
    assert _reconcile(reached, tmp_path, "--older-than", "0", "--dry-run") == 0
    assert capsys.readouterr().out.startswith(f"{len(lost)} objects of ")
    assert _sent(reached) == {}
    assert _reconcile(reached, tmp_path, "--older-than", "0") == 0
    assert _sent(reached) == lost
    assert not (tmp_path / "state.json").exists()


def test_an_upload_that_may_still_be_on_its_way_is_left_alone(reached, lost, tmp_path):
    assert _reconcile(reached, tmp_path) == 0
    assert _sent(reached) == {}
    assert _reconcile(reached, tmp_path, "--older-than", "0.5") == 0
    assert _sent(reached) == {}


def test_a_stack_that_records_system_files_gets_them_too(fresh_stack, monkeypatch, tmp_path):
    stack = fresh_stack(IgnoreSystemFiles="false")
    for name, value in stack.endpoint.environment().items():
        monkeypatch.setenv(name, value)
    _upload(stack, "holiday/Thumbs.db")
    assert _reconcile(stack, tmp_path, "--older-than", "0") == 0
    queue = stack.lanes["Bulk"].queue_url
    (sent,) = stack.endpoint.client("sqs").receive_message(QueueUrl=queue)["Messages"]
    assert "Thumbs.db" in sent["Body"]


def test_records_that_may_have_expired_are_not_missed(fresh_stack, monkeypatch, tmp_path, capsys):
    """The emulator's objects are all of this moment, so the comparison is moved into the next month."""
    stack = fresh_stack(RecordTtlDays="30")
    for name, value in stack.endpoint.environment().items():
        monkeypatch.setenv(name, value)
    _upload(stack, "a.jpg")
    original, asked = Comparison.of, []

    def in_a_month(now: datetime, grace: timedelta, ttl_days: int, models: Sequence[str]) -> Comparison:
        asked.append(ttl_days)
        return original(now + timedelta(days=30, minutes=1), grace, ttl_days, models)

    assert _reconcile(stack, tmp_path, "--older-than", "0", "--dry-run") == 0
    assert capsys.readouterr().out.startswith("1 objects of ")
    monkeypatch.setattr(Comparison, "of", in_a_month)
    assert _reconcile(stack, tmp_path, "--older-than", "0", "--dry-run") == 0
    assert capsys.readouterr().out.startswith("0 objects of ")
    assert asked == [30]


def test_a_run_sends_no_more_than_its_limit_and_the_next_one_goes_on(reached, lost, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(objects, "PAGE", 4)
    sent: dict[str, str | None] = {}
    arguments = ("--older-than", "0", "--limit", "2")
    codes = [_reconcile(reached, tmp_path, *arguments)]
    assert "2 messages were sent, and more are left" in capsys.readouterr().err
    while codes[-1] == 1 and len(codes) < 9:
        taken = _sent(reached)
        assert len(taken) <= 2
        for key, version in taken.items():  # as the worker would
            _record(reached, Upload(reached.bucket, key, version, None, None), Rejection(RejectionCode.BLANK), "2")
        sent |= taken
        codes.append(_reconcile(reached, tmp_path, *arguments))
    assert codes[-1] == 0
    assert sent | _sent(reached) == lost


def test_an_upload_whose_notification_was_lost_gets_its_record(local_stack, tmp_path):
    """From the lost notification to the worker's record."""
    deployed = find("dermbatch", Account(local=True))
    s3, key = local_stack.client("s3"), "lost/lesion.jpg"
    notified = s3.get_bucket_notification_configuration(Bucket=deployed.bucket)["QueueConfigurations"]
    s3.put_bucket_notification_configuration(Bucket=deployed.bucket, NotificationConfiguration={})
    s3.put_object(Bucket=deployed.bucket, Key=key, Body=b"no image")
    s3.put_bucket_notification_configuration(
        Bucket=deployed.bucket, NotificationConfiguration={"QueueConfigurations": notified}
    )
    arguments = ["reconcile", "--local", "--older-than", "0", "--state", str(tmp_path / "state.json")]
    assert main(arguments) == 0
    deadline = time.monotonic() + 60
    while not (found := list(deployed.predictions().history(f"{deployed.bucket}/{key}"))):
        assert time.monotonic() < deadline, "no record came"
        time.sleep(0.2)
    assert [record["status"] for record in found] == ["rejected"]
