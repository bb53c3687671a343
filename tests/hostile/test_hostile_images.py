"""Whatever the bytes are, they end in a record: in bounded time and memory, and never with another image's pixels."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from model_layer import RejectionCode

ROOT = Path(__file__).parents[2]

MALFORMED_SECONDS, MALFORMED_MB = 2.0, 128
"""Of small images: a hundredth of this on an idle machine, and of memory a tenth."""
BOMB_SECONDS, BOMB_MB = 20.0, 900
"""Of any file: measured 2.5 s, and for 49 megapixels of WebP 784 MB, which a worker of 1,769 MB holds."""
ADDRESS_SPACE_MB = 1300
"""What 51 megapixels may take fits, so that no decoder that fails is thought to be short of memory."""


def outcomes(bundle, part, patience_s):
    """What became of every case; a process that dies or hangs fails the test with the name of the case."""
    command = [sys.executable, "-m", "hostile.child", str(bundle), part, str(ADDRESS_SPACE_MB)]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin", "OPENBLAS_NUM_THREADS": "1"}
    found, case = [], "its start"
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        watchdog = threading.Timer(patience_s, child.kill)
        complaints = threading.Thread(target=lambda: complaints_found.append(child.stderr.read()))
        complaints_found = []
        complaints.start()
        watchdog.start()
        for line in child.stdout:
            if line.startswith("{"):
                found.append(json.loads(line))
            else:
                case = line.strip()
        child.wait()
        watchdog.cancel()
        complaints.join()
    assert child.returncode == 0, f"{case} ended the process with {child.returncode}: {complaints_found[0][-2000:]}"
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_thousand_malformed_images_end_in_a_record_each(tiny_bundle):
    found = outcomes(tiny_bundle, "malformed", 1100)
    assert len(found) >= 2000
    assert len({case["name"] for case in found}) == len(found)
    assert {case["code"] for case in found} <= {None, *RejectionCode}
    assert [case["name"] for case in found if not case["own_pixels"]] == []
    assert [(case["name"], case["seconds"]) for case in found if case["seconds"] > MALFORMED_SECONDS] == []
    assert [(case["name"], case["peak_mb"]) for case in found if case["peak_mb"] > MALFORMED_MB] == []
    states = Counter(case["status"] for case in found)
    assert set(states) == {"classified", "referred", "rejected"}
    # Both must occur in numbers: a decoder that refused everything would pass the rest, too.
    assert states["rejected"] > 500
    assert states["classified"] + states["referred"] > 300


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_files_that_ask_for_much_get_little(tiny_bundle):
    found = outcomes(tiny_bundle, "bombs", 1100)
    assert len(found) > 50
    assert [case["name"] for case in found if not case["own_pixels"]] == []
    assert [(case["name"], case["seconds"]) for case in found if case["seconds"] > BOMB_SECONDS] == []
    assert [(case["name"], case["peak_mb"]) for case in found if case["peak_mb"] > BOMB_MB] == []
    # Sound images in spite of odd wrapping are answered; nothing of the wrapping is read.
    codes = {case["name"].removeprefix("bomb/"): case["code"] for case in found}
    assert codes["png iTXt of 256 MB"] == "blank"
    assert codes["webp of 20,000 frames"] is None
    assert codes["jpeg of exif in 200 pieces"] is None
    assert codes["jpeg of 60 repeated scans"] is None
    assert codes["jpeg of 1,000 repeated scans"] == "too_costly"
    assert codes["gif whose frame is larger"] == "too_many_pixels"
    assert codes["tiff with a tile 40,000 squared"] == "too_many_pixels"
    assert codes["tiff with an LZMA dictionary"] == "unsupported_format"
    assert codes["heic of one tile again and again"] == "too_many_pixels"
    assert codes["zeros of 200 MB"] == "too_large"
    assert codes["dicom deflated to 200 MB"] == "too_costly"
    assert codes["dicom of four million elements"] == "too_costly"
    assert codes["dicom of a jpeg of 1,000 refining scans"] == "too_costly"


def test_the_corpus_covers_every_format():
    from hostile.corpus import ENCODERS

    from model_layer.decoding.formats import _FORMATS

    extensions = {kind.rpartition(".")[2] for kind in ENCODERS}
    assert {"jpg": "jpeg", "tif": "tiff", "dcm": "dicom"}.keys() <= extensions
    assert len(extensions) == len(_FORMATS)
