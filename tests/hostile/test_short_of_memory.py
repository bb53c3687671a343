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
from model_layer import ImageRejectedError, decode
from sample_images import picture

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


LARGE = """
import resource, sys
from model_layer import ImageRejectedError, decode
from sample_images import encoded, picture

kind, width, height, megabytes = sys.argv[1], *map(int, sys.argv[2:])
options = {"WEBP": {"lossless": True, "quality": 0, "method": 0}, "PNG": {"compress_level": 1}}[kind]
decode(encoded(picture(1, (200, 150)), kind, **options), 224)  # whatever is imported or cached at the first image
data = encoded(picture(1, (200, 150)).resize((width, height), 0), kind, **options)
with open("/proc/self/statm") as statm:
    now = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + megabytes * 2**20, resource.RLIM_INFINITY))
try:
    decode(data, 224)
    print("decoded")
except MemoryError:
    print("short of memory")
except ImageRejectedError as error:
    print(error.code)
"""


def run(program: str, *arguments: str) -> str:
    """The last line that `program` prints, in a process of its own."""
    child = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    return child.stdout.splitlines()[-1]


@pytest.mark.parametrize("kind", ["jpg", "progressive.jpg", "png", "webp", "gif", "bmp", "lzw.tif", "heic"])
def test_no_sound_image_is_rejected(kind):
    found = json.loads(run(PROGRAM, kind))
    assert set(found.values()) <= {"decoded", "short of memory"}
    assert "short of memory" in found.values(), "otherwise nothing was tried"


@pytest.mark.parametrize(
    ("kind", "width", "height", "megabytes"),
    [
        ("PNG", 5000, 4000, 40),  # under the limit of pixels
        ("WEBP", 6000, 5000, 100),  # its two canvases are reserved before its size can be asked for
        ("WEBP", 7000, 7000, 350),  # there would be room for a third of its pixels
    ],
)
def test_nor_is_a_large_one(kind, width, height, megabytes):
    assert run(LARGE, kind, str(width), str(height), str(megabytes)) == "short of memory"


def test_with_memory_enough_it_is_decoded():
    assert run(LARGE, "WEBP", "6000", "5000", "1000") == "decoded"
