"""A picture with a hole is never answered as a whole one; one whose every pixel is there is, whatever its end lacks."""

from __future__ import annotations

import io
import re
import struct
import time
import zlib

import numpy as np
import pillow_heif
import pytest
from hostile.containers import jpeg_segment, png_chunk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter, JpegImagePlugin
from sample_images import encoded, picture

from model_layer import ImageRejectedError, Rejection, decode
from model_layer.classifier import Classifier

SIZE = 64
EOI = b"\xff\xd9"


def photograph(size=(640, 480), seed=3):
    """With the fine detail of a photograph: what is coded of it is not flat anywhere."""
    noise = np.random.default_rng(seed).integers(-14, 15, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.asarray(picture(seed, size), np.int16) + noise, 0, 255).astype(np.uint8))


def heic(image, **options):
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=60, enc_params={"preset": "ultrafast"}, **options)
    return buffer.getvalue()


def rejection(data):
    with pytest.raises(ImageRejectedError) as caught:
        decode(data, SIZE)
    return caught.value


def scan_start(data, number=-1):
    """Where a scan's entropy-coded data begins, by default the last one's."""
    header = [found.start() for found in re.finditer(rb"\xff\xda", data)][number]
    return header + 2 + int.from_bytes(data[header + 2 : header + 4], "big")


def zeroed(data, at, length=512, filling=b"\0"):
    return data[:at] + filling * length + data[at + length :]


JPEGS = {
    "baseline": {"quality": 90},
    "coarse": {"quality": 40},
    "fine": {"quality": 100, "subsampling": 0},
    "optimised": {"quality": 85, "optimize": True},
    "progressive": {"quality": 85, "progressive": True},
    "restart markers": {"quality": 85, "restart_marker_rows": 1},
    "many restart markers": {"quality": 85, "restart_marker_blocks": 4},
    "optimised, restart markers": {"quality": 85, "restart_marker_rows": 2, "optimize": True},
    "progressive, restart markers": {"quality": 85, "progressive": True, "restart_marker_rows": 2},
}
MODES = dict.fromkeys(JPEGS, "RGB") | {"grey": "L", "cmyk": "CMYK"}


def a_jpeg(name, image=None):
    options = JPEGS.get(name, {"quality": 85})
    return encoded((image or photograph()).convert(MODES[name]), "JPEG", **options)


@pytest.mark.parametrize("share", [0.35, 0.5, 0.8])
@pytest.mark.parametrize("name", MODES)
def test_a_jpeg_cut_and_given_an_end_mark_is_incomplete(name, share):
    data = a_jpeg(name)
    cut = int(scan_start(data, 0) + share * (len(data) - scan_start(data, 0)))
    cut -= data[cut - 1] == 0xFF  # not within a marker
    assert rejection(data[:cut] + EOI).code == "incomplete"
    assert rejection(data[:cut]).code == "truncated"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(MODES)), st.floats(0.02, 0.98))
def test_wherever_a_jpeg_is_cut_it_shows(name, share):
    data = a_jpeg(name, photograph((240, 180)))
    cut = scan_start(data, 0) + int(share * (len(data) - scan_start(data, 0)))
    cut -= data[cut - 1] == 0xFF
    # Cut within the header of a further scan, the end mark is taken for a part of it.
    assert rejection(data[:cut] + EOI).code in ("incomplete", "truncated" if "progressive" in name else "incomplete")


@pytest.mark.parametrize("filling", [b"\0", b"\xff"])
@pytest.mark.parametrize("length", [512, 4096, 16_384])
@pytest.mark.parametrize("name", [name for name in MODES if "progressive" not in name])
def test_a_jpeg_with_a_lost_block_is_incomplete(name, length, filling):
    data = a_jpeg(name)
    for share in (0.2, 0.5, 0.7):
        at = int(len(data) * share)
        assert rejection(zeroed(data, at, min(length, len(data) - 200 - at), filling)).code == "incomplete"


@pytest.mark.parametrize("name", ["progressive", "progressive, restart markers"])
def test_a_lost_cluster_shows_in_any_scan_of_a_progressive_jpeg(name):
    data = a_jpeg(name, photograph((800, 600)))
    for at in range(scan_start(data, 0) + 100, len(data) - 17_000, 5000):
        assert rejection(zeroed(data, at, 16_384)).code == "incomplete", at


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["baseline", "fine", "optimised", "restart markers", "grey"]), st.floats(0.05, 0.95), st.data())
def test_wherever_a_sector_of_a_jpeg_is_lost_it_shows(name, share, drawn):
    data = a_jpeg(name, photograph((320, 240)))
    start, length = scan_start(data), drawn.draw(st.sampled_from([512, 1024, 4096]))
    at = start + int(share * (len(data) - start - length - 100))
    assert rejection(zeroed(data, at, length)).code == "incomplete"


