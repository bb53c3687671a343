"""What is read beside the pixels, and what is not: orientation and colours of each format, and structures that cost."""

from __future__ import annotations

import io
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from hostile.containers import gif, gif_frame, grey_tiff, jpeg_segment, png_chunk, riff, webp_canvas, with_repeated_scan
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from sample_images import encoded, picture

from model_layer import ImageFacts, ImageRejectedError, decode
from model_layer.decoding.limits import MAX_SCANS

SIZE = 64
ROOT = Path(__file__).parents[2]


def code_of(data):
    with pytest.raises(ImageRejectedError) as caught:
        decode(data, SIZE)
    return caught.value.code


def difference(data, expected):
    return np.abs(decode(data, SIZE).pixels.astype(int) - expected).mean()


def heic(image, **options):
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=90, **options)
    return buffer.getvalue()


# What a camera held that way stores: the inverse of what a viewer does.
STORED = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'


def with_exif(image, kind, orientation, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, kind, exif=exif, **options)


def png_with_xmp(image, orientation, *, compressed):
    text = zlib.compress(XMP % orientation) if compressed else XMP % orientation
    chunk = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0" + bytes([compressed, 0, 0, 0]) + text)
    data = encoded(image, "PNG")
    return data[:33] + chunk + data[33:]


EXIF_MARK = b"Exif\0\0"


def exif_block(way):
    exif = Image.Exif()
    exif[0x0112] = way
    return exif.tobytes().removeprefix(EXIF_MARK)


WITHOUT_ORIENTATION = EXIF_MARK + b"II*\0\x08\0\0\0\1\0\x0f\1\2\0\4\0\0\0abc\0\0\0\0\0"


def jpeg_behind(image, *segments):
    data = encoded(image, "JPEG", quality=95)
    return data[:2] + b"".join(segments) + data[2:]


def png_with_raw_profile(image, name, profile, kind):
    """As ImageMagick writes what it has no chunk for: PNG's text, in hexadecimal digits."""
    lines = "".join(profile.hex()[at : at + 72] + "\n" for at in range(0, 2 * len(profile), 72))
    text = f"\n{name}\n{len(profile):8}\n{lines}".encode()
    before = {b"tEXt": b"", b"zTXt": b"\0", b"iTXt": b"\1\0\0\0"}[kind]
    body = text if kind == b"tEXt" else zlib.compress(text)
    data = encoded(image, "PNG")
    return data[:33] + png_chunk(kind, f"Raw profile type {name}".encode() + b"\0" + before + body) + data[33:]


WAYS = {
    "jpeg, second exif": lambda image, way: jpeg_behind(
        image, jpeg_segment(0xE1, WITHOUT_ORIENTATION), jpeg_segment(0xE1, EXIF_MARK + exif_block(way))
    ),
    "jpeg, exif mark that ends in FF": lambda image, way: jpeg_behind(
        image, jpeg_segment(0xE1, b"Exif\0\xff" + exif_block(way))
    ),
    "jpeg, fill bytes": lambda image, way: jpeg_behind(
        image, b"\xff" * 9, jpeg_segment(0xE1, EXIF_MARK + exif_block(way)), b"\xff" * 3
    ),
    "jpeg, xmp in the other quotes": lambda image, way: encoded(
        image, "JPEG", quality=95, xmp=(XMP % way).replace(b'"', b"'")
    ),
    "png, raw profile in tEXt": lambda image, way: png_with_raw_profile(
        image, "exif", EXIF_MARK + exif_block(way), b"tEXt"
    ),
    "png, raw profile in zTXt": lambda image, way: png_with_raw_profile(image, "exif", exif_block(way), b"zTXt"),
    "png, raw APP1 in iTXt": lambda image, way: png_with_raw_profile(
        image, "APP1", EXIF_MARK + exif_block(way), b"iTXt"
    ),
    "png, raw APP1 with xmp": lambda image, way: png_with_raw_profile(
        image, "APP1", b"http://ns.adobe.com/xap/1.0/\0" + XMP % way, b"zTXt"
    ),
    "png, raw xmp": lambda image, way: png_with_raw_profile(image, "xmp", XMP % way, b"zTXt"),
    "png, exif before the pixels": lambda image, way: with_exif(image, "PNG", way),
    "webp, exif with its mark": lambda image, way: encoded(image, "WEBP", quality=95, exif=EXIF_MARK + exif_block(way)),
    "heic": lambda image, way: heic(image, exif=exif_block(way)),
    "jpeg": lambda image, way: with_exif(image, "JPEG", way, quality=95),
    "jpeg, xmp": lambda image, way: encoded(image, "JPEG", quality=95, xmp=XMP % way),
    "webp": lambda image, way: with_exif(image, "WEBP", way, quality=95),
    "png, exif behind the pixels": lambda image, way: exif_last(with_exif(image, "PNG", way)),
    "png, xmp": lambda image, way: png_with_xmp(image, way, compressed=False),
    "png, compressed xmp": lambda image, way: png_with_xmp(image, way, compressed=True),
    "tiff": lambda image, way: encoded(image, "TIFF", tiffinfo={274: way}),
    "compressed tiff": lambda image, way: encoded(image, "TIFF", tiffinfo={274: way}, compression="tiff_lzw"),
    "big tiff": lambda image, way: encoded(image, "TIFF", tiffinfo={274: way}, big_tiff=True),
}


