"""What any file of a person's becomes: the same square of pixels for the same picture, or a stable code."""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from sample_images import encoded, jpeg, picture, png

from model_layer import DecodingLimits, ImageFacts, ImageRejectedError, RejectionCode, decode

SIZE = 64


def code_of(data: bytes, limits: DecodingLimits | None = None) -> str:
    with pytest.raises(ImageRejectedError) as caught:
        decode(data, SIZE, limits or DecodingLimits())
    return caught.value.code


def heic(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=95)
    return buffer.getvalue()


def sixteen_bit_grey(image: Image.Image) -> bytes:
    return encoded(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "PNG")


SAME_PICTURE = {
    "jpeg": (lambda p: encoded(p, "JPEG", quality=95), "jpeg", 3),
    "progressive jpeg": (lambda p: encoded(p, "JPEG", quality=95, progressive=True), "jpeg", 3),
    "cmyk jpeg": (lambda p: encoded(p.convert("CMYK"), "JPEG", quality=95), "jpeg", 4),
    "png": (lambda p: encoded(p, "PNG"), "png", 0.1),
    "palette png": (lambda p: encoded(p.quantize(256), "PNG"), "png", 6),
    "png with opaque alpha": (lambda p: encoded(p.convert("RGBA"), "PNG"), "png", 0.6),
    "webp": (lambda p: encoded(p, "WEBP", quality=95), "webp", 4),
    "bmp": (lambda p: encoded(p, "BMP"), "bmp", 0.1),
    "tiff": (lambda p: encoded(p, "TIFF", compression="tiff_lzw"), "tiff", 0.1),
    "cmyk tiff": (lambda p: encoded(p.convert("CMYK"), "TIFF"), "tiff", 2),
    "gif": (lambda p: encoded(p, "GIF"), "gif", 9),
    "heic": (heic, "heic", 4),
}


@pytest.mark.parametrize("kind", SAME_PICTURE)
def test_every_format_shows_the_same_picture(kind):
    encode, name, tolerance = SAME_PICTURE[kind]
    original = picture(3, (320, 240))
    expected = decode(encoded(original, "PNG"), SIZE).pixels.astype(float)
    decoded = decode(encode(original), SIZE)
    assert decoded.facts.format == name
    assert (decoded.facts.width, decoded.facts.height) == (320, 240)
    assert decoded.pixels.shape == (SIZE, SIZE, 3)
    assert decoded.pixels.dtype == np.uint8
    assert np.abs(decoded.pixels - expected).mean() <= tolerance


@pytest.mark.parametrize("encode", [lambda p: encoded(p.convert("L"), "PNG"), sixteen_bit_grey])
def test_greys_of_8_and_16_bits_are_equal_in_all_channels(encode):
    pixels = decode(encode(picture(1, (200, 150))), SIZE).pixels
    expected = decode(encoded(picture(1, (200, 150)).convert("L"), "PNG"), SIZE).pixels
    assert np.ptp(pixels, axis=2).max() == 0
    assert np.abs(pixels.astype(int) - expected).max() <= 2


def test_animation_shows_its_first_frame():
    first, second = picture(1), picture(2)
    for kind, tolerance in (("GIF", 9), ("WEBP", 5)):
        data = encoded(first, kind, save_all=True, append_images=[second, second], duration=100)
        expected = decode(encoded(first, "PNG"), SIZE).pixels.astype(float)
        assert np.abs(decode(data, SIZE).pixels - expected).mean() < tolerance


