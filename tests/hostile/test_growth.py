"""No parser's work grows faster than what it reads, whatever the fields of a file claim.

Each filler is made four times as long again and again, to a megabyte and until the processor time is well above the
noise. Time that grows more than ninefold fails, and so does a second for a megabyte. (Linear work grows fourfold,
quadratic work sixteenfold.)
"""

from __future__ import annotations

import gc
import time
from contextlib import suppress
from itertools import pairwise

import pytest
from hostile.fillers import EVENTS, EXIF, FILES, SETTINGS, XMP, jpeg_places, sound

from handler import telemetry
from handler.configuration import Settings
from handler.errors import ConfigurationError
from handler.intake.events import read_event
from model_layer import ImageRejectedError, decode
from model_layer.decoding import exif
from model_layer.decoding.formats import _FORMATS

MEGA = 2**20
SHORTEST, LONGEST, STEP = 2**10, 4 * MEGA, 4
"""Bytes of filler. Quadratic work that is under the noise at a megabyte takes seconds at 32 MB, the longest file."""
MESSAGE, VARIABLE = MEGA, MEGA
"""Bytes at most of a message (SQS's limit is 1 MB) and of an environment variable (Linux's is 128 KB)."""
NOISE = 0.003
"""Seconds of processor time; shorter times are not compared."""
GROWTH, SECONDS_A_MEGABYTE = 9.0, 1.0
"""The growth over a step; linear work may exceed fourfold where a cache becomes too small."""
TRIES = 6


def check_growth(work, make, longest):
    """`work` on the results of `make` for growing lengths."""
    taken, length = [0.0] * 2, SHORTEST
    while length <= longest and (length <= MEGA or taken[-2] <= NOISE):
        base = taken[-1]
        allowed = min(SECONDS_A_MEGABYTE * max(1.0, length / MEGA), GROWTH * base if base > NOISE else float("inf"))
        taken.append(processor_seconds(work, make(length), allowed))
        assert taken[-1] <= allowed, f"{length} bytes took {taken[-1]:.2f} s, a quarter of them {base:.2f} s"
        length *= STEP


def processor_seconds(work, subject, allowed):
    """Of this thread; the least of several runs where one takes more than `allowed`: other programs run, too.

    The garbage collector waits: a look at all objects of a process with a thousand tests behind it takes a second.
    """
    least = float("inf")
    gc.disable()
    try:
        for number in range(TRIES):
            started = time.thread_time()
            work(subject)
            least = min(least, time.thread_time() - started)
            if least <= allowed or (number and least > 4 * allowed):
                break
    finally:
        gc.enable()
    return least


def decode_any(data):
    with suppress(ImageRejectedError):
        decode(data, 32)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=f"{kind}, {name}".replace("\\x", ""))
        for kind, makers in FILES.items()
        for name, make in makers.items()
    ],
)
def test_of_a_file(make, capfd):
    check_growth(decode_any, make, LONGEST)


@pytest.mark.parametrize("kind", FILES)
def test_a_file_grows_by_one_step(kind):
    """Else the bound on its time would be of another growth."""
    for name, make in FILES[kind].items():
        sizes = [len(make(SHORTEST * STEP**step)) for step in range(7)]
        assert all(later <= 5 * sooner for sooner, later in pairwise(sizes) if later > 2**14), (name, sizes)


def test_of_every_byte_in_every_place_of_a_jpeg():
    """At one length only; a search that goes on to the end from each byte would take minutes."""
    data = sound("JPEG")
    for place, at in jpeg_places(data).items():
        for byte in range(256):
            for unit in (bytes([byte]), b"\xff" + bytes([byte]), b"\xff\xff" + bytes([byte, 0])):
                run = unit * (2**14 // len(unit))
                for filler in (run, run + b"\0"):
                    filled, allowed = data[:at] + filler + data[at:], SECONDS_A_MEGABYTE / 32
                    assert processor_seconds(decode_any, filled, allowed) <= allowed, f"{unit!r} {place}"


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in EXIF.items()])
def test_of_exif(make):
    check_growth(lambda data: exif.orientation([data]), make, LONGEST)


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in XMP.items()])
def test_of_xmp(make):
    check_growth(lambda data: exif.orientation([], [data]), make, LONGEST)


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in EVENTS.items()])
def test_of_an_event(make, capfd):
    def work(event):
        batch = read_event(event, "dermbatch-images")
        telemetry.report_batch(batch, 0, "1")
        telemetry.metrics.clear_metrics()

    check_growth(work, make, MESSAGE)


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in SETTINGS.items()])
def test_of_a_setting(make, tiny_bundle):
    whole = {"PREDICTIONS_TABLE": "predictions", "MODEL_BUNDLE": str(tiny_bundle)}
    numbers = ("MAX_IMAGE_BYTES", "RECORD_TTL_DAYS", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
    texts = (
        "PREDICTIONS_TABLE",
        "UPLOADS_BUCKET",
        "HASH_SECRET_ARN",
        "ERASE_REMOVED",
        "REMOVALS_QUEUE_URL",
        "AWS_ENDPOINT_URL",
        "POWERTOOLS_LOG_LEVEL",
    )
    for name in (*numbers, *texts):

        def work(value, name=name):
            with suppress(ConfigurationError):
                Settings.from_environment({**whole, name: value})

        check_growth(work, make, VARIABLE)


def test_every_format_has_fillers():
    assert set(FILES) >= set(_FORMATS)
