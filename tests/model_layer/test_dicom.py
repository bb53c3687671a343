"""DICOM as skin clinics keep it: the right pixels of one photograph, little work, and nothing told of a person."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from dicom_objects import DERMOSCOPIC, SECRETS, VL_PHOTOGRAPHIC, deflated, native, native_header, photograph
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)
from sample_images import encoded, picture

from model_layer import DecodingLimits, ImageFacts, ImageRejectedError, decode

ROOT = Path(__file__).parents[2]
SIZE = 64
SHAPE = (160, 120)
PICTURE = picture(3, SHAPE)
JPEG = encoded(PICTURE, "JPEG", quality=95)


def shown(image=PICTURE):
    return decode(encoded(image, "PNG"), SIZE).pixels.astype(int)


def off(data, image=PICTURE):
    decoded = decode(data, SIZE)
    assert decoded.facts == ImageFacts("dicom", *SHAPE)
    return np.abs(decoded.pixels - shown(image)).mean()


def refused(data, limits=None):
    with pytest.raises(ImageRejectedError) as caught:
        decode(data, SIZE, limits or DecodingLimits())
    return caught.value


WAYS = {
    "dermoscopic": {},
    "VL photographic": {"sop_class": VL_PHOTOGRAPHIC},
    "one frame, told": {"frames": "1"},
    "in fragments": {"fragments": 7},
    "without its preamble": {"preamble": False},
    "without preamble and meta information": {"meta": False},
    "behind nested sequences": {"nested": 9},
    "with a window, which colours have none of": {"WindowCenter": "128", "WindowWidth": "9"},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_jpeg_is_shown_as_the_jpeg_itself(way):
    data = photograph(JPEG, SHAPE, **WAYS[way])
    assert np.array_equal(decode(data, SIZE).pixels, decode(JPEG, SIZE).pixels)
    assert off(data) < 2


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"optimize": True}])
def test_every_kind_of_jpeg_that_is_decoded_is_decoded_in_an_object(options):
    data = encoded(PICTURE, "JPEG", quality=95, **options)
    assert np.array_equal(decode(photograph(data, SHAPE), SIZE).pixels, decode(data, SIZE).pixels)


def test_a_large_jpeg_is_decoded_at_reduced_scale():
    large = encoded(picture(6, (2400, 1800)), "JPEG", quality=90)
    decoded = decode(photograph(large, (2400, 1800)), SIZE)
    assert np.array_equal(decoded.pixels, decode(large, SIZE).pixels)
    assert decoded.facts == ImageFacts("dicom", 2400, 1800)


def test_the_end_of_the_file_is_not_needed():
    data = photograph(JPEG, SHAPE)
    assert data.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0")
    assert off(data[:-8]) < 2


def without_marks(data, identifiers=None):
    """A JPEG without application segments, and with other identifiers of its three components."""
    kept, at = bytearray(data[:2]), 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        kept += b"" if 0xE0 <= data[at + 1] <= 0xEF else data[at:end]
        at = end
    kept += data[at:]
    frame, scan = kept.index(b"\xff\xc0"), kept.index(b"\xff\xda")
    for n, identifier in enumerate(identifiers or ()):
        kept[frame + 10 + 3 * n] = kept[scan + 5 + 2 * n] = identifier
    return bytes(kept)


AS_RGB = encoded(PICTURE, "JPEG", quality=95, keep_rgb=True, subsampling=0)
AS_YCBCR = encoded(PICTURE, "JPEG", quality=95, subsampling=0)
COLOURS = {
    # What the codestream says counts, whatever the tag says
    "JFIF, tagged RGB": (JPEG, "RGB"),
    "JFIF of full chroma, tagged RGB": (AS_YCBCR, "RGB"),
    "Adobe's RGB, tagged YBR": (AS_RGB, "YBR_FULL_422"),
    "components R, G, B, tagged YBR": (without_marks(AS_RGB, b"RGB"), "YBR_FULL_422"),
    "halved chroma, tagged RGB": (without_marks(JPEG), "RGB"),
    "tables of their own for chroma, tagged RGB": (without_marks(AS_YCBCR), "RGB"),
    # Where it says nothing, the tag
    "unmarked RGB": (without_marks(AS_RGB, b"\1\2\3"), "RGB"),
    "unmarked RGB, counted from 0": (without_marks(AS_RGB, b"\0\1\2"), "RGB"),
    "unmarked YBR": (without_marks(AS_YCBCR), "YBR_FULL"),
}


@pytest.mark.parametrize("name", COLOURS)
def test_colours_are_those_of_the_codestream(name):
    data, photometric = COLOURS[name]
    assert off(photograph(data, SHAPE, photometric=photometric)) < 2


def planes(image):
    return b"".join(plane.tobytes() for plane in image.split())


GREY = PICTURE.convert("L")
PLAIN = {
    "RGB": ({}, PICTURE, PICTURE),
    "RGB in planes": ({"pixels": planes(PICTURE), "PlanarConfiguration": 1}, PICTURE, PICTURE),
    "RGB, implicit": ({"syntax": ImplicitVRLittleEndian}, PICTURE, PICTURE),
    "RGB, deflated": ({"syntax": DeflatedExplicitVRLittleEndian}, PICTURE, PICTURE),
    "RGB, without meta information": ({"meta": False, "syntax": ExplicitVRLittleEndian}, PICTURE, PICTURE),
    "YBR": ({}, PICTURE.convert("YCbCr"), PICTURE),
    "greys": ({}, GREY, GREY),
    "greys, inverted": ({"photometric": "MONOCHROME1"}, GREY.point(lambda level: 255 - level), GREY),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_samples_are_shown_exactly(name):
    options, stored, expected = PLAIN[name]
    assert off(native(stored, **options), expected) <= (2 if name == "YBR" else 0)


def profile():
    """SRGB with red and blue exchanged: who applies it exchanges the colours."""
    srgb = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = srgb.index(b"rXYZ"), srgb.index(b"bXYZ")
    srgb[red : red + 4], srgb[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(srgb)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_the_objects_profile_is_applied(syntax):
    red, green, blue = PICTURE.split()
    exchanged = Image.merge("RGB", (blue, green, red))
    assert off(native(PICTURE, syntax=syntax, ICCProfile=profile()), exchanged) < 3
    # It goes before a JPEG's own.
    own = encoded(
        PICTURE, "JPEG", quality=95, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    )
    assert off(photograph(own, SHAPE, ICCProfile=profile()), exchanged) < 3


def test_an_orientation_that_a_camera_left_in_the_jpeg_says_nothing():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert off(photograph(encoded(PICTURE, "JPEG", quality=95, exif=exif), SHAPE)) < 2


def with_frame(marker, precision=8):
    data, at = bytearray(JPEG), JPEG.index(b"\xff\xc0\0")
    data[at + 1], data[at + 4] = marker, precision
    return bytes(data)


OTHERS = {
    "another object": (photograph(JPEG, SHAPE, sop_class="1.2.840.10008.5.1.4.1.1.2"), "other than"),
    "a slide": (photograph(JPEG, SHAPE, sop_class="1.2.840.10008.5.1.4.1.1.77.1.6"), "other than"),
    "an object of no class": (native_header(ExplicitVRLittleEndian) + bytes(8), "other than"),
    "several frames": (photograph(JPEG, SHAPE, frames="2"), "several frames"),
    "JPEG 2000": (photograph(b"\xff\x4f\xff\x51" + bytes(99), SHAPE, syntax=JPEG2000Lossless), "JPEG 2000"),
    "run lengths": (photograph(bytes(99), SHAPE, syntax=RLELossless), "run lengths"),
    "lossless": (photograph(with_frame(0xC3), SHAPE), "neither baseline nor progressive"),
    "JPEG-LS": (photograph(with_frame(0xF7), SHAPE), "neither baseline nor progressive"),
    "12 bits": (photograph(with_frame(0xC1, 12), SHAPE), "neither baseline nor progressive"),
    "inverted JPEG": (
        photograph(encoded(GREY, "JPEG"), SHAPE, photometric="MONOCHROME1", samples=1),
        "inverted",
    ),
    "16 bits": (native(GREY, BitsAllocated=16, pixels=bytes(2 * 160 * 120)), "16 bits"),
    "palette": (native(GREY, photometric="PALETTE COLOR"), "colours"),
    "a window over greys": (native(GREY, WindowCenter="90", WindowWidth="50"), "window"),
    "coded, but not in fragments": (
        native(PICTURE).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"),
        "fragments",
    ),
    "big-endian": (native_header("1.2.840.10008.1.2.2") + b"\0\x08\0\x16UI\0\0", "big-endian"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_objects_are_named(name):
    data, named = OTHERS[name]
    error = refused(data)
    assert error.code == "unsupported_format"
    assert named in str(error)
    assert "DICOM" in str(error)


@pytest.mark.parametrize("data", [b"\2\0\0\0\4\0\0\0" + bytes(99), b"\x08\0\1\0\4\0\0\0" + b"\7" * 99])
def test_a_file_that_only_begins_like_an_object_is_none(data):
    assert refused(data).code == "not_an_image"


def test_what_breaks_off_is_truncated():
    for whole in (photograph(JPEG, SHAPE), native(PICTURE)):
        ends = [200, 400, len(whole) - 3000] + [whole.index(b"\xe0\x7f\x10\0") + n for n in (0, 5, 11, 12, 21)]
        assert {refused(whole[:end]).code for end in ends} <= {"truncated", "unsupported_format", "corrupt"}
        assert refused(whole[: len(whole) - 3000]).code == "truncated"


def test_limits_hold_inside_an_object():
    assert refused(photograph(JPEG, SHAPE), DecodingLimits(max_pixels=160 * 120 - 1)).code == "too_many_pixels"
    assert refused(native(PICTURE), DecodingLimits(max_pixels=160 * 120 - 1)).code == "too_many_pixels"
    small = picture(3, (40, 40))
    assert refused(photograph(encoded(small, "JPEG"), (40, 40))).code == "too_small"


def element(group, number, vr, value=b""):
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


HEADER = native_header(ExplicitVRLittleEndian)
OPEN_SEQUENCE = b"\x09\0\x01\0SQ\0\0\xff\xff\xff\xff"
OPEN_ITEM, END_ITEM = b"\xfe\xff\0\xe0\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\0\0\0\0"
END_SEQUENCE, EMPTY_ITEM = b"\xfe\xff\xdd\xe0\0\0\0\0", b"\xfe\xff\0\xe0\0\0\0\0"
FILLERS = {
    "empty elements": (HEADER, element(9, 1, b"LO")),
    "empty elements of the meta information": (HEADER[:144], element(2, 1, b"LO")),
    "empty elements, implicit": (native_header(ImplicitVRLittleEndian), b"\x09\0\x01\0\0\0\0\0"),
    "sequences without an end": (HEADER, OPEN_SEQUENCE),
    "sequences in sequences": (HEADER, OPEN_SEQUENCE + OPEN_ITEM),
    "empty sequences": (HEADER, OPEN_SEQUENCE + END_SEQUENCE),
    "empty items": (HEADER + OPEN_SEQUENCE, EMPTY_ITEM),
    "values without an end": (HEADER, b"\x09\0\x01\0OB\0\0\xff\xff\xff\xff"),
    "fragments": (photograph(JPEG, SHAPE)[: -len(JPEG) - 24], EMPTY_ITEM),
    "character sets": (HEADER, element(8, 5, b"CS", b"A\\" * 32000)),
    "character sets, in items": (
        HEADER,
        OPEN_SEQUENCE + OPEN_ITEM + element(8, 5, b"CS", b"A\\" * 32000) + END_ITEM + END_SEQUENCE,
    ),
    "a million character sets": (native_header(ImplicitVRLittleEndian) + b"\x08\0\x05\0\0\0\x10\0", b"A\\"),
}


@pytest.mark.parametrize("name", FILLERS)
def test_a_header_of_a_megabyte_takes_less_than_a_second(name):
    head, filler = FILLERS[name]
    data = head + filler * (2**20 // len(filler))
    decode_once = refused(data[: len(head)] or b"x")  # imports pydicom, which is not what is timed
    assert decode_once.code
    began = time.process_time()
    refused(data)
    assert time.process_time() - began < 1


def test_a_deflated_object_is_inflated_up_to_the_limit_of_a_file():
    bomb = deflated(bytes(200 * 2**20))
    assert len(bomb) < 2**18
    assert refused(bomb).code == "too_costly"
    assert refused(native_header(DeflatedExplicitVRLittleEndian) + b"\xff" * 99).code == "corrupt"
    whole = native(PICTURE, syntax=DeflatedExplicitVRLittleEndian)
    assert refused(whole[: len(whole) // 2]).code == "truncated"


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_objects_are_decoded_or_rejected_and_nothing_else(data):
    sound = data.draw(st.sampled_from([photograph(JPEG, SHAPE, nested=2), native(GREY, meta=False), native(PICTURE)]))
    damaged = bytearray(sound)
    reach = data.draw(st.sampled_from([700, len(damaged)]))
    for _ in range(data.draw(st.integers(0, 8))):
        damaged[data.draw(st.integers(0, reach - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(damaged[: data.draw(st.integers(1, len(damaged)))]), SIZE)
    except ImageRejectedError as error:
        assert not any(secret in str(error) for secret in SECRETS)  # noqa: PT017 (either is right)
    else:
        assert decoded.pixels.shape == (SIZE, SIZE, 3)


LOUD = """
import json, logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
from model_layer import ImageRejectedError, decode
for path in sys.argv[1:]:
    data = open(path, "rb").read()
    try: print(repr(decode(data, 64).facts))
    except ImageRejectedError as error: print(error.code, error, repr(error.facts))
