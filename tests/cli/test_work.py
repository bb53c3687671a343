"""`dermbatch work`: the worker as a process, with real images and a real queue."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sample_images import jpeg

from cli import work
from cli.app import main
from cli.deployed import Account
from handler.store.table import PredictionsTable
from infra.embedded_aws import Endpoint
from infra.stack import lane_of
from infra.worker_loop import Poller, waiting

pytestmark = [pytest.mark.integration, pytest.mark.timeout(200)]
ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def working(stack, bundle: Path, *more: str):
    command = [sys.executable, "-m", "cli", "work", stack.queue_url, "--stack", stack.name, *more]
    environment = stack.endpoint.environment() | {"MODEL_BUNDLE": str(bundle)}
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            for line in process.stderr:
                if "polls" in line:
                    break
            yield process
        finally:
            process.kill()


def _until(done, seconds=60):
    deadline = time.monotonic() + seconds
    while not (result := done()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return result


def test_local_replaces_what_names_aws_and_keeps_the_persons_proxies(monkeypatch):
    monkeypatch.setattr(os, "environ", {"AWS_PROFILE": "clinic", "HTTPS_PROXY": "http://p", "NO_PROXY": "clinic.test"})
    monkeypatch.setattr(work, "standing_endpoint", lambda: Endpoint("http://127.0.0.1:9", "eu-central-1", 1))
    work.choose_account(Account(local=True))
    assert "AWS_PROFILE" not in os.environ
    assert os.environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"
    assert os.environ["HTTPS_PROXY"] == "http://p"
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "clinic.test,127.0.0.1"


def test_uploads_get_records_and_sigterm_ends_it_in_order(reached, tiny_bundle):
    s3 = reached.endpoint.client("s3")
    table = PredictionsTable(reached.endpoint.client("dynamodb"), reached.table)
    with working(reached, tiny_bundle) as process:
        for number in range(3):
            s3.put_object(Bucket=reached.bucket, Key=f"{number}.jpg", Body=jpeg(number))
        records = [_until(lambda n=n: [*table.history(f"{reached.bucket}/{n}.jpg")]) for n in range(3)]
        assert {record["status"] for (record,) in records} <= {"classified", "referred"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert "ended in order" in process.stderr.read()
    assert waiting(reached.endpoint, reached.live) == 0


def test_the_housekeeper_erases_what_is_deleted_and_serves_all_its_queues(reached, tiny_bundle):
    s3, sqs = reached.endpoint.client("s3"), reached.endpoint.client("sqs")
    table = PredictionsTable(reached.endpoint.client("dynamodb"), reached.table)
    with working(reached, tiny_bundle):
        for key in ("stays.jpg", "goes.jpg"):
            s3.put_object(Bucket=reached.bucket, Key=key, Body=jpeg(1))
            _until(lambda key=key: [*table.history(f"{reached.bucket}/{key}")])
    s3.delete_object(Bucket=reached.bucket, Key="goes.jpg")
    lanes = reached.housekeeper.lanes
    sqs.send_message(QueueUrl=lanes["BulkSpent"].queue_url, MessageBody="{}")
    queues = [lane.queue_url for lane in lanes.values()]
    command = [sys.executable, "-m", "cli", "work", "--housekeeping", "--stack", reached.name, *queues]
    environment = reached.endpoint.environment() | {"MODEL_BUNDLE": str(tiny_bundle)}
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            _until(lambda: not [*table.history(f"{reached.bucket}/goes.jpg")])
            letters = lanes["BulkSpent"].dlq_url
            _until(lambda: sqs.receive_message(QueueUrl=letters).get("Messages"))
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert [*table.history(f"{reached.bucket}/stays.jpg")]


def test_a_batch_that_takes_longer_than_the_visibility_timeout_is_nobody_elses(reached):
    sqs = reached.endpoint.client("sqs")
    sqs.set_queue_attributes(QueueUrl=reached.queue_url, Attributes={"VisibilityTimeout": "1"})
    sqs.send_message(QueueUrl=reached.queue_url, MessageBody="{}")
    poller = Poller(lane_of(sqs, reached.queue_url, "work", batch_size=10, window=0), sqs)
    others = []

    def slow(event, context):
        for _ in range(5):
            time.sleep(0.5)
            others.extend(poller.gather(0))
        return {"batchItemFailures": []}

    assert work._serve(poller, slow, work.Stop(5), 1, 60) == 1
    assert others == []
    assert waiting(reached.endpoint, reached.live) == 0


def test_after_sigterm_the_handler_has_only_the_grace_left_and_new_messages_go_back(reached):
    sqs = reached.endpoint.client("sqs")
    poller = Poller(lane_of(sqs, reached.queue_url, "work", batch_size=10, window=0), sqs)
    stop = work.Stop(5)
    left = []

    def handler(event, context):
        left.append(context.get_remaining_time_in_millis())
        stop.tell()
        left.append(context.get_remaining_time_in_millis())
        return {"batchItemFailures": []}

    sqs.send_message(QueueUrl=reached.queue_url, MessageBody="{}")
    assert work._poll([poller], handler, stop, 60) == 1
    assert left[0] > 50_000
    assert 3_000 < left[1] <= 5_000
    sqs.send_message(QueueUrl=reached.queue_url, MessageBody="{}")
    assert work._serve(poller, handler, stop, 1, 60) == 0
    assert len(poller.gather()) == 1, "it is visible at once"


def test_a_handler_that_fails_leaves_its_messages(reached):
    sqs = reached.endpoint.client("sqs")
    poller = Poller(lane_of(sqs, reached.queue_url, "work", batch_size=10, window=0), sqs)
    sqs.send_message(QueueUrl=reached.queue_url, MessageBody="{}")

    def broken(event, context):
        raise RuntimeError("out of sorts")

    assert work._serve(poller, broken, work.Stop(5), 1, 60) == 0
    assert waiting(reached.endpoint, reached.live) == 1


@pytest.mark.parametrize(
    ("queue", "told"),
    [
        ("http://127.0.0.1:1/000000000000/nothing", "work: "),
        ("no url at all", "work: "),
        ("dead letters", "without a dead-letter queue"),
    ],
)
def test_a_queue_that_cannot_be_used_is_one_sentence(reached, queue, told, tiny_bundle):
    url = reached.dlq_url if queue == "dead letters" else queue
    command = [sys.executable, "-m", "cli", "work", url, "--stack", reached.name]
    environment = reached.endpoint.environment() | {"MODEL_BUNDLE": str(tiny_bundle)}
    run = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 4
    assert run.stderr.startswith("work: ")
    assert told in run.stderr
    assert run.stderr.count("\n") == 1


def test_a_wrong_setting_is_one_sentence(reached, tiny_bundle):
    command = [sys.executable, "-m", "cli", "work", reached.queue_url, "--stack", reached.name]
    environment = reached.endpoint.environment() | {"MODEL_BUNDLE": "/nowhere"}
    run = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("work: MODEL_BUNDLE")
    assert run.stderr.count("\n") == 1


def test_wrong_usage(capsys):
    assert main(["work"]) == 2
    assert main(["work", "url", "--batch-size", "0"]) == 2
    assert os.environ.get("PREDICTIONS_TABLE") is None