def test_restart_markers_are_counted_and_come_in_order():
    data = a_jpeg("restart markers")
    marks = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", data)]
    first, second, third = marks[9:12]
    without = data[:first] + data[second:]
    found = rejection(without)
    assert found.code == "incomplete"
    assert found.detail.startswith("About 3 % of the picture is lost")  # one of 30 intervals
    exchanged = data[:first] + data[second:third] + data[first:second] + data[third:]
    assert rejection(exchanged).code == "incomplete"


def test_a_progressive_jpeg_without_its_last_scans_is_incomplete():
    """It looks whole, only blurred: every block has its coarse part."""
    data = a_jpeg("progressive")
    starts = [found.start() for found in re.finditer(rb"\xff\xc4", data)]
    assert rejection(data[: starts[-1]] + EOI).code == "incomplete"
    assert rejection(data[: starts[-1]]).code == "truncated"


def test_how_much_is_lost_is_told_where_it_is_known():
    data = a_jpeg("baseline")
    start = scan_start(data)
    shares = {}
    for kept in (0.25, 0.5, 0.75):
        found = rejection(data[: start + int(kept * (len(data) - start))] + EOI)
        shares[kept] = int(re.search(r"About (\d+) % of the picture is lost; upload", found.detail)[1])
    assert all(abs(100 * (1 - kept) - lost) <= 6 for kept, lost in shares.items()), shares


