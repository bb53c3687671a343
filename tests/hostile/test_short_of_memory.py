"""A worker that is short of memory does not reject the image: the image is retried."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sample_images import encoded, picture

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, resource, sys
from hostile.corpus import ENCODERS
from model_layer import ImageRejectedError, decode
from sample_images import picture

kind = sys.argv[1]
data = ENCODERS[kind](picture(1, (1000, 750)))
decode(data, 224)  # whatever is imported or cached at the first image is there
hoard = []


def leave(kilobytes):
    # Takes all memory that the process can get, and gives so many kilobytes back.
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
for kilobytes in (0, 64, 256, 512, 1536, 3072):
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
from pathlib import Path
from model_layer import ImageRejectedError, decode

small, large = (Path(name).read_bytes() for name in sys.argv[1:3])
decode(small, 224)  # whatever is imported or cached at the first image
with open("/proc/self/statm") as statm:
    now = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + int(sys.argv[3]) * 2**20, resource.RLIM_INFINITY))
try:
    decode(large, 224)
    print("decoded")
except MemoryError:
    print("short of memory")
except ImageRejectedError as error:
    print(error.code)
"""
FAST = {"WEBP": {"lossless": True, "quality": 0, "method": 0}, "PNG": {"compress_level": 1}}


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


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Of each kind a small file and one of 7.5 megapixels, encoded once for all tests."""
    folder, made = tmp_path_factory.mktemp("large"), {}
    for kind, options in FAST.items():
        small, large = picture(1, (200, 150)), picture(1, (200, 150)).resize((3000, 2500), 0)
        made[kind] = [folder / f"small.{kind}", folder / f"large.{kind}"]
        for file, image in zip(made[kind], (small, large), strict=True):
            file.write_bytes(encoded(image, kind, **options))
    return made


@pytest.mark.parametrize(
    ("kind", "megabytes"),
    [
        ("PNG", 14),  # its pixels take 23 MB
        ("WEBP", 25),  # its two canvases, 60 MB, are reserved before its size can be asked for
        ("WEBP", 80),  # there is room for the canvases, but not for the copies
    ],
)
def test_nor_is_a_large_one(files, kind, megabytes):
    assert run(LARGE, *map(str, files[kind]), str(megabytes)) == "short of memory"


def test_with_memory_enough_it_is_decoded(files):
    assert run(LARGE, *map(str, files["WEBP"]), "300") == "decoded"