def exif_last(data):
    at = data.index(b"eXIf") - 4
    end = at + 12 + int.from_bytes(data[at : at + 4], "big")
    return data[:at] + data[end:-12] + data[at:end] + data[-12:]


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", WAYS)
def test_orientation_is_undone_once_in_every_format(kind, orientation):
    upright = picture(5, (160, 100))
    decoded = decode(WAYS[kind](STORED[orientation](upright), orientation), SIZE)
    assert (decoded.facts.width, decoded.facts.height) == (160, 100)
    expected = decode(encoded(upright, "PNG"), SIZE).pixels.astype(int)
    assert np.abs(decoded.pixels - expected).mean() < 3


def test_the_first_block_that_tells_an_orientation_is_believed():
    upright = picture(5, (160, 100))
    blocks = [jpeg_segment(0xE1, EXIF_MARK + exif_block(way)) for way in (6, 3)]
    expected = decode(encoded(upright, "PNG"), SIZE).pixels.astype(int)
    assert difference(jpeg_behind(STORED[6](upright), *blocks), expected) < 3
    assert difference(jpeg_behind(STORED[3](upright), *reversed(blocks)), expected) < 3


PLAIN = encoded(picture(1, (64, 64)), "JPEG")


@given(st.binary(max_size=80), st.integers(0, 80), st.sampled_from([b"", EXIF_MARK, b"II*\0\x08\0\0\0"]))
@settings(max_examples=200, deadline=None)
def test_odd_exif_never_makes_a_sound_jpeg_a_damaged_one(noise, cut, start):
    broken_off = (EXIF_MARK + exif_block(6))[:cut]
    of_bytes = (EXIF_MARK + b"II*\0\x08\0\0\0\1\0\x12\1\1\0\1\0\0\0\6\0\0\0")[:cut]  # the type of some programs
    for block in (start + noise, broken_off, of_bytes):
        segments = jpeg_segment(0xE1, block), jpeg_segment(0xE1, EXIF_MARK + block)
        assert decode(PLAIN[:2] + b"".join(segments) + PLAIN[2:], SIZE).facts.format == "jpeg"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_colour_profile_is_found_in_every_format(kind):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    red, blue = srgb.index(b"rXYZ"), srgb.index(b"bXYZ")
    exchanged = bytearray(srgb)
    exchanged[red : red + 4], exchanged[blue : blue + 4] = b"bXYZ", b"rXYZ"
    plain = decode(encoded(picture(7), "PNG"), SIZE).pixels.astype(int)
    shown = decode(encoded(picture(7), kind, icc_profile=bytes(exchanged), quality=95), SIZE).pixels
    assert np.abs(shown[..., ::-1] - plain).mean() < 6


def test_a_preview_is_not_taken_for_the_image():
    """An editor may leave the old preview in place: this one shows another picture."""
    image, other = picture(1), picture(2)
    expected = decode(encoded(image, "PNG"), SIZE).pixels.astype(int)
    stale = jpeg_segment(0xE1, b"Exif\0\0" + encoded(other.resize((120, 90)), "JPEG"))
    data = encoded(image, "JPEG", quality=95)
    assert difference(data[:2] + stale + data[2:], expected) < 3
    # libheif makes the preview of the image itself, but of fewer pixels; these would be enough for the network.
    assert np.array_equal(decode(heic(image, thumbnails=[100]), SIZE).pixels, decode(heic(image), SIZE).pixels)


