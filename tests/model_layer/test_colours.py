"""Colours as a good viewer shows them, held against littleCMS over the whole image; or a reason."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from hostile.containers import jpeg_segment, png_chunk
from hypothesis import given, settings
from hypothesis import strategies as st
from icc import ADOBE, BT2020, P3, SRGB, WIDE_GAMUT, grey_profile, rgb_profile
from PIL import Image, ImageCms
from sample_images import encoded, picture

from model_layer import ImageRejectedError, decode

SIZE = 64
WITHIN = 2.0
"""Mean difference, of 255."""
PICTURE = picture(7, (320, 240))


def shown(data):
    return decode(data, SIZE).pixels.astype(int)


def square(image):
    """What the decoder makes of an image that is in sRGB already."""
    return shown(encoded(image.convert("RGB"), "PNG"))


def by_littlecms(image, profile):
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(
        image, source, ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC, outputMode="RGB"
    )
    return square(converted)


def difference(data, expected):
    return np.abs(shown(data) - expected).mean()


def with_chunks(image, *chunks, **options):
    data = encoded(image, "PNG", **options)
    return data[:33] + b"".join(chunks) + data[33:]


def gamma(value):
    return png_chunk(b"gAMA", struct.pack(">L", round(value * 100_000)))


def chromaticities(primaries):
    red_to_blue, white = primaries[:6], primaries[6:]
    return png_chunk(b"cHRM", struct.pack(">8L", *(round(number * 100_000) for number in (*white, *red_to_blue))))


def codes(primaries, transfer, matrix=0, full_range=1):
    return png_chunk(b"cICP", bytes([primaries, transfer, matrix, full_range]))


TOLD_IN_NUMBERS = {
    "gamma 1.0": ([gamma(1.0)], SRGB, 1.0),
    "gamma 1/1.8": ([gamma(1 / 1.8)], SRGB, 1.8),
    "gamma 1/2.2, Adobe's primaries": ([gamma(1 / 2.2), chromaticities(ADOBE)], ADOBE, None),
    "gamma 1/1.8, another white": ([gamma(1 / 1.8), chromaticities(WIDE_GAMUT)], WIDE_GAMUT, 1.8),
    "P3 by code points": ([codes(12, 13)], P3, None),
    "BT.2020 primaries": ([codes(9, 13)], BT2020, None),
    "linear light": ([codes(1, 8)], SRGB, 1.0),
    "gamma 2.2 of BT.2020": ([codes(9, 4)], BT2020, 2.2),
    "code points before gamma": ([gamma(1.0), codes(12, 13)], P3, None),
}


@pytest.mark.parametrize("kind", TOLD_IN_NUMBERS)
@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA", "L"])
def test_a_png_tells_its_colours_in_numbers(kind, mode):
    chunks, primaries, exponent = TOLD_IN_NUMBERS[kind]
    image = PICTURE.quantize(64) if mode == "P" else PICTURE.convert(mode)
    expected = by_littlecms(image.convert("RGB"), rgb_profile(primaries, exponent))
    assert difference(with_chunks(image, *chunks), expected) < WITHIN
    if mode == "RGB":
        assert np.abs(square(image) - expected).mean() > 1.5 * WITHIN  # it matters


@pytest.mark.parametrize(
    "chunks",
    [
        [gamma(1 / 2.2)],
        [gamma(1 / 2.2), chromaticities(SRGB)],
        [png_chunk(b"sRGB", b"\0"), gamma(1.0)],
        [codes(1, 13)],
        [codes(1, 1)],
        [codes(2, 2)],
        [codes(9, 16, matrix=9)],
        [png_chunk(b"cICP", b"\x09")],
        [gamma(0)],
        [png_chunk(b"gAMA", b"")],
        [gamma(1 / 2.2), chromaticities([0] * 8)],
        [gamma(1 / 2.2), chromaticities([0.3] * 8)],
        [gamma(1 / 2.2), chromaticities([40_000] * 8)],
    ],
    ids=str,
)
def test_what_is_srgb_or_makes_no_sense_changes_nothing(chunks):
    assert np.array_equal(shown(with_chunks(PICTURE, *chunks)), square(PICTURE))


def test_a_profile_outranks_gamma_and_code_points_outrank_a_profile():
    adobe = rgb_profile(ADOBE, 563 / 256)
    expected = by_littlecms(PICTURE, adobe)
    assert difference(with_chunks(PICTURE, gamma(1.0), icc_profile=adobe), expected) < WITHIN
    assert np.array_equal(shown(with_chunks(PICTURE, codes(1, 13), icc_profile=adobe)), square(PICTURE))
    broken = with_chunks(PICTURE, gamma(1.0), icc_profile=b"not a profile" * 20)
    assert difference(broken, by_littlecms(PICTURE, rgb_profile(SRGB, 1.0))) < WITHIN


def test_video_range_is_stretched():
    narrow = Image.fromarray(np.rint(np.asarray(PICTURE) * (219 / 255) + 16).astype(np.uint8))
    assert difference(with_chunks(narrow, codes(1, 13, full_range=0)), square(PICTURE)) < 1


def in_hdr(image, transfer, brightest=203.0):
    """The image as BT.2100 would store it, its white at so many cd/m2 (BT.2408 has it at 203)."""
    signal = np.asarray(image) / 255
    light = np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)
    # BT.709's primaries in BT.2020's, both linear (BT.2087, M2).
    nits = (
        brightest * light @ np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]).T
    )
    if transfer == 16:
        power = (nits / 10_000) ** (2610 / 16384)
        encoded = ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    else:
        display = nits / 1000
        luminance = np.maximum(display @ [0.2627, 0.6780, 0.0593], 1e-9)[..., None]
        scene = display * luminance ** (1 / 1.2 - 1)
        encoded = np.where(
            scene <= 1 / 12,
            np.sqrt(3 * scene),
            0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
        )
    return Image.fromarray(np.rint(np.clip(encoded, 0, 1) * 255).astype(np.uint8))


@pytest.mark.parametrize("transfer", [16, 18], ids=["PQ", "HLG"])
def test_hdr_without_highlights_is_shown_as_it_was(transfer):
    stored = in_hdr(PICTURE, transfer)
    assert difference(with_chunks(stored, codes(9, transfer)), square(PICTURE)) < WITHIN
    assert np.abs(square(stored) - square(PICTURE)).mean() > 10


@pytest.mark.parametrize("transfer", [16, 18], ids=["PQ", "HLG"])
def test_hdr_highlights_are_compressed_and_not_cut(transfer):
    """A ramp of greys up to five times white: it rises all the way to white, and what is dark stays as it is."""
    ramp = Image.linear_gradient("L").convert("RGB")  # top to bottom
    rows = shown(with_chunks(in_hdr(ramp, transfer, brightest=1000.0), codes(9, transfer)))[:, SIZE // 2, 1]
    assert (np.diff(rows) >= 0).all()
    assert rows[-1] >= 250
    signal = square(ramp)[:, SIZE // 2, 1] / 255
    light = 1000 / 203 * np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)
    cut = 255 * np.clip(1.055 * light ** (1 / 2.4) - 0.055, 0, 1)
    assert (cut == 255).mean() > 0.45
    assert (rows == 255).mean() < 0.25
    assert np.abs(rows - cut)[(cut > 20) & (cut < 120)].max() < 6


@pytest.mark.parametrize("told", [(9, 17), (1, 9), (10, 13), (200, 13)], ids=str)
def test_colours_that_cannot_be_converted_are_a_reason(told):
    with pytest.raises(ImageRejectedError) as caught:
        shown(with_chunks(PICTURE, codes(*told)))
    assert caught.value.code == "unsupported_format"


def heic(image, **options):
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=95, chroma=444, **options)
    return buffer.getvalue()


def test_a_heic_tells_its_colours_by_code_points():
    p3 = {"color_primaries": 12, "transfer_characteristics": 13, "matrix_coefficients": 6, "full_range_flag": 1}
    assert difference(heic(PICTURE, **p3), by_littlecms(PICTURE, rgb_profile(P3))) < WITHIN
    for transfer in (16, 18):
        hdr = {"color_primaries": 9, "transfer_characteristics": transfer, "matrix_coefficients": 9}
        stored = in_hdr(PICTURE, transfer)
        for full_range in (0, 1):
            assert difference(heic(stored, **hdr, full_range_flag=full_range), square(PICTURE)) < 3
    assert difference(heic(PICTURE), square(PICTURE)) < WITHIN


def interoperability(index, space=0xFFFF, *, order="<"):
    """An EXIF block whose interoperability directory says R98 (sRGB) or R03 (Adobe RGB)."""

    def directory(*entries):
        return struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)

    first = directory(struct.pack(order + "HHLL", 0x8769, 4, 1, 26))
    second = directory(
        struct.pack(order + "HHLHH", 0xA001, 3, 1, space, 0), struct.pack(order + "HHLL", 0xA005, 4, 1, 56)
    )
    third = directory(struct.pack(order + "HHL4s", 1, 2, 4, index + b"\0"))
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8) + first + second + third


BY_EXIF = {
    "jpeg": lambda exif: encoded(PICTURE, "JPEG", quality=95, subsampling=0, exif=b"Exif\0\0" + exif),
    "png": lambda exif: encoded(PICTURE, "PNG", exif=exif),
    "webp": lambda exif: encoded(PICTURE, "WEBP", lossless=True, exif=exif),
    "heic": lambda exif: heic(PICTURE, save_nclx_profile=False, exif=exif),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", BY_EXIF)
def test_adobe_rgb_by_exif(kind, order):
    expected = by_littlecms(PICTURE, rgb_profile(ADOBE, 563 / 256))
    assert np.abs(expected - square(PICTURE)).mean() > 2 * WITHIN
    assert difference(BY_EXIF[kind](interoperability(b"R03", order=order)), expected) < WITHIN
    assert difference(BY_EXIF[kind](interoperability(b"R98", 1, order=order)), square(PICTURE)) < WITHIN
    assert difference(BY_EXIF[kind](interoperability(b"R98", 2, order=order)), expected) < WITHIN


def test_a_profile_outranks_exif():
    srgb = rgb_profile(SRGB)
    data = encoded(PICTURE, "JPEG", quality=95, exif=b"Exif\0\0" + interoperability(b"R03"), icc_profile=srgb)
    assert difference(data, square(PICTURE)) < WITHIN


DARK_GREY = grey_profile(1.0)
GREYS = {
    "grey": lambda p: encoded(p, "PNG", icc_profile=DARK_GREY),
    "grey, jpeg": lambda p: encoded(p, "JPEG", quality=95, icc_profile=DARK_GREY),
    "grey and alpha": lambda p: encoded(with_opaque_alpha(p), "PNG", icc_profile=DARK_GREY),
    "16 bits": lambda p: encoded(Image.fromarray(np.asarray(p).astype(np.uint16) * 257), "PNG", icc_profile=DARK_GREY),
    "palette": lambda p: encoded(grey_palette(p), "PNG", icc_profile=DARK_GREY),
    "RGB that is all grey": lambda p: encoded(p.convert("RGB"), "PNG", icc_profile=DARK_GREY),
}


def with_opaque_alpha(grey):
    image = grey.convert("LA")
    image.putpixel((0, 0), (0, 254))  # else Pillow's writer could do without
    return image


def grey_palette(grey):
    image = Image.frombytes("P", grey.size, bytes(255 - level for level in grey.tobytes()))
    image.putpalette([255 - level // 3 for level in range(768)])
    return image


@pytest.mark.parametrize("kind", GREYS)
def test_a_grey_profile_is_applied_whatever_is_beside_it(kind):
    grey = PICTURE.convert("L")
    expected = by_littlecms(grey, DARK_GREY)
    assert np.abs(expected - square(grey)).mean() > 20
    assert difference(GREYS[kind](grey), expected) < WITHIN


def test_a_profile_of_another_kind_of_image():
    """A grey JPEG's may be of RGB, as ImageMagick applies it; a grey PNG's may not, and libpng drops it."""
    grey, linear = PICTURE.convert("L"), rgb_profile(ADOBE, 1.0)
    expected = by_littlecms(grey.convert("RGB"), linear)
    assert difference(encoded(grey, "JPEG", quality=95, icc_profile=linear), expected) < WITHIN
    for image in (grey, with_opaque_alpha(grey)):
        assert difference(encoded(image, "PNG", icc_profile=linear), square(grey)) < 0.1
    assert np.array_equal(shown(encoded(PICTURE, "PNG", icc_profile=DARK_GREY)), square(PICTURE))


def test_half_transparent_greys_are_blended_after_their_profile():
    grey = PICTURE.convert("L")
    half = grey.convert("LA")
    half.putalpha(128)
    expected = (by_littlecms(grey, DARK_GREY) * 128 + 255 * 127) / 255
    assert difference(encoded(half, "PNG", icc_profile=DARK_GREY), expected) < WITHIN


def pieces(profile, size=200):
    return [profile[at : at + size] for at in range(0, len(profile), size)]


def jpeg_with(*numbered):
    """A JPEG with a profile in pieces of (number, count, content)."""
    data = encoded(PICTURE, "JPEG", quality=95, subsampling=0)
    segments = b"".join(
        jpeg_segment(0xE2, b"ICC_PROFILE\0" + bytes([number, count]) + content) for number, count, content in numbered
    )
    return data[:2] + segments + data[2:]


LINEAR = rgb_profile(ADOBE, 1.0)
PARTS = pieces(LINEAR)
BADLY_NUMBERED = {
    "as the standard has it": [(n, len(PARTS), part) for n, part in enumerate(PARTS, 1)],
    "count of 0": [(n, 0, part) for n, part in enumerate(PARTS, 1)],
    "count too large": [(n, 9, part) for n, part in enumerate(PARTS, 1)],
    "numbers from 0": [(n, len(PARTS), part) for n, part in enumerate(PARTS)],
    "all of them the first": [(1, 1, part) for part in PARTS],
    "in another order": [(n, len(PARTS), part) for n, part in reversed(list(enumerate(PARTS, 1)))],
    "twice": [(n, len(PARTS), part) for n, part in enumerate(PARTS, 1)] * 2,
    "whole, twice": [(1, 1, LINEAR)] * 2,
    "more behind it": [(1, 2, LINEAR), (2, 2, bytes(100))],
}


@pytest.mark.parametrize("kind", BADLY_NUMBERED)
def test_a_profile_in_badly_numbered_pieces(kind):
    assert len(PARTS) > 1
    assert difference(jpeg_with(*BADLY_NUMBERED[kind]), by_littlecms(PICTURE, LINEAR)) < WITHIN


def test_a_profile_that_lacks_a_piece_is_ignored():
    plain = shown(jpeg_with())
    assert np.array_equal(shown(jpeg_with((1, 2, PARTS[0]))), plain)
    assert np.array_equal(shown(jpeg_with((1, 1, b""), (2, 2, b"x"))), plain)


def test_a_profile_between_frame_and_scan_is_found():
    data, profile = (
        encoded(PICTURE, "JPEG", quality=95, subsampling=0),
        jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + LINEAR),
    )
    scan = data.index(b"\xff\xda")
    assert difference(data[:scan] + profile + data[scan:], by_littlecms(PICTURE, LINEAR)) < WITHIN


def bitmap(alpha, masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000), header=124):
    """A 32-bit BMP with a version 4 or 5 header, which has a mask for transparency; `alpha` as (height, width)."""
    order = [(mask.bit_length() // 8) - 1 for mask in masks]
    channels = np.dstack([np.asarray(PICTURE), alpha])[::-1]
    stored = np.zeros_like(channels)
    for channel, place in enumerate(order):
        stored[..., place] = channels[..., channel]
    body = stored.tobytes()
    head = struct.pack("<LllHHLLllLL", header, *PICTURE.size, 1, 32, 3, len(body), 0, 0, 0, 0)
    head = (head + struct.pack("<4L", *masks) + b"BGRs").ljust(header, b"\0")
    return b"BM" + struct.pack("<LHHL", 14 + header + len(body), 0, 0, 14 + header) + head + body


@pytest.mark.parametrize("header", [108, 124])
@pytest.mark.parametrize(
    "masks", [(0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xFF, 0xFF00, 0xFF0000, 0xFF000000)], ids=["BGRA", "RGBA"]
)
def test_a_bitmap_whose_alpha_is_zero_everywhere_is_opaque(masks, header):
    clear = np.zeros((240, 320), dtype=np.uint8)
    assert difference(bitmap(clear, masks, header), square(PICTURE)) < 0.1
    half = clear.copy()
    half[:120] = 255
    pixels = shown(bitmap(half, masks, header))
    assert (pixels[SIZE // 2 + 3 :] == 255).all()
    assert np.abs(pixels[: SIZE // 2 - 3] - square(PICTURE)[: SIZE // 2 - 3]).mean() < 1


def keyed_png(samples, depth, kind, key):
    """A PNG of (height, width) greys or (height, width, 3) RGB, of so many bits a sample; one is transparent."""
    height, width = samples.shape[:2]
    bits = np.unpackbits(samples.astype(">u2").reshape(height, -1, 1).view(np.uint8), axis=2)[..., 16 - depth :]
    rows = np.packbits(bits.reshape(height, -1), axis=1)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">LLBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [png_chunk(b"IHDR", header), png_chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + png_chunk(b"IDAT", body) + png_chunk(b"IEND")


@pytest.mark.parametrize("depth", [2, 4, 8, 16])
def test_the_grey_that_is_transparent_shows_white(depth):
    most = 2**depth - 1
    samples = np.tile(np.linspace(0, most, 100).round().astype(np.uint16), (100, 1))
    samples[50:, :10] = most // 3 + 1  # the next level is another colour
    samples[:50] = most // 3
    pixels = shown(keyed_png(samples, depth, 0, (most // 3,)))
    assert (pixels[: SIZE // 2 - 3] == 255).all()
    assert pixels[SIZE - 3, 0, 0] < 255
    assert pixels[SIZE // 2 + 3 :].min() < 100


def test_black_that_is_transparent_in_one_bit_leaves_nothing():
    samples = np.tile(np.arange(100, dtype=np.uint16) // 50, (100, 1))
    assert np.ptp(shown(keyed_png(samples, 1, 0, (1,)))) == 255
    with pytest.raises(ImageRejectedError) as caught:
        shown(keyed_png(samples, 1, 0, (0,)))
    assert caught.value.code == "blank"


def test_the_colour_that_is_transparent_shows_white():
    samples = np.asarray(PICTURE).astype(np.uint16)
    samples[:120] = (200, 30, 40)
    pixels = shown(keyed_png(samples, 8, 2, (200, 30, 40)))
    assert (pixels[: SIZE // 2 - 3] == 255).all()
    assert np.abs(pixels[SIZE // 2 + 3 :] - square(PICTURE)[SIZE // 2 + 3 :]).mean() < 1
    other = shown(keyed_png(samples, 8, 2, (200, 30, 41)))
    assert (other[: SIZE // 2 - 3] < 255).any()


def test_a_transparent_colour_of_16_bits_is_a_reason():
    """Decoded to 8 bits, others would be taken for it."""
    with pytest.raises(ImageRejectedError) as caught:
        shown(keyed_png(np.asarray(PICTURE).astype(np.uint16) * 257, 16, 2, (1, 2, 3)))
    assert caught.value.code == "unsupported_format"


KINDS = [b"cICP", b"gAMA", b"cHRM", b"sRGB", b"tRNS", b"iCCP", b"eXIf", b"zTXt", b"tEXt", b"iTXt"]
KEYWORDS = [
    b"",
    b"Raw profile type exif\0",
    b"Raw profile type icc\0\0",
    b"XML:com.adobe.xmp\0",
    b"Raw profile type APP1\0",
]


SMALL = {mode: encoded(picture(1, (64, 64)).convert("L").convert(mode), "PNG") for mode in ("L", "LA", "RGB", "P")}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(KEYWORDS), st.binary(max_size=40)), max_size=4),
    st.sampled_from(sorted(SMALL)),
)
def test_odd_metadata_never_makes_a_sound_png_a_damaged_one(chunks, mode):
    data = SMALL[mode]
    odd = b"".join(png_chunk(kind, word + body) for kind, word, body in chunks)
    try:
        decode(data[:33] + odd + data[33:], SIZE)
    except ImageRejectedError as error:
        assert error.code in ("unsupported_format", "blank")  # noqa: PT017 (most files are answered)
