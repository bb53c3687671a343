"""The embedded AWS: only on this machine, nothing of the person's own AWS, gone when its owner is gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest

from infra import embedded_aws as module
from infra.embedded_aws import EmulatorError, Endpoint, embedded_aws

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


def _running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat").read_text()  # in a container without init an orphan stays a zombie
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc").exists()  # macOS
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def _ended(pid: int, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while _running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _running(pid)


def _listens_on(pid: int) -> set[str]:
    """Addresses that the process listens on, from the kernel's own tables (which hold IPv4 in reversed hex)."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        target = str(descriptor.readlink())
        if target.startswith("socket:["):
            sockets.add(target[len("socket:[") : -1])
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and columns[9] in sockets:
                host, port = columns[1].split(":")
                addresses.add(
                    f"{socket.inet_ntoa(bytes.fromhex(host)[::-1]) if len(host) == 8 else host}:{int(port, 16)}"
                )
    return addresses


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="reads Linux's /proc")
def test_it_listens_on_this_machine_only_and_on_one_port(endpoint: Endpoint):
    assert _listens_on(endpoint.pid) == {endpoint.url.removeprefix("http://")}
    assert endpoint.url.startswith("http://127.0.0.1:")


def test_two_at_a_time_are_two_accounts(endpoint: Endpoint):
    with embedded_aws() as other:
        location = {"LocationConstraint": other.region}
        other.client("s3").create_bucket(Bucket="only-in-the-other", CreateBucketConfiguration=location)
        assert [bucket["Name"] for bucket in other.client("s3").list_buckets()["Buckets"]] == ["only-in-the-other"]
        names = [bucket["Name"] for bucket in endpoint.client("s3").list_buckets()["Buckets"]]
    assert "only-in-the-other" not in names


def test_it_ends_with_the_block_also_when_that_fails():
    with pytest.raises(KeyboardInterrupt), embedded_aws() as running:
        raise KeyboardInterrupt
    assert _ended(running.pid)


def test_it_ends_when_its_owner_is_killed():
    program = "from infra.embedded_aws import embedded_aws\nwith embedded_aws() as e: print(e.pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        assert _running(pid)
        owner.send_signal(signal.SIGKILL)
    assert _ended(pid)


def test_the_persons_own_aws_setup_is_not_used(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch):
    """A profile that is not there, another endpoint for S3, and a proxy: each would break or divert the calls."""
    monkeypatch.setenv("AWS_PROFILE", "clinic")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with embedded_aws() as running:
        assert running.client("s3").list_buckets()["Buckets"] == []
    environment = endpoint.environment()
    for name in set(os.environ) - set(environment):
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.session.Session().client("s3")
    assert client.meta.endpoint_url == endpoint.url
    client.list_buckets()
    assert "AKIAREAL" not in environment.values()


def test_a_failed_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no module named ministack >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(module.sys, "executable", str(broken))
    with pytest.raises(EmulatorError, match=r"ended at start \(exit 3\).*no module named ministack"), embedded_aws():
        pass