def test_transparent_parts_show_white():
    image = picture(4, (100, 100)).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 100, 50))
    pixels = decode(encoded(image, "PNG"), SIZE).pixels
    assert (pixels[: SIZE // 2 - 3] == 255).all()
    assert (pixels[SIZE // 2 + 3 :] < 255).any()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_undone(orientation):
    upright = picture(5, (160, 100))
    # What a camera held that way stores: the inverse of what a viewer does.
    stored = {
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(Image.Transpose.ROTATE_180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(encoded(stored, "PNG", exif=exif), SIZE)
    assert (decoded.facts.width, decoded.facts.height) == (160, 100)
    expected = decode(encoded(upright, "PNG"), SIZE).pixels.astype(int)
    assert np.abs(decoded.pixels - expected).mean() < 1


def test_large_jpeg_at_reduced_scale_shows_what_a_full_decode_shows():
    photograph = picture(6, (4000, 3000))
    data = encoded(photograph, "JPEG", quality=92)
    side = 3000
    box = (500, 0, 500 + side, side)
    full = Image.open(io.BytesIO(data)).resize((224, 224), Image.Resampling.BICUBIC, box=box)
    decoded = decode(data, 224)
    assert (decoded.facts.width, decoded.facts.height) == (4000, 3000)
    assert np.abs(decoded.pixels - np.asarray(full, dtype=float)).mean() < 1


def test_colour_profile_is_applied_and_a_broken_one_ignored():
    plain = decode(png(7), SIZE).pixels.astype(int)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = decode(png(7, icc_profile=srgb), SIZE).pixels
    assert np.abs(same - plain).max() <= 2
    broken = decode(png(7, icc_profile=b"not a profile" * 20), SIZE).pixels
    assert np.array_equal(broken, plain)
    # The same profile with its red and blue primaries exchanged must exchange the colours.
    red, blue = srgb.index(b"rXYZ"), srgb.index(b"bXYZ")
    swapped = bytearray(srgb)
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    exchanged = decode(png(7, icc_profile=bytes(swapped)), SIZE).pixels
    assert np.abs(exchanged[..., ::-1] - plain).mean() < 3


def png_header(width: int, height: int) -> bytes:
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + ihdr
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return header + struct.pack(">I", 20) + b"IDAT" + bytes(24)


REJECTED = {
    "empty": (b"", "empty"),
    "text": (b"Dear doctor, the photograph is attached.\n", "not_an_image"),
    "noise": (bytes(range(256)) * 9, "not_an_image"),
    "pdf": (b"%PDF-1.7\n%...", "unsupported_format"),
    "dicom": (b"\0" * 128 + b"DICM" + b"\0" * 200, "unsupported_format"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_format"),
    "half a jpeg": (jpeg(1)[:2000], "truncated"),
    "half a png": (png(1)[:2000], "truncated"),
    "half a heic": (heic(picture(1))[:1500], "truncated"),
    "jpeg start marker alone": (b"\xff\xd8\xff", "corrupt"),
    "40 x 40": (png(1, (40, 40)), "too_small"),
    "1 x 5000": (png(1, (1, 5000)), "too_small"),
    "bomb": (png_header(60_000, 60_000), "too_many_pixels"),
    "no width": (png_header(0, 500), "corrupt"),
    "blank": (encoded(Image.new("RGB", (300, 200), (224, 172, 150)), "JPEG"), "blank"),
}


@pytest.mark.parametrize("kind", REJECTED)
def test_what_cannot_be_classified_says_why(kind):
    data, code = REJECTED[kind]
    assert code_of(data) == code
    assert RejectionCode(code).sentence.endswith(".")


def test_a_rejection_still_tells_what_the_header_told():
    with pytest.raises(ImageRejectedError) as caught:
        decode(png_header(60_000, 50_000), SIZE)
    assert caught.value.facts == ImageFacts("png", 60_000, 50_000)
    with pytest.raises(ImageRejectedError) as caught:
        decode(jpeg(1)[:2000], SIZE)
    assert caught.value.facts == ImageFacts("jpeg", 160, 120)


def test_a_fresh_process_tells_one_format_from_another():
    """Pillow loads decoders when it needs them: what another test has loaded must not be what makes this work."""
    code = (
        "import sys; from model_layer import ImageRejectedError, decode\n"
        "try: print(decode(sys.stdin.buffer.read(), 32).facts.format)\n"
        "except ImageRejectedError as error: print(error.code)"
    )
    for data, expected in ((b"plain text", b"not_an_image"), (encoded(picture(1), "WEBP"), b"webp")):
        run = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
        assert run.stdout.strip() == expected


def test_limits_are_inclusive():
    data = png(1, (100, 80))
    assert decode(data, SIZE, DecodingLimits(max_bytes=len(data), max_pixels=8000))
    assert code_of(data, DecodingLimits(max_bytes=len(data) - 1)) == "too_large"
    assert code_of(data, DecodingLimits(max_pixels=7999)) == "too_many_pixels"


SAMPLES = [jpeg(1), png(1), heic(picture(1))] + [encoded(picture(1), kind) for kind in ("GIF", "WEBP", "TIFF", "BMP")]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_files_are_decoded_or_rejected_and_nothing_else(data):
    damaged = bytearray(data.draw(st.sampled_from(SAMPLES)))
    for _ in range(data.draw(st.integers(0, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    with contextlib.suppress(ImageRejectedError):
        assert decode(bytes(damaged[:cut]), SIZE).pixels.shape == (SIZE, SIZE, 3)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_bytes_that_are_no_image_are_rejected(data):
    assert code_of(data) in set(RejectionCode)
