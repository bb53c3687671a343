"""After an outage: a backlog of messages that were all handed back, and several workers, each a process of its own."""

from __future__ import annotations

import json

import pytest
from pictures import jpeg

from handler.events import read_event
from handler.table import PredictionsTable
from infra.soak.cloud_events import drain
from infra.soak.faults import POISON, SLOW_DOWN
from infra.worker_loop import waiting

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

UPLOADS = 500
WORKERS = 3
BATCH = 10


@pytest.mark.parametrize("poisons", [0, 1])
def test_it_is_done_at_full_width_and_poison_is_still_isolated(stack, workers, tmp_path, poisons):
    """At full width each upload costs one write. Tried alone it costs two: the first says that it was begun."""
    s3 = stack.endpoint.client("s3")
    keys = [f"{number}.jpg" for number in range(UPLOADS)]
    for number, key in enumerate(keys):
        s3.put_object(Bucket=stack.bucket, Key=key, Body=jpeg(number % 8))
    poison = set(keys[100 : 100 + poisons])
    plan = {key: [SLOW_DOWN] for key in keys} | {key: [POISON] for key in poison}
    crew = workers(plan, count=WORKERS)
    crew.start()
    crew.finish()
    table = PredictionsTable(stack.endpoint.client("dynamodb"), stack.table)
    found = {record["object"]["key"]: record["status"] for record in table.everything()}
    assert found.keys() == set(keys)
    assert {key for key, status in found.items() if status == "failed"} == poison
    letters = [read_event(json.loads(body)).messages[0].uploads for body in drain(stack, stack.dlq_url)]
    assert {upload.key for uploads in letters for upload in uploads} == poison
    assert waiting(stack.endpoint, stack.live) == 0
    assert crew.tally.retries >= UPLOADS - poisons, "each was handed back"
    assert len(crew.tally.workers) == WORKERS, "and each worker took its share"
    # A death brings its batch back to be tried one by one, and so does every repetition of it.
    suspects = crew.tally.deaths * BATCH
    assert (tmp_path / "writes").stat().st_size <= UPLOADS + 2 * suspects
