"""`dermbatch demo` as a person runs it: the whole way, on the embedded AWS, with a real (tiny) bundle."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image
from sample_images import encoded, jpeg, picture, png

ROOT = Path(__file__).resolve().parent.parent.parent
NOTICE = "Research use only. Not a medical device."


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "cli", "demo", *map(str, arguments)]


def environment(bundle: Path) -> dict[str, str]:
    return os.environ | {"MODEL_BUNDLE": str(bundle), "INFERENCE_THREADS": "1"}


def demo(bundle: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=ROOT, env=environment(bundle), capture_output=True, text=True, timeout=110, check=False
    )


def records_of(out: Path) -> dict[str, dict]:
    records = [json.loads(line) for line in (out / "predictions.jsonl").read_text("utf-8").splitlines()]
    by_key = {record["object"]["key"]: record for record in records}
    assert len(by_key) == len(records)
    return by_key


@pytest.mark.integration
def test_every_file_of_a_persons_folder_ends_as_one_record(tiny_bundle, tmp_path):
    contents = {
        "a+b%20c.jpg": jpeg(1),
        "sub dir/täglich/x%2Fy.PNG": png(2),
        ".hidden.webp": encoded(picture(3), "WEBP"),
        "new\nline.bmp": encoded(picture(4), "BMP"),
        "皮膚 病変.tif": encoded(picture(5), "TIFF"),
        "animation.gif": encoded(picture(6), "GIF"),
        "~!@#$^&()'=;,.jpg": jpeg(7),
        "one.jpg": jpeg(8),
        "the same again.jpg": jpeg(8),
        "empty.jpg": b"",
        "letter.txt": b"Dear doctor",
        "cut.jpg": jpeg(9)[:700],
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    out = tmp_path / "results"

    out.mkdir()
    (out / "predictions.jsonl").write_text("of an earlier run")  # lies among the images, and is no image

    run = demo(tiny_bundle, "--images", tmp_path, "--out", out)
    assert run.returncode == 0, run.stderr
    records = records_of(out)
    assert set(records) == set(contents)

    rejected = {key for key, record in records.items() if record["status"] == "rejected"}
    assert rejected == {"empty.jpg", "letter.txt", "cut.jpg"}
    for key, record in records.items():
        assert record["schema"] == 1
        assert record["notice"] == NOTICE
        assert record["object"]["bytes"] == len(contents[key])
        assert record["image"] == f"{record['object']['bucket']}/{key}"
        assert (record["label"] is None) == (key in rejected)
    same = [records[key]["probabilities"] for key in ("one.jpg", "the same again.jpg")]
    assert same[0] == same[1]

    rows = [line for line in run.stdout.splitlines() if re.search(r"  (classified|referred|rejected)  ", line)]
    assert len(rows) == len(contents)
    assert r"new\nline.bmp" in run.stdout
    assert '{"' not in run.stdout  # the worker's log and metrics have their own file
    assert NOTICE in run.stdout
    assert Image.open(out / "contact-sheet.png").format == "PNG"
    log = [json.loads(line) for line in (out / "worker.log").read_text().splitlines()]
    assert sum(entry.get("message") == "image" for entry in log) == len(contents)


@pytest.mark.integration
def test_synthetic_images_come_with_the_word_that_their_labels_mean_nothing(tiny_bundle, tmp_path):
    run = demo(tiny_bundle, "--out", tmp_path / "new" / "folder", "--count", 8, "--seed", 2)
    assert run.returncode == 0, run.stderr
    assert "labels will mean nothing" in run.stdout
    records = records_of(tmp_path / "new" / "folder")
    assert len(records) == 8
    assert {records[name]["reasons"][0]["code"] for name in ("broken-off.jpg", "lens-cap.png")} == {
        "truncated",
        "blank",
    }


@pytest.mark.integration
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_it_stops_the_embedded_aws_too(tiny_bundle, tmp_path, sent, status):
    process = subprocess.Popen(
        command("--out", tmp_path, "--count", 12), cwd=ROOT, env=environment(tiny_bundle), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # A shell's background job inherits an ignored SIGINT; this one must not.
        preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        announced = next(line for line in process.stdout if "Uploading" in line)
        process.send_signal(sent)
        _, complaint = process.communicate(timeout=60)
    finally:
        watchdog.cancel()
        process.kill()
    assert process.returncode == status
    assert "Traceback" not in complaint
    port = int(re.search(r"127\.0\.0\.1:(\d+)", announced)[1])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_what_cannot_work_is_told_in_one_sentence_before_anything_starts(tiny_bundle, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    for arguments, sentence in [
        (("--images", tmp_path / "nowhere"), "There is no folder"),
        (("--images", file), "is a file"),
        (("--images", tmp_path / "empty"), "holds no files"),
        (("--out", file), "cannot be written"),
        (("--out", file / "below"), "cannot be written"),
    ]:
        run = demo(tiny_bundle, *arguments)
        assert run.returncode == 1
        assert re.fullmatch(rf"demo: .*{sentence}.*\.\n", run.stderr), run.stderr
        assert "Starting" not in run.stdout


@pytest.mark.integration
def test_a_worker_that_cannot_start_is_told_in_its_own_sentence(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "a.jpg").write_bytes(jpeg())
    run = demo(tmp_path / "bundle", "--images", tmp_path, "--out", tmp_path / "out")
    assert run.returncode == 1
    assert re.fullmatch(r"demo: .*manifest\.json.*\n", run.stderr), run.stderr
