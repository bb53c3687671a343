"""What a cold start loads and does: lists, not seconds, so that it cannot rot unseen nor fail on a busy machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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


def child(code: str, bundle: Path) -> Any:
    """The JSON that `code` prints in a fresh interpreter, which sees none of this machine's AWS settings."""
    environment = {
        "PATH": os.environ["PATH"],
        "PREDICTIONS_TABLE": "predictions",
        "MODEL_BUNDLE": str(bundle),
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
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
    """What a snapshot freezes: the same from import to import, no connection in it; `random` is drawn anew after."""
    first, second = child(STATE, tiny_bundle), child(STATE, tiny_bundle)
    assert first == second
    assert first["sockets"] == []
    assert first["drawn_anew"]
    assert len(first["clients"]) == 2, "one client for each service"
    assert first["model"][2] == 0, "the network file's bytes are let go once they are parsed"


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
