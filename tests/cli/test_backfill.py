"""`dermbatch backfill`: the objects in the bucket go through the bulk lane, once, wherever it was interrupted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from cli.app import main
from cli.backfill import run
from handler import lanes
from handler.intake.events import read_event
from handler.store import objects

if TYPE_CHECKING:
    from pathlib import Path

    from infra.stack import Stack

pytestmark = pytest.mark.integration

UGLY = "clinic/é a+b %20 ?#&=/x.jpg"


@dataclass
class Bucket:
    """A stack with some objects in its bucket, whose live lane is empty again."""

    stack: Stack
    versions: dict[str, str]

    def bulk(self) -> list[dict[str, Any]]:
        """Takes all that is in the bulk lane."""
        sqs, queue, bodies = self.stack.endpoint.client("sqs"), self.stack.lanes["Bulk"].queue_url, []
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=0).get(
            "Messages"
        ):
            bodies += [json.loads(message["Body"]) for message in messages]
        return bodies

    def uploads(self) -> list[tuple[str, str | None]]:
        """Key and version of each message of the bulk lane, as the worker reads them."""
        found = [upload for body in self.bulk() for message in read_event(body).messages for upload in message.uploads]
        return sorted((upload.key, upload.version) for upload in found)


@pytest.fixture
def bucket(reached: Stack) -> Bucket:
    s3 = reached.endpoint.client("s3")
    s3.put_object(Bucket=reached.bucket, Key="2026/overwritten.jpg", Body=b"first")
    keys = ["2025/old.jpg", *(f"2026/{number:02}.jpg" for number in range(12)), "2026/overwritten.jpg", UGLY]
    versions = {key: s3.put_object(Bucket=reached.bucket, Key=key, Body=b"image")["VersionId"] for key in keys}
    s3.put_object(Bucket=reached.bucket, Key="2026/deleted.jpg", Body=b"gone")
    s3.delete_object(Bucket=reached.bucket, Key="2026/deleted.jpg")
    reached.endpoint.client("sqs").purge_queue(QueueUrl=reached.queue_url)
    return Bucket(reached, versions)


def _arguments(bucket: Bucket, tmp_path: Path, *more: str) -> list[str]:
    return ["backfill", "--stack", bucket.stack.name, "--state", str(tmp_path / "state.json"), *more]


def test_every_current_version_is_sent_once_into_the_bulk_lane_and_none_into_the_live_one(bucket, tmp_path):
    assert main(_arguments(bucket, tmp_path)) == 0
    assert bucket.uploads() == sorted(bucket.versions.items())
    live = bucket.stack.endpoint.client("sqs").receive_message(QueueUrl=bucket.stack.queue_url, WaitTimeSeconds=1)
    assert not [m for m in live.get("Messages", []) if "Backfill" in m["Body"]]
    assert not (tmp_path / "state.json").exists(), "a finished backfill leaves nothing to go on from"


def test_the_worker_reads_the_same_upload_as_from_s3s_own_event(bucket, tmp_path):
    s3, sqs = (bucket.stack.endpoint.client(service) for service in ("s3", "sqs"))
    s3.put_object(Bucket=bucket.stack.bucket, Key=UGLY, Body=b"another image")
    (notified,) = sqs.receive_message(QueueUrl=bucket.stack.queue_url, WaitTimeSeconds=10)["Messages"]
    (own,) = read_event(json.loads(notified["Body"])).messages
    assert main(_arguments(bucket, tmp_path, "--prefix", "clinic/")) == 0
    (sent,) = bucket.bulk()
    (ours,) = read_event(sent).messages
    assert ours.uploads == own.uploads


def test_a_dry_run_counts_and_sends_nothing(bucket, tmp_path, capsys):
    assert main(_arguments(bucket, tmp_path, "--prefix", "2026/", "--dry-run")) == 0
    assert capsys.readouterr().out.startswith("13 objects of ")
    assert bucket.bulk() == []
    assert not (tmp_path / "state.json").exists()


def test_a_dry_run_counts_what_is_left(bucket, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(objects, "PAGE", 4)

    def stop_after_the_first_page(sqs: Any, queue: str, bodies: list[str]) -> None:
        if (tmp_path / "state.json").exists():
            raise KeyboardInterrupt
        lanes.send(sqs, queue, bodies)

    monkeypatch.setattr(run, "send", stop_after_the_first_page)
    assert main(_arguments(bucket, tmp_path, "--restart")) == 130
    assert "The same command without --restart continues from " in capsys.readouterr().err
    sent = json.loads((tmp_path / "state.json").read_text())["sent"]
    assert main(_arguments(bucket, tmp_path, "--dry-run")) == 0
    assert f"{len(bucket.versions) - sent} objects of " in capsys.readouterr().out
    assert main(_arguments(bucket, tmp_path, "--dry-run", "--restart")) == 0
    assert f"{len(bucket.versions)} objects of " in capsys.readouterr().out
    assert (tmp_path / "state.json").exists(), "a dry run forgets nothing"


def test_archived_objects_are_skipped_and_counted(bucket, tmp_path, monkeypatch, capsys):
    s3 = bucket.stack.endpoint.client("s3")
    monkeypatch.setattr(objects, "PAGE", 4)
    for number, storage in enumerate(("GLACIER", "DEEP_ARCHIVE", "GLACIER_IR")):
        key = f"archive/{number}.jpg"
        put = s3.put_object(Bucket=bucket.stack.bucket, Key=key, Body=b"image", StorageClass=storage)
        if storage == "GLACIER_IR":  # is read at once, whatever its name
            bucket.versions[key] = put["VersionId"]
    told = "2 archived objects were skipped (GLACIER, DEEP_ARCHIVE). Each is classified once it is restored.\n"
    assert main(_arguments(bucket, tmp_path, "--dry-run")) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{len(bucket.versions)} objects of ")
    assert out.endswith(told)
    assert main(_arguments(bucket, tmp_path)) == 0
    assert capsys.readouterr().out.endswith(told)
    assert bucket.uploads() == sorted(bucket.versions.items())


def test_a_restored_copy_is_read():
    listed = {"Key": "a", "ETag": '"e"', "Size": 1, "LastModified": None, "IsLatest": True, "StorageClass": "GLACIER"}
    assert objects._current(listed).archived
    assert objects._current({**listed, "RestoreStatus": {"IsRestoreInProgress": True}}).archived
    restored = {"IsRestoreInProgress": False, "RestoreExpiryDate": "2026-12-01"}
    assert not objects._current({**listed, "RestoreStatus": restored}).archived


def test_a_dry_run_that_is_stopped_promises_nothing(bucket, tmp_path, monkeypatch, capsys):
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "pages", stop)
    assert main(_arguments(bucket, tmp_path, "--dry-run")) == 130
    assert capsys.readouterr().err == "\nbackfill: stopped.\n"


@pytest.mark.parametrize("state", ["folder", "no text", "below a file"])
def test_a_progress_file_that_cannot_be_one_is_one_sentence(state, bucket, tmp_path, capsys):
    file = tmp_path / "state.json"
    if state == "folder":
        file.mkdir()
    else:
        file.write_bytes(b"\xff\xfe")
    given = file / "state.json" if state == "below a file" else file
    assert main(["backfill", "--stack", bucket.stack.name, "--state", str(given)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("backfill: ")
    assert str(file) in error
    assert error.count("\n") == 1


def test_progress_that_cannot_be_kept_is_one_sentence(bucket, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "load", lambda _file, name, prefix, _question: run.Progress(name, prefix))
    (tmp_path / "file").touch()
    assert main(["backfill", "--stack", bucket.stack.name, "--state", str(tmp_path / "file" / "state.json")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"backfill: {tmp_path / 'file'}")
    assert error.count("\n") == 1


def test_it_goes_on_where_it_was_stopped(bucket, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(objects, "PAGE", 4)
    sent = 0

    def stop_in_the_third_page(sqs: Any, queue: str, bodies: list[str]) -> None:
        nonlocal sent
        if sent == 2:
            raise KeyboardInterrupt
        sent += 1
        lanes.send(sqs, queue, bodies)

    with monkeypatch.context() as patch:
        patch.setattr(run, "send", stop_in_the_third_page)
        assert main(_arguments(bucket, tmp_path)) == 130
    state = tmp_path / "state.json"
    assert state.stat().st_mode & 0o077 == 0, "it holds a key, which may name a patient"
    assert main(_arguments(bucket, tmp_path)) == 0
    assert "Continues after" in capsys.readouterr().out
    assert bucket.uploads() == sorted(bucket.versions.items())


def test_the_progress_of_another_backfill_is_not_taken_for_this_ones(bucket, tmp_path, capsys):
    (tmp_path / "state.json").write_text(
        '{"bucket": "x", "prefix": "", "place": {"key": "", "version": ""}, "sent": 3}'
    )
    assert main(_arguments(bucket, tmp_path)) == 1
    assert "belongs to another backfill" in capsys.readouterr().err
    assert main(_arguments(bucket, tmp_path, "--restart")) == 0
    assert len(bucket.uploads()) == len(bucket.versions)


def test_a_message_that_sqs_refuses_is_sent_again_alone(monkeypatch):
    monkeypatch.setattr(lanes.time, "sleep", lambda _: None)
    calls: list[list[str]] = []

    class Refusing:
        def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
            calls.append([entry["MessageBody"] for entry in Entries])
            first, *rest = Entries
            failed = [{"Id": first["Id"], "Code": "InternalError"}] if len(calls) < 3 else []
            taken = rest if failed else Entries
            return {"Successful": [{"Id": entry["Id"]} for entry in taken], "Failed": failed}

    lanes.send(Refusing(), "queue", ["a", "b", "c"])
    assert calls == [["a", "b", "c"], ["a"], ["a"]]


def test_what_sqs_refuses_to_the_end_is_said(monkeypatch):
    monkeypatch.setattr(lanes.time, "sleep", lambda _: None)

    class Refusing:
        def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
            return {"Failed": [{"Id": entry["Id"], "Code": "Throttled"} for entry in Entries]}

    with pytest.raises(lanes.SendingError, match="did not take 2 messages in 6 attempts: Throttled"):
        lanes.send(Refusing(), "queue", ["a", "b"])


def test_a_stack_that_is_not_there_is_one_sentence(bucket, tmp_path, capsys):
    assert main(["backfill", "--stack", "nowhere", "--state", str(tmp_path / "state.json")]) == 4
    error = capsys.readouterr().err
    assert error.startswith("backfill: The stack nowhere can't be described")
    assert error.count("\n") == 1


def test_a_backfill_pauses_by_itself_while_much_waits(bucket, tmp_path, monkeypatch, capsys):
    """Depths that no test can fill a queue to; the option's own test has a real one."""
    depths = iter([100_001, 100_000])
    monkeypatch.setattr(run, "waiting", lambda *_: next(depths))
    monkeypatch.setattr(run, "PAUSE", 0)
    assert main(_arguments(bucket, tmp_path)) == 0
    assert "Paused: 100,001 messages wait in the bulk lane, more than 100,000." in capsys.readouterr().err
    assert bucket.uploads() == sorted(bucket.versions.items())
