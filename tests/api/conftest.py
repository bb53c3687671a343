from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from running import running

from api.app import create_app
from api.settings import Settings
from handler.configuration import Settings as WorkerSettings
from handler.worker import Worker
from infra.stack import Stack, deploy
from infra.worker_loop import function_environment, run_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

    from infra.embedded_aws import Endpoint


@pytest.fixture(scope="session")
def stack(endpoint: Endpoint) -> Stack:
    deployed = deploy(endpoint, name="test-api", parameters={"BatchSize": 10, "BatchWindowSeconds": 0})
    endpoint.client("sqs").purge_queue(QueueUrl=deployed.queue_url)  # S3's own test event
    return deployed


@pytest.fixture(scope="module")
def environment(stack: Stack, tiny_bundle: Path) -> Iterator[dict[str, str]]:
    """The environment of the stack's functions, also in this process while a module's tests run."""
    variables = function_environment(stack, {}) | {"MODEL_BUNDLE": str(tiny_bundle), "INFERENCE_THREADS": "2"}
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        yield variables


@pytest.fixture(scope="module")
def settings(environment: dict[str, str]) -> Settings:
    return Settings.from_environment(environment)


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the service with a store, as it runs on AWS: nobody is asked for a key here."""
    with running(create_app(settings)) as connected:
        yield connected


@pytest.fixture(scope="module")
def work(stack: Stack, environment: dict[str, str]) -> Callable[[], Any]:
    """Has the worker do what waits in the live queue."""
    worker = Worker.start(WorkerSettings.from_environment(environment))
    return lambda: run_worker(stack, worker.handle)
