"""The image as it is built: who it runs as, what it may write, what it holds, how large it is."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from sample_images import jpeg

from infra.embedded_aws import embedded_aws
from infra.stack import Stack, deploy

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(3600)]

BRIDGE = "172.17.0.1"  # this machine, as containers of Docker's default bridge reach it
OWN_MEGABYTES = 320  # what the worker adds to its base: dependencies, code, the bundle (measured 236 on 2026-11-23)


@pytest.fixture(scope="module")
def stack(docker_tier: Any) -> Iterator[Stack]:
    with embedded_aws(BRIDGE) as endpoint:
        yield deploy(endpoint, parameters={"BatchSize": 10, "BatchWindowSeconds": 0})


@pytest.fixture(scope="module")
def plain_image(docker_tier: Any, image: str) -> str:
    """What a plain `docker build` makes: the last stage."""
    docker_tier.build("dermbatch-worker:plain")
    return "dermbatch-worker:plain"


def _shell(docker_tier: Any, image: str, script: str) -> str:
    return docker_tier("run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", image, "-c", script).stdout


def test_a_plain_build_is_not_root(docker_tier, plain_image):
    assert _shell(docker_tier, plain_image, "id -u").strip() == "1000"


def test_nothing_in_it_installs_or_compiles(docker_tier, image):
    found = _shell(
        docker_tier,
        image,
        "for tool in cc gcc g++ c++ clang ld as make cmake pip pip3 easy_install uv conda; do command -v $tool; done; "
        'python3 -c \'import importlib.util as u; print(*filter(u.find_spec, ("pip", "ensurepip", "setuptools")))\'',
    )
    assert found.split() == []


def test_it_holds_the_worker_and_nothing_else_of_the_repository(docker_tier, image):
    ours = (
        "api pictures handler model_layer models training infra tests benchmarks docs requirements template.yaml .git"
    )
    listed = _shell(docker_tier, image, f"cd $LAMBDA_TASK_ROOT && ls -d {ours} 2>/dev/null; true")
    assert listed.split() == ["handler", "model_layer", "models"]
    frameworks = _shell(docker_tier, image, "cd $LAMBDA_TASK_ROOT && ls -d fastapi starlette pydantic uvicorn; true")
    assert frameworks.split() == [], "the service's framework is no part of the worker"


def test_every_file_of_it_can_be_read_but_not_changed_by_others(docker_tier, image):
    program = (
        "import os, pathlib as p, stat; [print(f) for f in p.Path(os.environ['LAMBDA_TASK_ROOT']).rglob('*') "
        "if not f.is_symlink() and (f.stat().st_mode & stat.S_IWOTH or not f.stat().st_mode & stat.S_IROTH)]"
    )
    assert _shell(docker_tier, image, f'python3 -c "{program}"') == ""


def test_its_size_is_told_and_stays_in_its_bounds(docker_tier, image, record_property, capsys):
    whole, base = (
        int(docker_tier("image", "inspect", "--format", "{{.Size}}", name).stdout) / 2**20
        for name in (image, docker_tier.base.name)
    )
    record_property("image_megabytes", round(whole))
    told = f"the worker's image: {whole:.0f} MB, of which the base is {base:.0f} MB ({docker_tier.base.name})"
    with capsys.disabled():
        sys.stderr.write(f"\n{told}\n")
    assert whole - base < OWN_MEGABYTES


def test_it_classifies_as_nobody_on_a_read_only_disk_without_any_capability(docker_tier, plain_image, stack):
    """As Lambda runs it: an unprivileged user, /tmp alone can be written, 1,769 MB."""
    stack.endpoint.client("s3").put_object(Bucket=stack.bucket, Key="read-only.jpg", Body=jpeg(1))
    environment = {**stack.environment, "AWS_DEFAULT_REGION": stack.endpoint.region, "AWS_ACCESS_KEY_ID": "test"}
    environment |= {"AWS_SECRET_ACCESS_KEY": "test", "AWS_LAMBDA_FUNCTION_NAME": "worker"}
    variables = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
    limits = ["--read-only", "--tmpfs", "/tmp", "--user", "65534:65534", "--cap-drop", "ALL", "--memory", "1769m"]
    limits += ["--security-opt", "no-new-privileges"]
    container = docker_tier(
        "run", "--detach", "--publish", "127.0.0.1::8080", *limits, *variables, plain_image
    ).stdout.strip()
    try:
        address = docker_tier("port", container, "8080/tcp").stdout.split()[0]
        answer = _invoke(address, _message_of(stack), docker_tier, container)
        assert answer == {"batchItemFailures": []}, docker_tier("logs", container).stdout
        changed = docker_tier("diff", container).stdout.split()
        assert not [path for path in changed if path.startswith("/") and not path.startswith(("/tmp", "/dev", "/etc"))]
    finally:
        docker_tier("rm", "--force", container)
    items = stack.endpoint.client("dynamodb").scan(TableName=stack.table)["Items"]
    (record,) = [item for item in items if "status" in item]
    assert record["image"]["S"] == f"{stack.bucket}/read-only.jpg"
    assert record["status"]["S"] in {"classified", "referred"}


def _message_of(stack: Stack) -> dict[str, Any]:
    sqs = stack.endpoint.client("sqs")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for message in sqs.receive_message(QueueUrl=stack.queue_url, WaitTimeSeconds=5).get("Messages", []):
            if "read-only.jpg" in message["Body"]:
                record = {"messageId": message["MessageId"], "body": message["Body"], "attributes": {}}
                return {"Records": [{**record, "eventSource": "aws:sqs", "eventSourceARN": stack.live.queue_arn}]}
    pytest.fail("the bucket told the queue nothing")


def _invoke(address: str, event: Any, docker_tier: Any, container: str) -> Any:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    url = f"http://{address}/2015-03-31/functions/function/invocations"
    deadline = time.monotonic() + 60
    while True:
        try:
            with direct.open(urllib.request.Request(url, json.dumps(event).encode()), timeout=120) as response:
                return json.loads(response.read())
        except (urllib.error.URLError, ConnectionError) as error:
            if time.monotonic() > deadline:
                pytest.fail(f"{error}: {docker_tier('logs', container, check=False).stderr[-2000:]}")
            time.sleep(0.2)
