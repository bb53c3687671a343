"""After an outage: a backlog of messages that were all handed back, and several workers, each a process of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from sample_images import jpeg

from handler.intake.events import read_event
from handler.store.table import PredictionsTable
from infra.worker_loop import waiting
from proof.soak.clouds import drain
from proof.soak.faults import POISON, SLOW_DOWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.stack import Stack
    from proof.soak.workers import Workers

# One emulator: moto answers three workers one after the other, which takes many minutes.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.parametrize("stack", ["ministack"], indirect=True),
]

UPLOADS = 500
WORKERS = 3


def test_it_is_done_at_full_width(stack, workers, tmp_path):
    """At full width each upload costs one write. Tried alone it costs two: the first says that it was begun."""
    crew = _done_by_three(stack, workers, set(), VISIBILITY_TIMEOUT="780")
    assert crew.tally.retries == UPLOADS, "each was handed back once"
    assert len(crew.tally.workers) == WORKERS, "and each worker took its share"
    assert (tmp_path / "writes").stat().st_size <= UPLOADS * 1.02, "a slow emulator has a write repeated"


def test_poison_in_it_is_still_isolated(stack, workers):
    crew = _done_by_three(stack, workers, {"100.jpg"})
    assert crew.tally.deaths >= 2


def _done_by_three(stack: Stack, workers: Callable[..., Workers], poison: set[str], **settings: str) -> Workers:
    """All is answered but `poison`, which becomes a dead letter with its record."""
    s3 = stack.endpoint.client("s3")
    keys = [f"{number}.jpg" for number in range(UPLOADS)]
    for number, key in enumerate(keys):
        s3.put_object(Bucket=stack.bucket, Key=key, Body=jpeg(number % 8))
    plan = {key: [SLOW_DOWN] for key in keys} | {key: [POISON] for key in poison}
    crew = workers(plan, count=WORKERS, **settings)
    crew.start()
    crew.finish()
    table = PredictionsTable(stack.endpoint.client("dynamodb"), stack.table)
    found = {record["object"]["key"]: record["status"] for record in table.everything()}
    assert found.keys() == set(keys)
    assert {key for key, status in found.items() if status == "failed"} == poison
    letters = [read_event(json.loads(body)).messages[0].uploads for body in drain(stack, stack.dlq_url)]
    assert {upload.key for uploads in letters for upload in uploads} == poison
    assert waiting(stack.endpoint, stack.live) == 0
    return crew
