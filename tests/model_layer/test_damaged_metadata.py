"""Metadata that is damaged is ignored, and the image answered: whatever it is, and wherever it breaks off."""

from __future__ import annotations

import functools
import io
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from hostile.containers import jpeg_segment, png_chunk, riff, riff_chunk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from sample_images import encoded, picture

from model_layer import ImageRejectedError, decode

SIZE = 32
IMAGE = picture(4, (64, 64))
XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"


def in_jpeg(marker, body):
    data = encoded(IMAGE, "JPEG", quality=95)
    return data[:2] + jpeg_segment(marker, body[:65_000]) + data[2:]


def in_png(chunk, body):
    data = encoded(IMAGE, "PNG")
    return data[:33] + png_chunk(chunk, body) + data[33:]


def in_webp(flag, chunk, body):
    canvas = riff_chunk(b"VP8X", bytes([flag, 0, 0, 0]) + (63).to_bytes(3, "little") * 2)
    return riff(canvas, riff_chunk(chunk, body), encoded(IMAGE, "WEBP", lossless=True)[12:])


def in_tiff(tag, body, kind=7):
    """The body is behind the pixels, and one more entry in the directory points to it."""
    data = encoded(IMAGE, "TIFF")
    (start,) = struct.unpack_from("<L", data, 4)
    (entries,) = struct.unpack_from("<H", data, start)
    rows = [data[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(entries)]
    rows.append(struct.pack("<HHLL", tag, kind, len(body), len(data)))
    rows.sort(key=lambda row: struct.unpack("<H", row[:2]))
    end = len(data) + len(body)
    directory = struct.pack("<H", len(rows)) + b"".join(rows) + bytes(4)
    return data[:4] + struct.pack("<L", end) + data[8:] + body + directory


def in_heic(**options):
    buffer = io.BytesIO()
    pillow_heif.from_pillow(IMAGE).save(buffer, quality=95, **options)
    return buffer.getvalue()


EXIF = {
    "jpeg": lambda block: in_jpeg(0xE1, b"Exif\0\0" + block),
    "png": lambda block: in_png(b"eXIf", block),
    "webp": lambda block: in_webp(0x08, b"EXIF", block),
    "webp, marked": lambda block: in_webp(0x08, b"EXIF", b"Exif\0\0" + block),
    "tiff": lambda block: in_tiff(34665, block),
    "heic": lambda block: in_heic(exif=b"Exif\0\0" + block),
}
XMP = {
    "jpeg": lambda packet: in_jpeg(0xE1, XMP_MARK + packet),
    "png": lambda packet: in_png(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet),
    "png, compressed": lambda packet: in_png(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packet),
    "webp": lambda packet: in_webp(0x04, b"XMP ", packet),
    "tiff": lambda packet: in_tiff(700, packet, kind=1),
    "heic": lambda packet: in_heic(xmp=packet),
}
PROFILES = {
    "jpeg": lambda profile: in_jpeg(0xE2, b"ICC_PROFILE\0\1\1" + profile),
    "png": lambda profile: in_png(b"iCCP", b"p\0\0" + zlib.compress(profile)),
    "png, as it is": lambda profile: in_png(b"iCCP", profile),
    "webp": lambda profile: in_webp(0x20, b"ICCP", profile),
    "tiff": lambda profile: in_tiff(34675, profile),
}
OTHERS = {
    "jpeg, comment": lambda body: in_jpeg(0xFE, body),
    "jpeg, JFIF": lambda body: in_jpeg(0xE0, b"JFIF\0" + body),
    "jpeg, short JFIF": lambda body: in_jpeg(0xE0, (b"JFIF\0" + body)[:12]),
    "jpeg, short Adobe": lambda body: in_jpeg(0xEE, (b"Adobe" + body)[:11]),
    "jpeg, short profile": lambda body: in_jpeg(0xE2, (b"ICC_PROFILE\0" + body)[:13]),
    "png, text": lambda body: in_png(b"tEXt", b"Raw profile type exif\0" + body),
    "png, compressed text": lambda body: in_png(b"zTXt", b"Raw profile type exif\0\0" + body),
    "png, gamma": lambda body: in_png(b"gAMA", body),
    "png, primaries": lambda body: in_png(b"cHRM", body),
    "png, transfer": lambda body: in_png(b"cICP", body),
    "png, time": lambda body: in_png(b"tIME", body),
    "tiff, notes": lambda body: in_tiff(37500, body),
    "tiff, place": lambda body: in_tiff(34853, body),
}


def exif(order, kind):
    """One directory of two tags; the orientation is the last one, so that breaking off at the end breaks off there."""
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    value = {1: b"\6\0\0\0", 3: struct.pack(order + "HH", 6, 0), 4: struct.pack(order + "L", 6)}[kind]
    entries = struct.pack(order + "HHLL", 0x0100, 3, 1, 0) + struct.pack(order + "HHL", 0x0112, kind, 1) + value
    return mark + struct.pack(order + "LH", 8, 2) + entries


@functools.cache
def shown():
    """The image as it is, and turned by orientation 6, both of the decoder."""
    turned = IMAGE.transpose(Image.Transpose.ROTATE_270)
    return [decode(encoded(image, "PNG"), SIZE).pixels.astype(int) for image in (IMAGE, turned)]


def is_shown(data, *, any_orientation=False):
    pixels = decode(data, SIZE).pixels
    return any_orientation or min(np.abs(pixels - way).mean() for way in shown()) < 6


@pytest.mark.parametrize("kind", [1, 3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("where", EXIF)
def test_exif_that_breaks_off_anywhere(where, order, kind):
    whole = exif(order, kind)
    for length in range(len(whole)):
        assert is_shown(EXIF[where](whole[:length])), f"{length} bytes"


@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize(
    "make", [pytest.param(make, id=name) for kinds in (EXIF, XMP, PROFILES, OTHERS) for name, make in kinds.items()]
)
@given(body=st.binary(min_size=1, max_size=60))
def test_noise_instead_of_metadata(make, body):
    """It may turn the image or change its colours, where it happens to say so; the image is answered.

    Four bytes of `cICP` are code points. Where they name a space of colours that is not read, that is the answer.
    """
    try:
        assert is_shown(make(body), any_orientation=True)
    except ImageRejectedError as error:
        if (make is OTHERS["png, transfer"], len(body), error.code) != (True, 4, "unsupported_format"):
            raise


def gamma_chunk(gamma):
    """In a PNG; `gamma` in 1/100,000."""
    return in_png(b"gAMA", struct.pack(">L", gamma))


def with_gamma(gamma):
    """A profile of sRGB whose three curves are a power instead, up to 255."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = [profile[at : at + 12] for at in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12)]
    for start in {int.from_bytes(entry[4:8], "big") for entry in entries if entry[1:4] == b"TRC"}:
        profile[start : start + 14] = b"curv" + bytes(4) + struct.pack(">LH", 1, round(gamma * 256))
    return bytes(profile)


RUINOUS = {
    f"gamma {gamma}": functools.partial(gamma_chunk, gamma) for gamma in (1_000, 2_000, 1_500_000, 10_000_000)
} | {
    f"{where}, power {power}": functools.partial(PROFILES[where], with_gamma(power))
    for where in ("jpeg", "png", "webp", "tiff")
    for power in (1 / 256, 200)
}


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in RUINOUS.items()])
def test_colours_that_leave_nothing_of_the_picture_are_ignored(make):
    """Followed, they make any picture black or white, or nearly so, and an even one is `blank`."""
    assert np.abs(decode(make(), SIZE).pixels - shown()[0]).mean() < 6


@pytest.mark.parametrize("gamma", [20_000, 100_000, 220_000, 400_000])
def test_colours_that_leave_enough_of_it_are_followed(gamma):
    """A file darker or brighter than sRGB is shown so."""
    by_chunk = decode(gamma_chunk(gamma), SIZE).pixels
    by_profile = decode(PROFILES["png"](with_gamma(100_000 / gamma)), SIZE).pixels
    change = by_chunk.mean() - shown()[0].mean()
    assert (change > 20) == (gamma > 45_455)
    assert (change < -20) == (gamma < 45_455)
    assert np.abs(by_profile.astype(int) - by_chunk).mean() < 6


@pytest.mark.parametrize("where", PROFILES)
def test_a_profile_that_breaks_off_anywhere(where):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for length in range(1, len(profile), 9):
        assert is_shown(PROFILES[where](profile[:length])), f"{length} bytes"


@pytest.mark.parametrize("where", XMP)
def test_xmp_that_breaks_off_anywhere(where):
    packet = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    packet = zlib.compress(packet) if where.endswith("compressed") else packet
    for length in range(1, len(packet)):
        assert is_shown(XMP[where](packet[:length])), f"{length} bytes"
