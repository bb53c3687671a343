"""Fixtures that all rooms share, how tests are spread over processes, and a bound on the time of unmarked tests."""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING

import pytest
from tiny_bundle import write_tiny_bundle

from infra.embedded_aws import Endpoint, embedded_aws
from infra.stack import Stack, deploy

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

_numbers = itertools.count(1)

MEMORY_OF_A_PROCESS = 2 * 2**30  # bytes: TensorFlow or a large image, with an emulator beside it
WAITING = 3.0
"""How many times longer by the clock than in processor time a test may take; more where processes queue for cores."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--unmarked-seconds",
        type=float,
        default=0,
        metavar="N",
        help="fail tests without the marker `slow` that take more than N seconds of processor time,"
        f" or {WAITING:.0f} times as many by the clock, more on a busy machine (default: no bound)",
    )


def pytest_xdist_auto_num_workers() -> int:
    """Processes of `-n auto`: one for each core, as far as the memory reaches."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(_cores(), memory // MEMORY_OF_A_PROCESS))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first: a process that is handed a long file at the end keeps the others waiting."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fails a test that passes, but takes longer than `--unmarked-seconds` and is not marked `slow`."""
    bound = item.config.getoption("--unmarked-seconds")
    clock, processor = time.monotonic(), _processor_seconds()
    yield
    clock, processor = time.monotonic() - clock, _processor_seconds() - processor
    allowed = WAITING * bound * max(1.0, os.getloadavg()[0] / _cores())
    if bound and not item.get_closest_marker("slow") and (processor > bound or clock > allowed):
        pytest.fail(
            f"It passed, but took {processor:.1f} s of processor time and {clock:.1f} s by the clock;"
            f" {bound:.1f} and {allowed:.1f} are allowed. Make it cheaper, or mark it slow.",
            pytrace=False,
        )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor_seconds() -> float:
    """Of this process and of those that it has started and seen end."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


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
        for queue in (stack.queue_url, stack.environment["REMOVALS_QUEUE_URL"]):
            endpoint.client("sqs").purge_queue(QueueUrl=queue)  # S3's own test events
        return stack

    return create
