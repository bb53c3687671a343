"""`dermbatch serve --local` as a person uses it: start, upload, stop, start again; and a crash in between."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from sample_images import jpeg

from cli.app import main
from infra.embedded_aws import Endpoint

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


@contextlib.contextmanager
def serving(state: Path, bundle: Path, *more: str):
    """The process, and a client of its service that holds the printed key."""
    command = [sys.executable, "-m", "cli", "serve", "--local", "--state", str(state), "--port", "0", *more]
    environment = os.environ | {"MODEL_BUNDLE": str(bundle), "PYTHONPATH": str(ROOT)}
    with (state.parent / "err").open("w") as err:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=err, text=True, env=environment, cwd=state.parent
        )
    try:
        lines = [process.stdout.readline(), process.stdout.readline()]
        assert process.poll() is None, (state.parent / "err").read_text()
        address = re.match(r"(http://127\.0\.0\.1:\d+)/\?token=", lines[0])[1]
        key = lines[1].split()[-1]
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}) as client:
            _until(lambda: client.get("/readyz").status_code == 200)
            yield process, client
        if process.poll() is None:
            process.terminate()
            assert process.wait(60) == 0, (state.parent / "err").read_text()
    finally:
        process.kill()
        process.wait()


def _until(done, seconds=60):
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _upload(client: httpx.Client, content: bytes) -> str:
    place = client.post("/v1/uploads").json()
    client.post(place["url"], data=place["fields"], files={"file": content}).raise_for_status()
    return place["image"]


def _record(client: httpx.Client, image: str) -> dict | None:
    answer = client.get("/v1/prediction", params={"image": image})
    return answer.json() if answer.status_code == 200 else None


@pytest.mark.slow  # three starts, each with an emulator, a worker and a service
def test_everything_is_there_again_after_an_orderly_end_and_photographs_after_a_crash(tmp_path, tiny_bundle):
    state = tmp_path / "state"
    with serving(state, tiny_bundle) as (_, client):
        image = _upload(client, jpeg())
        _until(lambda: _record(client, image))
        before = _record(client, image)
    with serving(state, tiny_bundle) as (process, client):
        assert _record(client, image) == before
        told = json.loads((state / "local.json").read_text())
        environment = os.environ | {"DERMBATCH_STATE": str(state), "PYTHONPATH": str(ROOT)}
        dry = [sys.executable, "-m", "cli", "backfill", "--local", "--dry-run", "--state", str(tmp_path / "progress")]
        found = subprocess.run(dry, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
        assert "1 object" in found.stdout
        os.kill(_child(process.pid, "emulator_process"), signal.SIGKILL)
        assert process.wait(60) == 1
        assert "embedded AWS has ended" in (tmp_path / "err").read_text()
    assert told["url"].startswith("http://127.0.0.1:")
    assert not (state / "local.json").exists()
    with serving(state, tiny_bundle) as (_, client):
        assert "1 kept photograph will be classified again" in (tmp_path / "err").read_text()
        _until(lambda: _record(client, image))
        assert not (state / "recordless").exists()
        (again,), (first,) = _record(client, image)["records"], before["records"]
        assert again["label"] == first["label"]
        assert again["predicted_at"] > first["predicted_at"]


def _child(parent: int, name: str) -> int:
    command = ["ps", "-ww", "-eo", "pid=,ppid=,args="]  # -ww: whole lines, however narrow COLUMNS says that it is
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    (found,) = [int(pid) for pid, owner, command in rows if int(owner) == parent and name in command]
    return found


@pytest.mark.slow
def test_an_ephemeral_stack_leaves_no_photograph(tmp_path, tiny_bundle):
    state = tmp_path / "state"
    with serving(state, tiny_bundle, "--ephemeral") as (_, client):
        image = _upload(client, jpeg())
        _until(lambda: _record(client, image))
        told = json.loads((state / "local.json").read_text())
        s3 = Endpoint(told["url"], told["region"], told["pid"]).client("s3")
        bucket, _, key = image.partition("/")
        s3.delete_object(Bucket=bucket, Key=key)  # not through the service, which erases by itself
        _until(lambda: not _record(client, image))
    assert "in memory" in (tmp_path / "err").read_text()
    assert not [file for file in state.rglob("*") if file.is_file() and file.stat().st_size]


def test_options_that_do_not_fit_are_wrong_usage(capsys):
    assert main(["serve", "--ephemeral"]) == 2
    assert main(["serve", "--local", "--region", "eu-west-1"]) == 2
    assert main(["serve", "--local", "--port", "70000"]) == 2
    assert not capsys.readouterr().out


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path, capsys):
    (tmp_path / "other").touch()
    assert main(["serve", "--local", "--state", str(tmp_path), "--port", "0"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("serve: ")
    assert error.count("\n") == 1


def test_a_port_in_use_is_one_sentence(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--local", "--state", str(tmp_path / "state"), "--port", port]) == 1
    assert capsys.readouterr().err == f"serve: Nothing can listen on 127.0.0.1:{port}: Address already in use.\n"
    assert not (tmp_path / "state").exists()


def test_a_stack_that_is_not_there_is_one_sentence(endpoint, monkeypatch, capsys):
    for name, value in endpoint.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    assert main(["serve", "--stack", "nowhere", "--port", "0"]) == 4
    error = capsys.readouterr().err
    assert error.startswith("serve: The stack nowhere can't be described")
    assert error.count("\n") == 1
