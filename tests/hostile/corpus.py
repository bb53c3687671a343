"""Over two thousand malformed images, made from a fixed seed: every format cut, flipped, bent, spliced and misnamed."""

from __future__ import annotations

import functools
import io
import random
import struct
from typing import TYPE_CHECKING

import numpy as np
import pillow_heif
from dicom_objects import native, photograph
from hostile.containers import PNG_SIGNATURE, boxes, png_chunk
from PIL import Image, ImageCms
from pydicom.uid import DeflatedExplicitVRLittleEndian
from sample_images import encoded, picture

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = (120, 90)
CUTS, FLIPS, EXTREMES, SPLICES = 50, 45, 16, 12
"""Cases of each sort for each format."""


def _heic(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=60, **options)
    return buffer.getvalue()


def _grey16(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def _animation(image: Image.Image, kind: str) -> bytes:
    return encoded(image, kind, save_all=True, append_images=[picture(8, SIZE)] * 2, duration=50)


ENCODERS = {
    "jpg": lambda p: encoded(p, "JPEG", exif=_upright()),
    "progressive.jpg": lambda p: encoded(p, "JPEG", progressive=True),
    "cmyk.jpg": lambda p: encoded(p.convert("CMYK"), "JPEG"),
    "png": lambda p: encoded(p, "PNG", icc_profile=_profile()),
    "palette.png": lambda p: encoded(p.quantize(64), "PNG"),
    "alpha.png": lambda p: encoded(p.convert("RGBA"), "PNG"),
    "grey16.png": lambda p: encoded(_grey16(p), "PNG"),
    "animated.png": lambda p: _animation(p, "PNG"),
    "webp": lambda p: encoded(p, "WEBP"),
    "lossless.webp": lambda p: encoded(p, "WEBP", lossless=True),
    "animated.webp": lambda p: _animation(p, "WEBP"),
    "gif": lambda p: encoded(p, "GIF"),
    "animated.gif": lambda p: _animation(p, "GIF"),
    "bmp": lambda p: encoded(p, "BMP"),
    "tif": lambda p: encoded(p, "TIFF"),
    "lzw.tif": lambda p: encoded(p, "TIFF", compression="tiff_lzw"),
    "deflate.tif": lambda p: encoded(p, "TIFF", compression="tiff_adobe_deflate"),
    "jpeg.tif": lambda p: encoded(p, "TIFF", compression="jpeg"),
    "big.tif": lambda p: encoded(p, "TIFF", compression="packbits", big_tiff=True),
    "grey16.tif": lambda p: encoded(_grey16(p), "TIFF"),
    "paged.tif": lambda p: encoded(picture(8, (60, 50)), "TIFF", save_all=True, append_images=[p]),
    "heic": _heic,
    "tiled.heic": lambda p: _heic(p, tile_size=64),
    "dcm": lambda p: photograph(encoded(p, "JPEG"), p.size, fragments=3, nested=1),
    "plain.dcm": native,
    "deflated.dcm": lambda p: native(p, syntax=DeflatedExplicitVRLittleEndian),
}
"""Every format and variant that is decoded; a name's last part is the extension."""


def _upright() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@functools.cache
def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@functools.cache
def sound(kind: str, seed: int = 0) -> bytes:
    """A file that is as it should be."""
    return ENCODERS[kind](picture(seed, SIZE))


def malformed() -> Iterator[tuple[str, str, bytes]]:
    """Format, name and content of each case; a name is unlike any other, and often has a wrong extension."""
    for kind in ENCODERS:
        rng = random.Random(kind)
        for sort in (_cuts, _flips, _extremes, _splices, _polyglots):
            for name, data in sort(kind, rng):
                yield kind, f"{sort.__name__[1:]}/{name}.{kind}", data
        yield kind, f"misnamed/{kind}.{rng.choice(list(ENCODERS)).rpartition('.')[2]}", sound(kind)
    for name, data in [*_chunks(), *_boxes(), *_no_images()]:
        yield "none", name, data


def _cuts(kind: str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Broken off: at every one of the first bytes, where headers are, and all over the rest."""
    data = sound(kind)
    early = range(1, 1 + CUTS // 2)
    late = [rng.randrange(CUTS // 2, len(data)) for _ in range(CUTS // 2 - 3)]
    for at in sorted({*early, *late, len(data) - 1, len(data) - 2, len(data) - 9}):
        yield f"{at} of {len(data)}", data[:at]


def _flips(kind: str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """A few bits turned: anywhere, or among the first bytes."""
    for number in range(FLIPS):
        data = bytearray(sound(kind))
        reach = min(len(data), 200) if number % 3 == 0 else len(data)
        for _ in range(rng.choice([1, 1, 2, 8, 40])):
            data[rng.randrange(reach)] ^= 1 << rng.randrange(8)
        yield f"{number}", bytes(data)


def _extremes(kind: str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """A number in the header at its end of the scale, in either byte order: sizes, offsets and counts among them."""
    header = min(len(sound(kind)) - 4, 300)
    for number in range(EXTREMES):
        data, at = bytearray(sound(kind)), rng.randrange(2, header)
        value = rng.choice([0, 1, 0x7F, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
        form = rng.choice([">H", "<H"] if value <= 0xFFFF else [">L", "<L"])
        struct.pack_into(form, data, at, value)
        yield f"{number} {value:x} at {at}", bytes(data)


def _splices(kind: str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """The beginning of one image and the end of another; parts doubled, left out or filled with zeros."""
    for number in range(SPLICES):
        data, at = sound(kind), rng.randrange(8, len(sound(kind)))
        length = rng.randrange(1, 400)
        other = sound(kind if number % 2 else rng.choice(list(ENCODERS)), 1)
        part = (other[at:], data[at - 8 :], data[at + length :], bytes(length) + data[at + length :])[number % 4]
        yield f"{number}", data[:at] + part


def _polyglots(kind: str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Two files in one: what stands first decides."""
    data, other = sound(kind), sound(rng.choice(list(ENCODERS)), 1)
    yield "behind html", b"<html><script>/*" + data
    yield "before a zip", data + b"PK\x03\x04" + bytes(60) + b"PK\x05\x06" + bytes(18)
    yield "before another image", data + other
    yield "behind another signature", b"GIF89a" + data
    yield "behind a byte order mark", b"\xef\xbb\xbf" + data


def _chunks() -> Iterator[tuple[str, bytes]]:
    """A PNG's chunks in any order, doubled and left out; each by itself is sound."""
    data, parts, at = sound("palette.png"), list[bytes](), 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        parts.append(data[at:end])
        at = end
    rng = random.Random(9)
    parts += [png_chunk(b"IDAT", b"x"), png_chunk(b"iCCP", b"p\0\0x"), png_chunk(b"eXIf", b"II*\0"), png_chunk(b"iTXt")]
    for number in range(60):
        yield f"chunks/{number}.png", PNG_SIGNATURE + b"".join(rng.choices(parts, k=rng.randrange(1, 9)))


def _boxes() -> Iterator[tuple[str, bytes]]:
    """A HEIC without some part of its table of contents, or with one of another file's."""
    for kind in ("heic", "tiled.heic"):
        data, other = sound(kind), sound("heic" if kind == "tiled.heic" else "tiled.heic", 1)
        meta = dict(boxes(data))[b"meta"]
        for name, body in boxes(meta[4:]):
            whole = struct.pack(">L", 8 + len(body)) + name + body
            foreign = dict(boxes(dict(boxes(other))[b"meta"][4:])).get(name, b"")
            for case, instead in (("free", b"free"), ("wild", b"\xff" * 4)):
                yield f"boxes/{name.decode()} {case}.{kind}", data.replace(whole, whole[:4] + instead + body)
            yield (
                f"boxes/{name.decode()} foreign.{kind}",
                data.replace(body, foreign[: len(body)].ljust(len(body), b"\0")),
            )
            yield f"boxes/{name.decode()} zeros.{kind}", data.replace(body, bytes(len(body)))


def _no_images() -> Iterator[tuple[str, bytes]]:
    """Nothing, little, and other things."""
    rng = random.Random(4)
    yield "no image/0 bytes.jpg", b""
    for length in (1, 2, 3, 4, 8, 13, 100, 10_000, 100_000):
        yield f"no image/{length} zeros.png", bytes(length)
        yield f"no image/{length} of noise.heic", rng.randbytes(length)
        yield f"no image/{length} letters.tif", b"A" * length
    for mark in (b"%PDF-1.7\n", b"MZ", b"\x7fELF", b"PK\x03\x04", b"#!/bin/sh\n", b"\xff\xfb\x90", b"{}", b"<svg>"):
        yield f"no image/{mark!r}.webp", mark + rng.randbytes(300)
