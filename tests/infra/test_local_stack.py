"""The local stack's state: there again after an orderly end, made anew around the photographs after a crash."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.local_stack import kept_stack
from infra.state_folder import FolderError, taken

ROOT = Path(__file__).resolve().parents[2]
ITEM = {"image": {"S": "b/k"}, "version": {"S": "v#m"}, "status": {"S": "failed"}}


def _versions(stack):
    listed = stack.endpoint.client("s3").list_object_versions(Bucket=stack.bucket).get("Versions", [])
    return {(version["Key"], version["VersionId"]) for version in listed}


def _items(stack):
    return stack.endpoint.client("dynamodb").scan(TableName=stack.table)["Items"]


@pytest.mark.integration
def test_objects_records_and_messages_outlive_an_orderly_end_and_objects_a_crash(tmp_path):
    path = tmp_path / "state"
    with taken(path) as folder, kept_stack(folder) as stack:
        assert not folder.recordless.exists()
        s3 = stack.endpoint.client("s3")
        for body in (b"one", b"two"):
            s3.put_object(Bucket=stack.bucket, Key="a b/é.jpg", Body=body)
        uploaded = _versions(stack)
        stack.endpoint.client("dynamodb").put_item(TableName=stack.table, Item=ITEM)
        stack.endpoint.client("sqs").send_message(QueueUrl=stack.lanes["Bulk"].queue_url, MessageBody="waits")
        assert not folder.ended_in_order(), "a crash from here on must not bring back an older state"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700

    with taken(path) as folder, kept_stack(folder) as stack:
        assert not folder.recordless.exists()
        assert _versions(stack) == uploaded
        assert _items(stack) == [ITEM]
        received = stack.endpoint.client("sqs").receive_message(QueueUrl=stack.lanes["Bulk"].queue_url)
        assert [message["Body"] for message in received["Messages"]] == ["waits"]
        os.kill(stack.endpoint.pid, signal.SIGKILL)

    with taken(path) as folder:
        with kept_stack(folder) as stack:
            assert folder.recordless.exists()
            assert _versions(stack) == uploaded
            assert _items(stack) == []
            assert stack.environment["AWS_ENDPOINT_URL"] == stack.endpoint.url
        assert folder.recordless.exists(), "until somebody has sent the photographs again"


def test_two_on_one_folder_is_one_sentence(tmp_path):
    with taken(tmp_path / "state"), pytest.raises(FolderError, match="is in use by another"), taken(tmp_path / "state"):
        pass
    with taken(tmp_path / "state"):
        pass


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    tmp_path.chmod(0o755)
    with pytest.raises(FolderError, match="holds other files"), taken(tmp_path):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_folder_below_a_file_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match="Not a directory"), taken(tmp_path / "file" / "state"):
        pass


@pytest.mark.integration
def test_an_owner_that_is_killed_leaves_a_state_in_order_and_the_next_one_waits_for_it(tmp_path):
    program = (
        "import sys; from pathlib import Path; from infra.state_folder import taken\n"
        "from infra.local_stack import kept_stack\n"
        "with taken(Path(sys.argv[1])) as folder, kept_stack(folder) as stack:\n"
        "    stack.endpoint.client('s3').put_object(Bucket=stack.bucket, Key='k', Body=b'x')\n"
        "    print('up', flush=True); input()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "state")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "up\n"
        owner.kill()
    began = time.monotonic()
    with taken(tmp_path / "state") as folder:
        assert folder.ended_in_order(), f"after {time.monotonic() - began:.1f} s"
