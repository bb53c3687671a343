"""The pixel limit bounds what decoding costs: much for what is decoded whole, little for what is decoded at a scale."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hostile.containers import jpeg_segment, with_repeated_scan
from sample_images import encoded, picture

from model_layer import DecodingLimits, ImageFacts, ImageRejectedError, decode
from model_layer.decoding.formats import open_image
from model_layer.decoding.limits import HEAVY_PIXELS, MAX_SCAN_PIXELS

SIZE = 64
ROOT = Path(__file__).parents[2]


def answer(data, limits):
    """The format, or why the image is rejected."""
    try:
        return decode(data, SIZE, limits).facts.format
    except ImageRejectedError as error:
        return error.code


def tall_jpeg(width, height):
    """A JPEG made of one row of blocks again and again, so that a large one costs nothing to make."""
    data = encoded(picture(3, (width, 16)), "JPEG", restart_marker_rows=1, quality=50)
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
    head = data[: frame + 5] + struct.pack(">H", height) + data[frame + 7 : start]
    row = data[start:-2]
    restarts = b"".join(row + bytes([0xFF, 0xD0 + number % 8]) for number in range(height // 16 - 1))
    return head + restarts + row + b"\xff\xd9"


def separate_scans(image):
    """A baseline JPEG whose components come one after another: its decoder holds all coefficients until the last."""
    grey = [encoded(channel, "JPEG", quality=95) for channel in image.convert("YCbCr").split()]
    start = grey[0].index(b"\xff\xc0")
    frame = struct.pack(">BHHB", 8, image.height, image.width, 3) + bytes(
        field for number in (1, 2, 3) for field in (number, 0x11, 0)
    )
    tables_start = start + 2 + int.from_bytes(grey[0][start + 2 : start + 4], "big")
    tables = grey[0][tables_start : grey[0].index(b"\xff\xda")]
    scans = b""
    for number, data in enumerate(grey, 1):
        pixels = data.index(b"\xff\xda") + 10
        scans += jpeg_segment(0xDA, bytes([1, number, 0, 0, 63, 0])) + data[pixels:-2]
    return grey[0][:start] + jpeg_segment(0xC0, frame) + tables + scans + b"\xff\xd9"


def test_separate_scans_show_the_same_picture():
    data = separate_scans(picture(3, (320, 240)))
    expected = decode(encoded(picture(3, (320, 240)), "PNG"), SIZE).pixels.astype(int)
    assert np.abs(decode(data, SIZE).pixels - expected).mean() < 3


IMAGE = picture(1, (1024, 768))
PIXELS = 1024 * 768
# The limit as a share of the image's pixels: decoded at 1/8 scale it holds 1/64 of them, and in several scans two bytes
# for each sample besides, in units of 16 bytes.
SMALLEST_LIMIT = {
    "png": (lambda: encoded(IMAGE, "PNG"), 1.0),
    "bmp": (lambda: encoded(IMAGE, "BMP"), 1.0),
    "webp": (lambda: encoded(IMAGE, "WEBP"), 1.0),
    "jpeg": (lambda: encoded(IMAGE, "JPEG"), 1 / 4),
    "progressive jpeg": (lambda: encoded(IMAGE, "JPEG", progressive=True, subsampling=2), 1 / 4),
    "progressive jpeg, 4:4:4": (lambda: encoded(IMAGE, "JPEG", progressive=True, subsampling=0), 6 / 16 + 1 / 64),
    "progressive jpeg, CMYK": (lambda: encoded(IMAGE.convert("CMYK"), "JPEG", progressive=True), 8 / 16 + 1 / 64),
    "jpeg in separate scans": (lambda: separate_scans(IMAGE), 6 / 16 + 1 / 64),
    "long jpeg, of no smaller scale": (lambda: encoded(IMAGE.resize((PIXELS // 96, 96)), "JPEG"), 1.0),
}


@pytest.mark.parametrize("kind", SMALLEST_LIMIT)
def test_the_limit_is_on_what_decoding_holds(kind):
    make, share = SMALLEST_LIMIT[kind]
    data = make()
    assert answer(data, DecodingLimits()) in kind
    assert answer(data, DecodingLimits(max_pixels=round(PIXELS * share * 1.01))) in kind
    assert answer(data, DecodingLimits(max_pixels=round(PIXELS * share * 0.98))) == "too_many_pixels"


def test_a_phones_largest_photographs_are_under_the_limit():
    """12,288 x 16,384 of the 200-megapixel sensors on sale; 8,192 x 6,144 of those of 50, in any format."""
    limits = DecodingLimits()
    assert limits.max_scaled_pixels >= 16_384 * 12_288
    assert limits.max_pixels >= 8192 * 6144
    opened = open_image(tall_jpeg(4096, 3072), limits)
    assert opened.decoded_pixels(224) < HEAVY_PIXELS  # several at a time


LARGEST = """
import resource, sys, time
from model_layer.decoding import decode
from test_pixel_limit import tall_jpeg
def kilobytes(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))
data = tall_jpeg(16384, 12288)
decode(tall_jpeg(512, 512), 224)
before = kilobytes("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
started = time.process_time()
facts = decode(data, 224).facts
seconds = time.process_time() - started
assert (facts.width, facts.height) == (16384, 12288)
print(seconds, kilobytes("VmHWM") - before - len(data) / 1024)
"""


def test_200_megapixels_take_a_moment_and_little_memory():
    paths = (ROOT, ROOT / "tests", Path(__file__).parent)
    run = subprocess.run(
        [sys.executable, "-c", LARGEST],
        env={"PYTHONPATH": ":".join(map(str, paths)), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, kilobytes = map(float, run.stdout.split())
    assert seconds < 3
    assert kilobytes < 40 * 1024


def test_scans_are_counted_by_the_pixels_that_each_passes_over():
    repeated = bytearray(with_repeated_scan(encoded(picture(1), "JPEG", progressive=True), 20))
    frame = repeated.index(b"\xff\xc2")
    assert answer(bytes(repeated), DecodingLimits()) == "jpeg"
    repeated[frame + 5 : frame + 9] = struct.pack(">HH", 12_000, 12_000)
    assert MAX_SCAN_PIXELS < 12_000**2 * 26
    assert answer(bytes(repeated), DecodingLimits()) == "too_costly"


def test_a_refused_image_still_tells_its_size():
    with pytest.raises(ImageRejectedError) as caught:
        decode(tall_jpeg(16_000, 16_000), SIZE)
    assert (caught.value.code, caught.value.facts) == ("too_many_pixels", ImageFacts("jpeg", 16_000, 16_000))
