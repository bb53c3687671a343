"""An AWS for one machine, without an account: S3, SQS, DynamoDB and CloudFormation on 127.0.0.1, by ministack.

    with embedded_aws() as endpoint:
        endpoint.client("s3").list_buckets()

Your own AWS set-up (profiles, keys, endpoints, proxies) is never read, and nothing can reach the real AWS.
"""

import contextlib
import functools
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config

from model_layer.errors import UserError

REGION = "eu-central-1"
LOCAL = "127.0.0.1"
START_SECONDS = 60.0  # usually 2; a busy machine needs far longer to import the emulator
STOP_SECONDS = 5.0
SAVE_SECONDS = 300.0  # for an emulator that writes its state at the end: a table of a million records takes minutes

# Variables that the emulator inherits. It reads dozens of others (state folders, init scripts, listening addresses,
# Docker), and a clean start needs none of them.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
_SERVICES = "s3,sqs,dynamodb,cloudformation,iam,sts,lambda,logs,kms,sns,monitoring,secretsmanager,dynamodbstreams,ecr"


class EmulatorError(UserError):
    """The embedded AWS did not start. The message ends with the emulator's last lines."""


@dataclass(frozen=True, slots=True)
class State:
    """Where an embedded AWS keeps what it holds: objects at once, everything else when it ends in order."""

    objects: Path
    everything_else: Path
    lock: int
    """A file descriptor that the emulator inherits, so that a lock on it lasts until the emulator has ended."""

    @property
    def in_order(self) -> Path:
        """A file that the emulator writes once everything is saved. Without it, the folder must not be loaded."""
        return self.everything_else / "ended-in-order"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the embedded AWS listens: `url` is `http://127.0.0.1:<port>`, and `pid` its process."""

    url: str
    region: str
    pid: int

    def client(self, service: str) -> Any:
        """A boto3 client for this service of the embedded AWS: created once, shared, thread-safe."""
        return _client(self.url, self.region, service)

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """`base` (default: this process's environment), with this endpoint's AWS settings instead of its own.

        A program with this environment reaches the embedded AWS and cannot reach another.
        """
        inherited = os.environ if base is None else base
        kept = {name: value for name, value in inherited.items() if not name.upper().startswith("AWS_")}
        unproxied = kept.get("NO_PROXY", kept.get("no_proxy", ""))
        bypass = ",".join(filter(None, (unproxied, urlsplit(self.url).hostname)))
        return kept | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",  # nosec B105 - the emulator takes any
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": bypass,
            "no_proxy": bypass,
        }


@functools.cache
def _client(url: str, region: str, service: str) -> Any:
    # These session variables stop boto3 from looking up a profile or configuration file.
    core = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    session: Any = boto3.session.Session(
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 # nosec B106 - the emulator takes any
        region_name=region,
        botocore_session=core,
    )
    return session.client(
        service,
        endpoint_url=url,
        config=Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": 3},
            proxies={},
            max_pool_connections=32,
        ),
    )


@contextlib.contextmanager
def embedded_aws(
    host: str = LOCAL, docker: Mapping[str, str] | None = None, state: State | None = None
) -> Iterator[Endpoint]:
    """Start an AWS on a free port of 127.0.0.1, and stop it at the end, whatever happens.

    It is empty, unless `state` holds what another one has saved. Another `host` is for containers, which reach this
    machine by the address of their bridge (172.17.0.1 in Docker).
    `docker` holds the variables that lead to an engine (`DOCKER_HOST`); with it, functions run as their images. Raises
    EmulatorError if it does not answer within START_SECONDS.
    """
    with (
        tempfile.TemporaryDirectory(prefix="dermbatch-aws-", ignore_cleanup_errors=True) as scratch,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener,
    ):
        try:
            listener.bind((host, 0))
        except OSError as error:
            raise EmulatorError(f"{host}: {error.strerror}.") from error
        port = listener.getsockname()[1]
        process = _start(listener, Path(scratch), docker, state)
        try:
            endpoint = Endpoint(url=f"http://{host}:{port}", region=REGION, pid=process.pid)
            listener.close()  # only the child holds it now, so connections are refused if it dies
            _wait_until_healthy(endpoint, process, Path(scratch))
            yield endpoint
        finally:
            _stop(process, SAVE_SECONDS if state else STOP_SECONDS)


def _start(
    listener: socket.socket, scratch: Path, docker: Mapping[str, str] | None, state: State | None
) -> subprocess.Popen[bytes]:
    host, port = listener.getsockname()
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ} | {
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": host,
        "MINISTACK_HOST": host,
        "MINISTACK_REGION": REGION,
        "SERVICES": _SERVICES,
        "LOG_LEVEL": "WARNING",
        # Everything stays in the process's memory, pictures too: nothing is left on the disk.
        "S3_PERSIST": "0",
        "PERSIST_STATE": "0",
        # These would open further ports.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }
    if state is not None:
        environment |= {
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(state.objects),
            "PERSIST_STATE": "1",
            "STATE_DIR": str(state.everything_else),
        }
    if docker is not None:
        environment |= {
            **docker,
            "LAMBDA_EXECUTOR": "docker",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",  # what the functions are told
            "LAMBDA_ACCOUNT_CONCURRENCY": "2",  # containers at a time: each loads the model
        }
    program = Path(__file__).with_name("emulator_process.py")
    arguments = [str(program), str(listener.fileno()), str(scratch), str(state.in_order if state else "")]
    with _log_file(scratch).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-P", *arguments],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=scratch,
            pass_fds=[listener.fileno(), *([state.lock] if state else [])],
            start_new_session=True,  # Ctrl-C in the terminal is for us; the emulator stops when we are done
        )


def _log_file(scratch: Path) -> Path:
    return scratch / "emulator.log"


def _wait_until_healthy(endpoint: Endpoint, process: subprocess.Popen[bytes], scratch: Path) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EmulatorError(f"The embedded AWS ended at start (exit {process.returncode}). {_last_lines(scratch)}")
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            direct.open(f"{endpoint.url}/_ministack/health", timeout=5).close()
            return
        time.sleep(0.05)
    raise EmulatorError(f"The embedded AWS did not answer within {START_SECONDS:.0f} s. {_last_lines(scratch)}")


def _last_lines(scratch: Path) -> str:
    log = _log_file(scratch)
    lines = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
    return "Its last lines: " + " | ".join(lines) if lines else "It wrote nothing."


def _stop(process: subprocess.Popen[bytes], seconds: float) -> None:
    if process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