def test_the_rejection_of_an_image_tells_the_share(tiny_bundle):
    data = a_jpeg("baseline")
    (answer,) = Classifier.load(tiny_bundle).classify([data[: len(data) // 2] + EOI])
    assert isinstance(answer, Rejection)
    assert answer.code == "incomplete"
    assert re.match(r"About \d\d % of the picture is lost; upload the original file again", answer.sentence)
    assert (answer.facts.format, answer.facts.width, answer.facts.height) == ("jpeg", 640, 480)


@pytest.mark.parametrize("name", MODES)
def test_a_jpeg_whose_every_pixel_is_there_is_answered(name):
    data = a_jpeg(name)
    expected = decode(data, SIZE).pixels
    for lacking in (data[:-2], data[:-1], data[:-2] + b"\0\0", data + bytes(5000), data + b"\xff\xd8\xff" + data[100:]):
        assert np.array_equal(decode(lacking, SIZE).pixels, expected)


def test_what_some_cameras_leave_before_the_end_mark_harms_nothing():
    data = a_jpeg("baseline")
    expected = decode(data, SIZE).pixels
    for spare in (b"\x12\x34", bytes(20), bytes(3000), b"\xff" * 300):
        assert np.array_equal(decode(data[:-2] + spare + EOI, SIZE).pixels, expected)
    assert np.array_equal(decode(data[:-2] + bytes(3000), SIZE).pixels, expected)
    note = jpeg_segment(0xFE, b"a note behind the picture")
    assert np.array_equal(decode(data[:-2] + note + EOI, SIZE).pixels, expected)


@pytest.mark.parametrize("name", MODES)
def test_the_pixels_of_a_jpeg_are_those_that_pillow_decodes(name):
    image = photograph((500, 375))
    data = a_jpeg(name, image)
    full = Image.open(io.BytesIO(data))
    assert type(full) is JpegImagePlugin.JpegImageFile
    full.draft(None, (171, 128))
    box = ((full.width - full.height) / 2, 0, (full.width + full.height) / 2, full.height)
    square = full.resize((128, 128), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0).convert("RGB")
    assert np.array_equal(decode(data, 128).pixels, np.asarray(square))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(MODES)),
    st.integers(48, 260),
    st.integers(48, 200),
    st.integers(5, 98),
    st.sampled_from([0, 1, 4, 30]),
    st.integers(0, 9),
)
def test_a_sound_jpeg_of_any_size_and_detail_is_answered(name, width, height, quality, detail, seed):
    noise = np.random.default_rng(seed).integers(-detail, detail + 1, (height, width, 3))
    levels = np.clip(np.asarray(picture(seed, (width, height)), np.int16) + noise, 0, 255).astype(np.uint8)
    options = JPEGS.get(name, {}) | {"quality": quality}
    data = encoded(Image.fromarray(levels).convert(MODES[name]), "JPEG", **options)
    assert decode(data, SIZE).facts.width == width


GROUNDS = [(0, 0, 0), (255, 255, 255), (128, 128, 128), (0, 135, 0), (0, 0, 0)]
PLACES = [
    ((0, 0), (300, 700)),
    ((40, 300), (500, 600)),
    ((0, 0), (300, 600)),
    ((0, 380), (300, 600)),
    ((0, 0), (300, 228)),
]
KINDS = {
    **{name: (lambda image, name=name: a_jpeg(name, image)) for name in MODES},
    "png": lambda image: encoded(image, "PNG"),
    "gif": lambda image: encoded(image.convert("L"), "GIF"),
    "bmp": lambda image: encoded(image, "BMP"),
    "webp": lambda image: encoded(image, "WEBP"),
    "fast webp": lambda image: encoded(image, "WEBP", method=0),
    "lossless webp": lambda image: encoded(image, "WEBP", lossless=True),
    "fast lossless webp": lambda image: encoded(image, "WEBP", lossless=True, quality=0, method=0),
    "tiff": lambda image: encoded(image, "TIFF"),
    "lzw tiff": lambda image: encoded(image, "TIFF", compression="tiff_lzw"),
    "packbits tiff": lambda image: encoded(image, "TIFF", compression="packbits"),
    "jpeg tiff": lambda image: encoded(image, "TIFF", compression="jpeg"),
    "grey jpeg tiff": lambda image: encoded(image.convert("L"), "TIFF", compression="jpeg"),
    "heic": heic,
}


@pytest.mark.parametrize("height", [16, 20, 24, 28, 32, 40, 56])
@pytest.mark.parametrize("method", [0, 4])
def test_a_thin_border_of_a_noisy_webp_is_no_hole(method, height):
    """Codes for flat blocks are long where few come: hundreds of zeros for some dozens of blocks."""
    noise = np.random.default_rng(1).integers(-40, 41, (450, 600, 3))
    noisy = Image.fromarray(np.clip(np.asarray(picture(2, (600, 450)), np.int16) + noise, 0, 255).astype(np.uint8))
    canvas = Image.new("RGB", (600, 450 + height), (255, 255, 255))
    canvas.paste(noisy, (0, 0))
    assert decode(encoded(canvas, "WEBP", quality=80, method=method), SIZE)
    upside_down = canvas.transpose(Image.Transpose.FLIP_TOP_BOTTOM).crop((0, height - 3, 600, 450))
    assert decode(encoded(upside_down, "WEBP", lossless=True, quality=height, method=0), SIZE)


@pytest.mark.parametrize("kind", KINDS)
def test_flat_grounds_and_borders_are_no_holes(kind):
    """Their codes are as even as a hole's; the grey is the very one that libjpeg fills holes with."""
    scene = photograph((300, 220))
    for ground, (place, size) in zip(GROUNDS, PLACES, strict=True):
        canvas = Image.new("RGB", size, ground)
        canvas.paste(scene, place)
        assert decode(KINDS[kind](canvas), SIZE).facts.width == size[0]
    for even in (
        scene.filter(ImageFilter.GaussianBlur(20)),
        scene.resize((20, 15)).resize((800, 600), Image.Resampling.NEAREST),
        Image.merge("RGB", [Image.linear_gradient("L").rotate(90 * turn) for turn in range(3)]).resize((700, 700)),
    ):
        assert decode(KINDS[kind](even), SIZE)


HOLED = {
    "heic": lambda: heic(photograph((320, 240))),
    "tiled heic": lambda: heic(photograph((320, 240)), tile_size=128),
    "webp": lambda: encoded(photograph(), "WEBP"),
    "webp with alpha": lambda: encoded(photograph().convert("RGBA"), "WEBP", quality=70),
    "lossless webp": lambda: encoded(photograph(), "WEBP", lossless=True),
    "png": lambda: encoded(photograph(), "PNG"),
    "grey png": lambda: encoded(photograph().convert("L"), "PNG"),
    "gif": lambda: encoded(photograph().convert("L"), "GIF"),
    "lzw tiff": lambda: encoded(photograph(), "TIFF", compression="tiff_lzw"),
    "packbits tiff": lambda: encoded(photograph(), "TIFF", compression="packbits"),
    "jpeg tiff": lambda: encoded(photograph(), "TIFF", compression="jpeg"),
}


@pytest.mark.parametrize("filling", [b"\0", b"\xff"])
@pytest.mark.parametrize("kind", HOLED)
def test_other_formats_with_a_lost_cluster_are_incomplete(kind, filling):
    data = HOLED[kind]()
    for share in (0.3, 0.5, 0.7):
        assert rejection(zeroed(data, int(share * len(data)), 2048, filling)).code in ("incomplete", "truncated")


# A TIFF's directory is behind the pixels: without it the file is of no kind at all.
@pytest.mark.parametrize("kind", [kind for kind in HOLED if "tiff" not in kind])
def test_other_formats_whose_end_is_zeros_are_not_answered(kind):
    data = HOLED[kind]()
    for share in (0.35, 0.6, 0.8):
        at = int(share * len(data))
        assert rejection(data[:at] + bytes(len(data) - at)).code in ("incomplete", "truncated")


def test_a_preview_with_a_hole_leaves_the_image_whole():
    data = heic(photograph((320, 240)), thumbnails=[128])
    expected = decode(data, SIZE).pixels
    assert np.array_equal(decode(data[:-400] + bytes(400), SIZE).pixels, expected)


def test_zeros_of_a_png_are_a_hole_only_where_the_checksum_says_so():
    """Stored rows hold the pixels' own zeros."""
    flat = Image.new("RGB", (300, 200))
    flat.paste(photograph((300, 90)), (0, 0))
    data = encoded(flat, "PNG", compress_level=0)
    assert bytes(1000) in data
    assert decode(data, SIZE)
    assert rejection(zeroed(data, 20_000, 1024)).code == "incomplete"


@pytest.mark.parametrize("lacking", [12, 16])
def test_a_png_without_its_end_chunk_is_answered(lacking):
    data = encoded(photograph(), "PNG")
    assert np.array_equal(decode(data[:-lacking], SIZE).pixels, decode(data, SIZE).pixels)


def test_a_gif_without_its_trailer_is_answered():
    data = encoded(photograph().convert("L"), "GIF")
    assert data.endswith(b"\0;")
    for lacking in (1, 2):
        assert np.array_equal(decode(data[:-lacking], SIZE).pixels, decode(data, SIZE).pixels)


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
def test_a_lost_cluster_among_uncompressed_rows_is_incomplete(kind):
    """Where a disk loses it: from one sector's start to another's end."""
    data = encoded(photograph(), kind)
    assert rejection(zeroed(data, 200 * 512, 16 * 512)).code == "incomplete"
    tail = len(data) * 2 // 3 // 512 * 512
    body_end = len(data) if kind == "BMP" else tail + 100 * 512
    assert rejection(zeroed(data, tail, body_end - tail)).code == "incomplete"


def test_work_grows_with_the_file_only():
    """Fillings that could make a search start again and again: four times the bytes, well under 16 times the time."""
    head = a_jpeg("restart markers")[: scan_start(a_jpeg("restart markers"))]
    fillings = [
        b"\xff\xd0",
        b"\xff",
        b"\xff\x01",
        b"\0",
        b"\xff\0",
        b"\0" * 255 + b"\1",
        b"\xff\xda\0\3\1",
        b"\xff\xff\0",
    ]
    for filling in fillings:
        seconds = []
        for size in (2**18, 2**20):
            data = head + filling * (size // len(filling))
            started = time.process_time()
            with pytest.raises(ImageRejectedError):
                decode(data, SIZE)
            seconds.append(time.process_time() - started)
        assert seconds[1] < 1, filling
        assert seconds[1] < 10 * seconds[0] + 0.1, filling


def png_of_two_chunks(data):
    """The same pixels in two chunks: each has its own checksum."""
    at = data.index(b"IDAT")
    length = struct.unpack(">L", data[at - 4 : at])[0]
    body = data[at + 4 : at + 4 + length]
    assert zlib.crc32(b"IDAT" + body) == struct.unpack(">L", data[at + 4 + length : at + 8 + length])[0]
    return data[: at - 4] + png_chunk(b"IDAT", body[:5000]) + png_chunk(b"IDAT", body[5000:]) + data[at + 8 + length :]


def test_each_chunk_of_a_png_is_held_against_its_checksum():
    flat = Image.new("RGB", (300, 200))
    flat.paste(photograph((300, 90)), (0, 0))
    data = png_of_two_chunks(encoded(flat, "PNG", compress_level=0))
    assert decode(data, SIZE)
    assert rejection(zeroed(data, 8000, 600)).code == "incomplete"
