from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from tiny_bundle import write_tiny_bundle

from infra.embedded_aws import Endpoint, embedded_aws
from infra.stack import Stack, deploy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real, tiny bundle that runs in under a millisecond."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def endpoint() -> Iterator[Endpoint]:
    with embedded_aws() as running:
        yield running


@pytest.fixture
def fresh_stack(endpoint: Endpoint) -> Callable[..., Stack]:
    """Deploys template.yaml under a name of its own; unless told otherwise, a batch is what is there."""

    def create(**parameters: str | int) -> Stack:
        given = {"BatchSize": 10, "BatchWindowSeconds": 0} | parameters
        stack = deploy(endpoint, name=f"test-{next(_numbers)}", parameters=given)
        endpoint.client("sqs").purge_queue(QueueUrl=stack.queue_url)  # S3's own test event
        return stack

    return create
