"""The worker under Lambda's own runtime: the files of its image, awslambdaric, a real queue, bucket and table."""

from __future__ import annotations

import dataclasses
import json
import os
import struct
import time
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from runtime_emulator import FunctionError, Runtime, copy_what_the_image_holds, program, runtime
from sample_images import jpeg
from stalling_proxy import StallingProxy

from infra.stack import Stack, deploy
from infra.worker_loop import function_environment, keep_house, run_worker, waiting
from proof.soak.clouds import created

if TYPE_CHECKING:
    from pathlib import Path

    from infra.embedded_aws import Endpoint

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        program() is None,
        reason="needs the Runtime Interface Emulator: Linux on x86_64, and aws-sam-cli in .venv-sam",
    ),
]

Starts = Callable[..., Any]


@pytest.fixture(scope="module")
def stack(endpoint: Endpoint) -> Stack:
    deployed = deploy(endpoint, name="contract", parameters={"BatchSize": 10, "BatchWindowSeconds": 0})
    endpoint.client("sqs").purge_queue(QueueUrl=deployed.queue_url)  # S3's own test events
    return deployed


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_what_the_image_holds(tmp_path_factory.mktemp("image"))


@pytest.fixture
def start(stack: Stack, image_folder: Path, tiny_bundle: Path, tmp_path: Path) -> Starts:
    """The worker, as a context manager; `changes` are environment variables on top of the template's."""

    def started(*, timeout: int = 60, function: str = "app", **changes: str) -> Any:
        base = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        environment = function_environment(stack, base) | {"MODEL_BUNDLE": str(tiny_bundle)} | changes
        handler = f"handler.{function}.lambda_handler"
        return runtime(image_folder, tmp_path / "worker.log", environment, timeout=timeout, handler=handler)

    return started


def _upload(stack: Stack, **files: bytes) -> dict[str, str]:
    """Uploads `<name>.jpg` each and waits until all events are in the queue. Returns the keys' versions."""
    s3 = stack.endpoint.client("s3")
    held = waiting(stack.endpoint, stack.live)
    versions = {
        f"{name}.jpg": s3.put_object(Bucket=stack.bucket, Key=f"{name}.jpg", Body=body)["VersionId"]
        for name, body in files.items()
    }
    deadline = time.monotonic() + 10
    while waiting(stack.endpoint, stack.live) < held + len(files) and time.monotonic() < deadline:
        time.sleep(0.05)
    return versions


def _records(stack: Stack, key: str) -> list[dict[str, Any]]:
    return stack.endpoint.client("dynamodb").query(
        TableName=stack.table,
        KeyConditionExpression="image = :image",
        ExpressionAttributeValues={":image": {"S": f"{stack.bucket}/{key}"}},
    )["Items"]


def _status(stack: Stack, key: str) -> str:
    (record,) = _records(stack, key)
    return record["status"]["S"]


