"""The worker's image with `dermbatch work` as its entry: it polls as nobody, on a read-only disk, and ends in order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from sample_images import jpeg

from handler.store.table import PredictionsTable
from infra.embedded_aws import embedded_aws
from infra.stack import Stack, deploy

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]

BRIDGE = "172.17.0.1"  # this machine, as containers of Docker's default bridge reach it


@pytest.fixture(scope="module")
def work_image(docker_tier: Any) -> str:
    docker_tier.build("dermbatch-work:test", target="work")
    return "dermbatch-work:test"


@pytest.fixture(scope="module")
def stack(docker_tier: Any) -> Iterator[Stack]:
    with embedded_aws(BRIDGE) as endpoint:
        yield deploy(endpoint)


@pytest.fixture
def container(docker_tier: Any, work_image: str, stack: Stack) -> Iterator[str]:
    """As an orchestrator starts it: settings come from the stack that it names."""
    wanted = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    known = stack.endpoint.environment({})
    variables = [part for name in wanted for part in ("--env", f"{name}={known[name]}")]
    limits = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--memory", "1769m"]
    limits += ["--security-opt", "no-new-privileges"]
    command = [work_image, stack.queue_url, "--stack", stack.name]
    started = docker_tier("run", "--detach", *limits, *variables, *command).stdout.strip()
    yield started
    docker_tier("rm", "--force", started)


def test_uploads_get_their_records_and_a_stop_ends_it_in_order(docker_tier, container, stack):
    table = PredictionsTable(stack.endpoint.client("dynamodb"), stack.table)
    for number in range(3):
        stack.endpoint.client("s3").put_object(Bucket=stack.bucket, Key=f"{number}.jpg", Body=jpeg(number, (400, 300)))
    deadline = time.monotonic() + 120
    images = {f"{stack.bucket}/{number}.jpg" for number in range(3)}
    while {record["image"] for record in table.everything()} != images:
        assert time.monotonic() < deadline, docker_tier("logs", container, check=False).stderr[-2000:]
        time.sleep(0.5)
    assert {record["status"] for record in table.everything()} <= {"classified", "referred"}
    assert docker_tier("exec", container, "id", "-u").stdout.strip() == "1000"
    docker_tier("stop", "--time", "60", container)
    logs = docker_tier("logs", container).stderr
    assert docker_tier("inspect", "--format", "{{.State.ExitCode}}", container).stdout.strip() == "0", logs
    assert "The worker has ended in order, after " in logs


def test_nothing_in_it_installs_or_emulates(docker_tier, work_image):
    script = "for tool in cc gcc make pip pip3 easy_install uv; do command -v $tool; done; "
    script += "cd $LAMBDA_TASK_ROOT && ls -d ministack moto fastapi hypercorn setuptools tests training docs api; true"
    found = docker_tier("run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", work_image, "-c", script)
    assert found.stdout.split() == []
