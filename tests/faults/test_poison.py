"""An image that kills its worker, and what becomes of those beside it. The processes really die, by SIGKILL."""

from __future__ import annotations

import json
import time

import pytest
from sample_images import jpeg

from handler.intake.events import read_event
from handler.store.table import PredictionsTable
from infra.worker_loop import run_worker, waiting
from proof.soak.clouds import drain
from proof.soak.faults import KILL_FETCH, POISON

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]


def uploaded(stack, count: int) -> list[str]:
    keys = [f"{number}.jpg" for number in range(count)]
    for number, key in enumerate(keys):
        stack.endpoint.client("s3").put_object(Bucket=stack.bucket, Key=key, Body=jpeg(number))
    return keys


def states(stack) -> dict[str, str]:
    table = PredictionsTable(stack.endpoint.client("dynamodb"), stack.table)
    return {record["object"]["key"]: record["status"] for record in table.everything()}


def dead_letters(stack) -> set[str]:
    bodies = drain(stack, stack.live.dlq_url)
    return {upload.key for body in bodies for upload in read_event(json.loads(body)).messages[0].uploads}


@pytest.mark.parametrize("poisons", [1, 3])
def test_its_neighbours_are_classified_and_it_alone_becomes_a_dead_letter(stack, workers, poisons):
    """Three in one batch are as many as five receives bear: docs/decisions.md."""
    keys = uploaded(stack, 10)
    poison = set(keys[3 : 3 + poisons])
    crew = workers({key: [POISON] for key in poison})
    crew.start()
    crew.finish()
    found = states(stack)
    assert found.keys() == set(keys)
    assert {key for key, status in found.items() if status == "failed"} == poison
    assert {found[key] for key in keys if key not in poison} <= {"classified", "referred"}
    assert dead_letters(stack) == poison
    assert waiting(stack.endpoint, stack.live) == 0
    assert crew.tally.deaths >= poisons


def test_the_record_says_what_it_did(stack, workers):
    (key,) = uploaded(stack, 1)
    crew = workers({key: [POISON]})
    crew.start()
    crew.finish()
    (record,) = PredictionsTable(stack.endpoint.client("dynamodb"), stack.table).everything()
    assert record["status"] == "failed"
    assert record["reasons"][0]["code"] in {"unfinished", "worker_died"}
    assert crew.tally.deaths == stack.live.max_receives, "alone in its batch it harms nobody, and has every chance"


def test_after_a_kill_the_messages_stay_hidden_for_the_queues_own_time(stack, workers):
    """No message is shown earlier than the queue's visibility timeout says: the dead shorten nothing."""
    seconds = 6
    stack.endpoint.client("sqs").set_queue_attributes(
        QueueUrl=stack.queue_url, Attributes={"VisibilityTimeout": str(seconds)}
    )
    (key,) = uploaded(stack, 1)
    crew = workers({key: [KILL_FETCH]})
    (sandbox,) = crew._sandboxes
    times: list[float] = []

    def handler(event, context):
        times.append(time.monotonic())
        return sandbox(event, context)

    try:
        run_worker(stack, handler, until=lambda: len(times) == 2)
    finally:
        crew.close()
    assert times[1] - times[0] >= seconds - 1.5
    assert states(stack)[key] in {"classified", "referred"}