def _bomb() -> bytes:
    """A PNG of 200 bytes whose header promises 60,000 x 60,000 pixels: 10 GB decoded."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_cold_start_classifies_an_upload_and_a_warm_call_knows_it_again(stack: Stack, start: Starts):
    versions = _upload(stack, cold=jpeg(1))
    events: list[Any] = []

    with start() as worker:

        def keep(event: Any, context: object) -> Any:
            events.append(event)
            return worker.invoke(event, context)

        (invocation,) = run_worker(stack, keep)
        assert (invocation.error, invocation.failed) == (None, 0)
        assert worker.invoke(events[0]) == {"batchItemFailures": []}, "the same batch again, now to a warm worker"
    (record,) = _records(stack, "cold.jpg")
    assert record["version"]["S"].startswith(versions["cold.jpg"] + "#")
    assert record["status"]["S"] in {"classified", "referred"}
    log = worker.log.read_text()
    assert _emitted(log, "ColdStart") == 1
    assert "cold.jpg" not in log, "a key may name a patient"


def _emitted(log: str, metric: str) -> int:
    documents = [json.loads(line) for line in log.splitlines() if line.startswith("{") and metric in line]
    return sum(1 for document in documents if "_aws" in document and document.get(metric))


def test_a_poison_image_is_an_answer_and_its_neighbours_never_notice(stack: Stack, start: Starts):
    _upload(stack, before=jpeg(2), bomb=_bomb(), text=b"no image at all" * 20, empty=b"", after=jpeg(3))
    with start() as worker:
        invocations = run_worker(stack, worker.invoke)
    assert [invocation.error for invocation in invocations] == [None]
    assert {_status(stack, f"{name}.jpg") for name in ("bomb", "text", "empty")} == {"rejected"}
    assert {_status(stack, f"{name}.jpg") for name in ("before", "after")} <= {"classified", "referred"}
    assert waiting(stack.endpoint, stack.live) == 0


def test_a_message_that_is_no_upload_fails_alone_and_ends_as_a_dead_letter(stack: Stack, start: Starts):
    sqs = stack.endpoint.client("sqs")
    sqs.send_message(QueueUrl=stack.queue_url, MessageBody="neither JSON nor an upload")
    _upload(stack, beside=jpeg(4))
    with start() as worker:
        invocations = run_worker(stack, worker.invoke, retry_after=0)
    assert {invocation.error for invocation in invocations} == {None}
    assert _status(stack, "beside.jpg") in {"classified", "referred"}
    with start(function="housekeeping") as housekeeper:
        keep_house(stack, housekeeper.invoke, retry_after=0)
    letters = sqs.receive_message(QueueUrl=stack.dlq_url, WaitTimeSeconds=1).get("Messages", [])
    assert [letter["Body"] for letter in letters] == ["neither JSON nor an upload"]


def test_the_housekeeper_erases_and_records_what_was_given_up(stack: Stack, start: Starts):
    """From what the image holds, and through Lambda's own runtime client."""
    _upload(stack, gone=jpeg(8))
    with start() as worker:
        run_worker(stack, worker.invoke, retry_after=0)
    assert _status(stack, "gone.jpg") in {"classified", "referred"}
    stack.endpoint.client("s3").delete_object(Bucket=stack.bucket, Key="gone.jpg")
    _upload(stack, never=jpeg(9))
    run_worker(stack, lambda event, context: None)  # its own message goes; the next one stands for its end
    sqs, key = stack.endpoint.client("sqs"), "never.jpg"
    facts = stack.endpoint.client("s3").head_object(Bucket=stack.bucket, Key=key)
    body = created(stack.bucket, key, facts["ETag"].strip('"'), facts["VersionId"])
    sqs.send_message(QueueUrl=stack.live.spent_url, MessageBody=body)
    with start(function="housekeeping") as housekeeper:
        invocations = keep_house(stack, housekeeper.invoke, retry_after=0)
    assert {invocation.error for invocation in invocations} == {None}
    assert _records(stack, "gone.jpg") == []
    assert _status(stack, key) == "failed"
    (letter,) = sqs.receive_message(QueueUrl=stack.dlq_url, WaitTimeSeconds=1)["Messages"]
    assert letter["Body"] == body
    sqs.delete_message(QueueUrl=stack.dlq_url, ReceiptHandle=letter["ReceiptHandle"])


def test_a_batch_that_hangs_comes_back_whole_and_is_finished_once(stack: Stack, start: Starts):
    """AWS hangs: the worker hands all of it back in time (or is killed, on a slow machine), and it is finished once."""
    _upload(stack, stuck=jpeg(5), behind=jpeg(6))
    short = dataclasses.replace(stack, timeout=30)
    with StallingProxy(stack.endpoint.url) as proxy, start(timeout=4, AWS_ENDPOINT_URL=proxy.url) as worker:
        proxy.flowing.clear()
        (hung,) = run_worker(short, worker.invoke, retry_after=0, until=lambda: True)
        assert hung.error is None or "Task timed out after 4.00 seconds" in hung.error
        assert hung.failed == hung.messages == 2
        assert _records(stack, "stuck.jpg") == _records(stack, "behind.jpg") == []
    with start() as fresh:  # with the usual timeout: on a busy machine a start alone may use up the short one
        invocations = run_worker(stack, fresh.invoke, retry_after=0)
    assert (invocations[-1].error, invocations[-1].failed) == (None, 0)
    assert {_status(stack, f"{name}.jpg") for name in ("stuck", "behind")} <= {"classified", "referred"}
    assert waiting(stack.endpoint, stack.live) == 0


def test_a_wrong_setting_stops_the_worker_with_a_sentence_that_names_it(start: Starts):
    with start(MAX_IMAGE_BYTES="plenty") as worker:
        with pytest.raises(FunctionError):
            worker.invoke({"Records": []})
        _wait_for(worker, "MAX_IMAGE_BYTES must be")


def _wait_for(worker: Runtime, text: str) -> None:
    deadline = time.monotonic() + 5
    while text not in worker.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert text in worker.log.read_text()
