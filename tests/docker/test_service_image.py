"""The service's image as it is built: it serves as nobody, on a read-only disk, and ends in order."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from sample_images import jpeg

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]

KEY = "a-key-of-at-least-sixteen"


@pytest.fixture(scope="module")
def service_image(docker_tier: Any) -> str:
    """What a plain `docker build` of its recipe makes: the last stage."""
    docker_tier.build("dermbatch-service:test", recipe="Dockerfile.api")
    return "dermbatch-service:test"


@pytest.fixture
def container(docker_tier: Any, service_image: str) -> Iterator[str]:
    limits = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--memory", "1769m"]
    limits += ["--security-opt", "no-new-privileges", "--env", f"DERMBATCH_KEY={KEY}"]
    started = docker_tier("run", "--detach", "--publish", "127.0.0.1::8000", *limits, service_image).stdout.strip()
    yield started
    docker_tier("rm", "--force", started)


def _ask(address: str, path: str, body: bytes | None = None, key: str | None = KEY) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"http://{address}{path}", body, headers)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 60
    while True:
        try:
            with direct.open(request, timeout=60) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            if error.code != 503:
                return error.code, json.loads(error.read())
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def test_it_classifies_as_nobody_on_a_read_only_disk_and_asks_for_the_key(docker_tier, container):
    address = docker_tier("port", container, "8000/tcp").stdout.split()[0]
    status, record = _ask(address, "/v1/classify", jpeg(1, (400, 300)))
    assert (status, record["object"]["format"]) == (200, "jpeg")
    assert _ask(address, "/v1/model", key=None)[0] == 401
    assert docker_tier("exec", container, "id", "-u").stdout.strip() == "1000"
    logs = docker_tier("logs", container)
    assert KEY not in logs.stdout + logs.stderr


def test_it_ends_in_order_when_it_is_stopped(docker_tier, container):
    address = docker_tier("port", container, "8000/tcp").stdout.split()[0]
    assert _ask(address, "/readyz")[0] == 200
    docker_tier("stop", "--time", "20", container)
    assert docker_tier("inspect", "--format", "{{.State.ExitCode}}", container).stdout.strip() == "0"


def test_nothing_in_it_installs_or_compiles(docker_tier, service_image):
    script = "for tool in cc gcc make pip pip3 easy_install uv; do command -v $tool; done; true"
    found = docker_tier("run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", service_image, "-c", script)
    assert found.stdout.split() == []