print(json.dumps("pydicom" in sys.modules))
"""


def loudly(*files):
    """What a process says that logs everything and shows each warning, as Lambda's log would keep it."""
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "always", "-c", LOUD, *map(str, files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout, run.stderr


def test_nothing_of_a_patient_is_logged_even_where_pydicom_has_remarks(tmp_path):
    odd = {
        "sound": photograph(JPEG, SHAPE, nested=3),
        "cut": photograph(JPEG, SHAPE)[:500],
        "explicit called implicit": photograph(JPEG, SHAPE).replace(
            b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2\0\0\0\0\0"
        ),
        "character set unheard of": photograph(JPEG, SHAPE, SpecificCharacterSet="Doe^Jane"),
        "a name for a number": photograph(JPEG, SHAPE).replace(b"\x28\0\x10\0US\2\0", b"\x28\0\x10\0PN\2\0"),
        "another object": photograph(JPEG, SHAPE, sop_class="1.2.826.0.1.3680043.8.498.222"),
        "several frames": photograph(JPEG, SHAPE, frames="19610203"),
        "a value without its end": native_header(ExplicitVRLittleEndian)
        + b"\x10\0\x10\0OB\0\0\xff\xff\xff\xffDoe^Jane",
        "no delimiter": photograph(JPEG, SHAPE, nested=2).replace(END_SEQUENCE, bytes(8)),
    }
    files = [tmp_path / f"{number}.dcm" for number in range(len(odd))]
    for file, data in zip(files, odd.values(), strict=True):
        file.write_bytes(data)
    out, err = loudly(*files)
    assert out.count("\n") >= len(odd)
    assert "dicom" in out
    assert "pydicom" not in out + err  # neither its log nor its warnings
    for secret in SECRETS:
        assert secret not in out + err


def test_pydicom_is_imported_with_the_first_object_and_no_earlier(tmp_path):
    for name, data, expected in (
        ("a.jpg", JPEG, False),
        ("a.txt", b"no image at all", False),
        ("a.dcm", photograph(JPEG, SHAPE), True),
    ):
        (tmp_path / name).write_bytes(data)
        out, _ = loudly(tmp_path / name)
        assert json.loads(out.splitlines()[-1]) is expected


def test_a_preamble_that_begins_like_a_tiff_does_not_hide_the_object():
    """PS3.10, 7.1: the preamble may hold another format's header."""
    data = photograph(JPEG, SHAPE)
    buffer = io.BytesIO(data)
    buffer.write(b"II*\0" + struct.pack("<L", 8))
    assert off(buffer.getvalue()) < 2
    assert DERMOSCOPIC.encode() in data
