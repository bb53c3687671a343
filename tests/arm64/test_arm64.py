"""The worker on Arm, emulated: the same answers and pixels as here, and Lambda's contract. `make test-on-arm`.

Speed on Arm cannot be measured this way.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from contract.runtime_emulator import copy_what_the_image_holds, program, runtime
from hostile.corpus import ENCODERS, sound
from sample_images import jpeg

from benchmarks.processors import answers, compare
from demo.lesions import demo_images
from infra.stack import deploy
from infra.worker_loop import function_environment, run_worker

if TYPE_CHECKING:
    from infra.embedded_aws import Endpoint

pytestmark = [pytest.mark.arm64, pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "models" / "vgg16-skin"
IMAGES = 40


def test_40_rendered_images_get_the_same_statuses_and_labels(arm, tmp_path):
    files = []
    for name, content in demo_images(0, IMAGES):
        files.append(tmp_path / name.replace("/", "_"))
        files[-1].write_bytes(content)
    here = answers(BUNDLE, files, [], 1)
    there = answers(BUNDLE, files, arm.prefix, 1, python=arm.python)
    assert not there["vector_units"]["AVX2"], "this was no Arm"
    result = compare(here["answers"], there["answers"])
    assert result["same_label"] == result["same_status"] == result["images"] == len(files) == IMAGES
    assert result["largest_probability_change"] < 0.01


DECODE = """
import sys
from pathlib import Path
import numpy as np
from model_layer import decode
for file in sorted(Path(sys.argv[1]).iterdir()):
    np.save(Path(sys.argv[2]) / f"{file.name}.npy", decode(file.read_bytes(), 224).pixels)
"""


def test_every_format_is_decoded_to_the_same_pixels(arm, tmp_path):
    places = [tmp_path / name for name in ("files", "here", "there")]
    for place in places:
        place.mkdir()
    files, here, there = places
    for kind in ENCODERS:
        (files / f"image.{kind}").write_bytes(sound(kind))
    for command, place in (([sys.executable], here), ([*arm.prefix, arm.python], there)):
        subprocess.run([*command, "-c", DECODE, files, place], cwd=ROOT, check=True)
    assert len(list(there.iterdir())) == len(ENCODERS)
    for file in here.iterdir():
        difference = np.abs(np.load(file).astype(int) - np.load(there / file.name))
        assert difference.max() <= 1, f"{file.name}: {difference.max()}"


def test_a_batch_through_the_runtime_interface_emulator_becomes_records(arm, tmp_path, tiny_bundle, endpoint: Endpoint):
    if not program():
        pytest.skip("needs the Runtime Interface Emulator: Linux on x86_64, and aws-sam-cli in .venv-sam")
    stack = deploy(endpoint, name="arm64", parameters={"BatchSize": 10, "BatchWindowSeconds": 0})
    endpoint.client("sqs").purge_queue(QueueUrl=stack.queue_url)
    s3 = endpoint.client("s3")
    for number in range(3):
        s3.put_object(Bucket=stack.bucket, Key=f"{number}.jpg", Body=jpeg(number))
    s3.put_object(Bucket=stack.bucket, Key="broken.jpg", Body=b"no image")
    folder, log = copy_what_the_image_holds(tmp_path / "image"), tmp_path / "log"
    environment = function_environment(stack, {}) | {"MODEL_BUNDLE": str(tiny_bundle)}
    records: list[dict[str, Any]] = []

    def done() -> bool:
        records[:] = endpoint.client("dynamodb").scan(TableName=stack.table)["Items"]
        return len(records) == 4

    with runtime(folder, log, environment, timeout=110, python=[*arm.prefix, arm.python]) as worker:
        invocations = run_worker(stack, worker.invoke, until=done)
    assert [one.error for one in invocations] == [None] * len(invocations), log.read_text()[-2000:]
    assert "rejected" in {one["status"]["S"] for one in records}
    assert {one["status"]["S"] for one in records} <= {"classified", "referred", "rejected"}
    started = [json.loads(line) for line in log.read_text().splitlines() if "worker started" in line]
    assert [line["processor"] for line in started] == ["dotprod"]
