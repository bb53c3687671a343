"""Every start says which processor it got, in the log and as a dimension of a metric."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from handler.processor import processor
from infra.template import TEMPLATE

HASWELL = "processor\t: 0\nflags\t\t: fpu sse2 avx avx2 fma bmi2\n\nprocessor\t: 1\nflags\t\t: fpu\n"
ICE_LAKE = "flags\t\t: fpu avx2 avx512f avx512bw avx512_vnni\n"
ALDER_LAKE = "flags\t: avx2 avx_vnni\n"
GRAVITON_2 = "Features\t: fp asimd crc32 atomics asimddp ssbs\nCPU implementer\t: 0x41\n"
GRAVITON_3 = "Features\t: fp asimd asimddp sve i8mm bf16\n"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (HASWELL, "avx2"),
        (ICE_LAKE, "avx2+avx512+vnni"),
        (ALDER_LAKE, "avx2+vnni"),
        (GRAVITON_2, "dotprod"),
        (GRAVITON_3, "dotprod+i8mm"),
        ("flags\t: fpu sse2\n", "basic"),
        ("model name\t: something\n", "unknown"),
    ],
)
def test_a_processor_is_known_by_what_the_network_can_use(tmp_path, told, expected):
    (tmp_path / "cpuinfo").write_text(told)
    assert processor(tmp_path / "cpuinfo") == expected


def test_where_nothing_tells_it_is_unknown(tmp_path):
    assert processor(tmp_path / "missing") == "unknown"


def _start(bundle, code: str = "import handler.app", **environment: str) -> list[dict]:
    """What a worker says at its start: the JSON lines of a fresh process that imports it."""
    given = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "eu-central-1", "PREDICTIONS_TABLE": "predictions"}
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "POWERTOOLS_SERVICE_NAME": "clinic"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=TEMPLATE.parent,
        env={**given, **keys, "MODEL_BUNDLE": str(bundle), **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_a_start_is_one_line_of_the_log_and_one_metric_with_the_processor_as_dimension(tiny_bundle):
    lines = _start(tiny_bundle)
    (line,) = [line for line in lines if line.get("message") == "worker started"]
    assert line["processor"] == processor()
    (metric,) = [line for line in lines if "Started" in line]
    (described,) = metric["_aws"]["CloudWatchMetrics"]
    assert sorted(described["Dimensions"][0]) == ["processor", "service"]
    assert (metric["service"], metric["processor"], metric["Started"]) == ("clinic", processor(), [1.0])


def test_publishing_a_version_with_a_snapshot_is_no_start(tiny_bundle):
    assert _start(tiny_bundle, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start") == []


RESTORE = """
import handler.app as app
from snapshot_restore_py import get_after_restore
app.processor = lambda: "another"
for hook, *_ in get_after_restore():
    hook()
"""


def test_each_restore_is_a_start_and_names_the_processor_that_the_kernels_were_chosen_for(tiny_bundle):
    metric, line = _start(tiny_bundle, RESTORE, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")
    assert (metric["Started"], metric["processor"]) == ([1.0], "another")
    assert (line["message"], line["processor"], line["prepared_on"]) == ("worker started", "another", processor())
