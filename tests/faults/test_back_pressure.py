"""A table that takes a twentieth of what is offered: the workers wait with it, and nothing is lost to the wait."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time

import pytest
from sample_images import jpeg

from handler import aws
from handler.configuration import Settings
from handler.store.table import PredictionsTable
from handler.worker import Worker
from infra.worker_loop import function_environment, run_worker, waiting
from model_layer import Classifier
from proof.soak.clouds import drain
from proof.soak.faults import dynamodb_error

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

UPLOADS = 40
SECONDS = 30.0
PER_SECOND = 1.0  # a twentieth of what this worker would write


class Throttle:
    """A table's capacity of so many writes a second, for so long; each refused write says so, as DynamoDB does."""

    def __init__(self):
        self.refused = self.taken = 0
        self._began = self._last = None
        self._tokens = 1.0
        self._lock = threading.Lock()

    def __call__(self, **_):
        with self._lock:
            now = time.monotonic()
            self._began = self._began or now
            if now - self._began > SECONDS:
                return None
            self._tokens = min(1.0, self._tokens + (now - (self._last or now)) * PER_SECOND)
            self._last = now
            if self._tokens >= 1:
                self._tokens -= 1
                self.taken += 1
                return None
            self.refused += 1
        return dynamodb_error("ProvisionedThroughputExceededException")


@pytest.fixture
def throttled(stack, tiny_bundle, monkeypatch):
    """Runs a worker in this process on a table that throttles; gives the throttle, the inferences and the dead."""

    def run(timeout: int, receives: int):
        sqs, queue = stack.endpoint.client("sqs"), stack.queue_url
        policy = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["RedrivePolicy"])["Attributes"]
        redrive = json.loads(policy["RedrivePolicy"]) | {"maxReceiveCount": receives}
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": json.dumps(redrive)})
        environment = {**function_environment(stack), "MODEL_BUNDLE": str(tiny_bundle), "INFERENCE_THREADS": "1"}
        environment["MAX_RECEIVES"] = str(receives)
        for name, value in environment.items():
            if name.startswith(("AWS_", "NO_PROXY", "no_proxy")):
                monkeypatch.setenv(name, value)
        throttle, inferred = Throttle(), []
        connect, predict = aws.client, Classifier.predict

        def throttled_client(service, settings):
            client = connect(service, settings)
            client.meta.events.register_first("before-send.dynamodb.PutItem", throttle)
            return client

        def counted(self, images):
            inferred.append(len(images))
            return predict(self, images)

        monkeypatch.setattr(aws, "client", throttled_client)
        worker = Worker.start(Settings.from_environment({**os.environ, **environment}))
        monkeypatch.setattr(Classifier, "predict", counted)
        s3 = stack.endpoint.client("s3")
        for number in range(UPLOADS):
            s3.put_object(Bucket=stack.bucket, Key=f"{number}.jpg", Body=jpeg(number))
        run_worker(dataclasses.replace(stack, timeout=timeout), worker.handle, retry_after=1)
        return throttle, sum(inferred), drain(stack, stack.live.spent_url)

    return run


@pytest.mark.parametrize(("timeout", "receives"), [(120, 2), (12, 5)])
def test_nothing_becomes_a_dead_letter_and_the_queue_drains(stack, throttled, timeout, receives):
    """Also where invocations are too short to wait for all of their writes, and hand the rest back."""
    throttle, inferred, dead = throttled(timeout, receives)
    assert throttle.refused > throttle.taken, "it did throttle"
    assert dead == []
    assert waiting(stack.endpoint, stack.live) == 0
    table = PredictionsTable(stack.endpoint.client("dynamodb"), stack.table)
    assert len(list(table.everything())) == UPLOADS
    assert inferred == UPLOADS, "what waits for the table is not inferred again"


def test_without_patience_there_would_be_dead_letters(stack, throttled, monkeypatch):
    monkeypatch.setattr(aws, "PASSING", frozenset())
    monkeypatch.setattr(aws, "ATTEMPTS", 1)
    _, _, dead = throttled(120, 2)
    assert dead
