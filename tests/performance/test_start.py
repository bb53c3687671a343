"""What a cold start loads and does: lists, not seconds, so that it cannot rot unseen nor fail on a busy machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# Third-party packages that the worker's start imports, with what each is for. A further one costs every cold start.
IMPORTED = {
    "PIL": "decoding",
    "numpy": "pixels",
    "onnxruntime": "the network",
    "boto3": "S3 and DynamoDB",
    "certifi": "botocore, where it happens to be installed",
    "botocore": "boto3",
    "dateutil": "botocore",
    "jmespath": "botocore",
    "s3transfer": "boto3",
    "six": "dateutil",
    "urllib3": "botocore",
    "aws_lambda_powertools": "logs and metrics",
    "snapshot_restore_py": "SnapStart; part of Lambda's own image",
    "typing_extensions": "Powertools",
}


KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}


def child(code: str, bundle: Path, credentials: dict[str, str] = KEYS) -> Any:
    """The JSON that `code` prints in a fresh interpreter, which sees none of this machine's AWS settings."""
    environment = {
        "PATH": os.environ["PATH"],
        "PREDICTIONS_TABLE": "predictions",
        "MODEL_BUNDLE": str(bundle),
        "AWS_DEFAULT_REGION": "eu-central-1",
        **credentials,
    }
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_the_worker_imports_these_packages_and_no_others(tiny_bundle):
    code = """
import json, site, sys, sysconfig
import handler.app
installed = tuple({sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]})
print(json.dumps(sorted({
    name.partition(".")[0] for name, module in list(sys.modules.items())
    if (getattr(module, "__file__", None) or "").startswith(installed)
})))
"""
    found = {name for name in child(code, tiny_bundle) if not name.startswith("_")}
    assert found <= set(IMPORTED)
    assert {"PIL", "numpy", "onnxruntime", "boto3", "aws_lambda_powertools"} <= found


def test_what_few_uploads_need_is_imported_when_the_first_one_comes(tiny_bundle):
    code = "import json, sys, handler.app; print(json.dumps(sorted(sys.modules)))"
    modules = set(child(code, tiny_bundle))
    assert not {"pillow_heif", "pydicom", "aws_xray_sdk", "PIL.ImageFont", "PIL.ImageDraw"} & modules


def test_the_model_is_on_its_way_before_boto3_is_imported(tiny_bundle):
    code = """
import json, sys
seen = []
class Watch:
    def find_spec(self, name, *_):
        if name in ("boto3", "botocore"):
            loading = sys.modules["handler.app"].__dict__.get("loading") if "handler.app" in sys.modules else None
            seen.append(loading is not None)
sys.meta_path.insert(0, Watch())
import handler.app
print(json.dumps(seen))
"""
    seen = child(code, tiny_bundle)
    assert seen
    assert all(seen)


STATE = """
import json, os, random
from snapshot_restore_py import get_after_restore
import handler.app as app
import numpy as np
from model_layer import DecodedImage, ImageFacts
from botocore.client import BaseClient
import gc, warnings
warnings.simplefilter("ignore")
clients = [thing for thing in gc.get_objects() if issubclass(type(thing), BaseClient)]
links = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
sockets = [link for link in links if "socket:" in link]
picture = DecodedImage(np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3), ImageFacts("png", 32, 32))
classifier = app.loading.result()
random.seed(7)
expected = random.random()
random.seed(7)
for hook, *_ in get_after_restore():
    hook()
print(json.dumps({
    "settings": repr(app.settings),
    "model": [classifier.bundle.version, classifier.bundle.digest, len(classifier.bundle.network)],
    "answer": repr(classifier.predict([picture])),
    "clients": sorted(repr((c.meta.service_model.service_name, c.meta.config.retries, c.meta.config.read_timeout,
                            c.meta.config.max_pool_connections, c.meta.region_name)) for c in clients),
    "sockets": sockets,
    "drawn_anew": random.random() != expected,
}, sort_keys=True))
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to see open sockets")
def test_importing_twice_gives_equal_state_with_nothing_in_it_that_is_unique(tiny_bundle):
    """Nothing but the credentials of the next test differs in a snapshot; `random` is drawn anew after it."""
    first, second = child(STATE, tiny_bundle), child(STATE, tiny_bundle)
    assert first == second
    assert first["sockets"] == []
    assert first["drawn_anew"]
    assert len(first["clients"]) == 2, "one client for each service"
    assert first["model"][2] == 0, "the network file's bytes are let go once they are parsed"


@pytest.fixture
def credentials_endpoint():
    """What Lambda offers to a worker with SnapStart. Yields the variables that name it, and what it handed out."""
    handed_out: list[str] = []
    lifetimes = [60, 3600]  # seconds; so little is left of the first ones that a worker fetches others before it signs

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            assert self.headers["Authorization"] == "a-token"
            seconds = lifetimes[min(len(handed_out), 1)]
            handed_out.append(f"KEY{len(handed_out)}")
            expiry = datetime.now(UTC) + timedelta(seconds=seconds)
            given = {"AccessKeyId": handed_out[-1], "SecretAccessKey": "x", "Token": "x"}
            body = json.dumps({**given, "Expiration": expiry.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/2021-11-23/credentials"
        token = {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "a-token"}
        yield {"AWS_CONTAINER_CREDENTIALS_FULL_URI": address, **token}, handed_out
        server.shutdown()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to see open sockets")
def test_a_snapshot_holds_the_roles_credentials_and_one_connection_and_a_worker_fetches_its_own(
    tiny_bundle, credentials_endpoint
):
    """docs/security.md says so: botocore fetches credentials for the first client, and again before they expire."""
    variables, handed_out = credentials_endpoint
    code = """
import json, os
import handler.app as app
import boto3
links = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
in_snapshot = boto3.DEFAULT_SESSION._session.get_credentials()
print(json.dumps({"sockets": sum("socket:" in link for link in links), "frozen": in_snapshot._access_key,
                  "signs_with": in_snapshot.get_frozen_credentials().access_key}))
"""
    found = child(code, tiny_bundle, variables)
    assert found == {"sockets": 1, "frozen": "KEY0", "signs_with": "KEY1"}
    assert handed_out == ["KEY0", "KEY1"]


def test_the_network_has_run_once_before_the_first_upload(tiny_bundle):
    code = """
import json
import model_layer.network as network
runs = []
run = network.Network.run
network.Network.run = lambda self, pixels: (runs.append(len(pixels)), run(self, pixels))[1]
import handler.app
print(json.dumps(runs))
"""
    assert child(code, tiny_bundle) == [1]