def test_what_stands_behind_a_jpeg_is_not_counted_as_its_scans():
    """A phone appends films and gain maps; two bytes in 65,536 look like the start of a scan."""
    data = encoded(picture(1), "JPEG", progressive=True)
    expected = decode(data, SIZE).pixels
    assert np.array_equal(decode(data + b"\xff\xda" * 5000, SIZE).pixels, expected)


@pytest.mark.parametrize(("more", "code"), [(0, None), (MAX_SCANS - 6, None), (MAX_SCANS, "too_costly")])
def test_scans_of_a_jpeg_are_counted(more, code):
    data = encoded(picture(1).convert("L"), "JPEG", progressive=True)
    assert data.count(b"\xff\xda") == 6
    repeated = with_repeated_scan(data, more)
    if code:
        assert code_of(repeated) == code
    else:
        assert decode(repeated, SIZE).facts.format == "jpeg"


def test_metadata_of_a_jpeg_leaves_its_pixels_alone():
    for mode, options in (("CMYK", {}), ("RGB", {"progressive": True}), ("RGB", {"keep_rgb": True})):
        data = encoded(picture(1).convert(mode), "JPEG", **options)
        clutter = b"\xff" * 50 + jpeg_segment(0xFE, b"note" * 99) + b"junk" + jpeg_segment(0xED, b"\xff\xd9\xff\xda")
        cluttered = data[:2] + clutter[1:] + data[2:]
        assert np.array_equal(decode(cluttered, SIZE).pixels, decode(data, SIZE).pixels)
        assert difference(data, decode(encoded(picture(1), "PNG"), SIZE).pixels.astype(int)) < 4


def test_what_adobe_says_of_a_jpegs_colours_is_heard():
    data = encoded(picture(1).convert("CMYK"), "JPEG")
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0
    as_ycck = data[:transform] + b"\2" + data[transform + 1 :]
    assert difference(as_ycck, decode(data, SIZE).pixels.astype(int)) > 20


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_greys_of_many_bits_have_no_seams(mode):
    """They are converted in bands of rows; the same levels must come out as of the whole."""
    levels = np.add.outer(np.arange(1500), np.arange(1200)).astype(np.float32) * (65535 / 2700)
    data = encoded(Image.fromarray(levels.astype(">u2" if mode == "I;16B" else "<u2")), "TIFF")
    whole = Image.fromarray((levels * (255 / 65535)).astype(np.uint8))
    expected = decode(encoded(whole, "PNG"), SIZE).pixels
    assert np.abs(decode(data, SIZE).pixels.astype(int) - expected).max() <= 1


def test_a_tiff_of_fax_is_refused_before_it_fills_the_log(capfd):
    data = grey_tiff(64, 5000, bytes(range(256)) * 40, compression=4, t258=(3, 1, 1))
    assert code_of(data) == "unsupported_format"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("webp", riff(webp_canvas(16_384, 16_384), b"ALPH")),
        ("gif", gif(64, 64, b"!\xf9\x04\x08\0\0\0\0", gif_frame(16_384, 16_384)[:10])[:-1]),
    ],
)
def test_a_canvas_is_refused_before_its_decoder_reserves_it(kind, data):
    """Nothing follows the header: a decoder that was asked first would call the file damaged."""
    with pytest.raises(ImageRejectedError) as caught:
        decode(data, SIZE)
    assert caught.value.code == "too_many_pixels"
    assert caught.value.facts == ImageFacts(kind, 16_384, 16_384)


HEAVY = """
import resource, sys, threading
from hostile.containers import png
from model_layer import ImageRejectedError, decode
def attempt():
    try: decode(data, 64)
    except ImageRejectedError as error: codes.append(error.code)
data, codes = png(int(sys.argv[1]), int(sys.argv[1]), colour=6), []
attempt()
alone = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
threads = [threading.Thread(target=attempt) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert codes == ["blank"] * 4
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - alone)
"""


def test_heavy_images_are_decoded_one_at_a_time():
    """Three of 17.6 megapixels with transparency take 140 MB each; the threads must not add them up."""
    run = subprocess.run(
        [sys.executable, "-c", HEAVY, "4200"],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(run.stdout) < 60 * 1024
