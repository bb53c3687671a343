"""A worker that is short of memory does not take it for the image's fault: the image comes again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, resource, sys
from hostile.corpus import ENCODERS
from model_layer.decoding import decode
from model_layer.rejections import ImageRejectedError
from pictures import picture

kind = sys.argv[1]
data = ENCODERS[kind](picture(1, (2000, 1500)))
decode(data, 224)  # whatever is imported or cached at the first image is there
hoard = []


def leave(kilobytes):
    # Takes all memory that can be had, and gives so much of it back.
    with open("/proc/self/statm") as statm:
        now = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**24, resource.RLIM_INFINITY))
    size = 2**16
    while size >= 2**9:
        try:
            hoard.append(bytearray(size))
        except MemoryError:
            size //= 2
    given = 0
    while given < kilobytes * 1024:
        given += len(hoard.pop())


found = {}
for kilobytes in (0, 64, 512, 2048, 6144, 12288):
    answer = "not reached"
    leave(kilobytes)
    try:
        decode(data, 224)
        answer = "decoded"
    except MemoryError:
        answer = "short of memory"
    except ImageRejectedError as error:
        answer = error.code
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        hoard.clear()
    found[kilobytes] = answer
decode(data, 224)
print(json.dumps(found))
"""


@pytest.mark.parametrize("kind", ["jpg", "progressive.jpg", "png", "webp", "gif", "bmp", "lzw.tif", "heic"])
def test_no_sound_image_is_rejected(kind):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert set(found.values()) <= {"decoded", "short of memory"}
    assert "short of memory" in found.values(), "otherwise nothing was tried"
