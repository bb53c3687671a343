"""Sound files that are not decoded are called by their names: never damaged, and never no image at all."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct

import pillow_heif
import pytest
from hostile.containers import bmp, box, png_chunk
from sample_images import encoded, jpeg, picture, png

from model_layer import ImageRejectedError, decode
from model_layer.classifier import Classifier

JPEG = jpeg(1, (128, 96))
NOISE = bytes(range(1, 250)) * 9


def heic() -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(picture(1, (128, 96))).save(buffer, quality=60)
    return buffer.getvalue()


def with_frame(marker: int = 0xC0, **fields: int) -> bytes:
    """The JPEG with another frame marker, and other values in its header."""
    data, at = bytearray(JPEG), JPEG.index(b"\xff\xc0\0")
    data[at + 1] = marker
    data[at + 4] = fields.get("precision", 8)
    data[at + 5 : at + 7] = struct.pack(">H", fields.get("height", 96))
    data[at + 9] = fields.get("components", 3)
    return bytes(data)


def bitmap(header: int = 40, *, bits: int = 24, compression: int = 0) -> bytes:
    data = bytearray(bmp(64, 64, bytes(64 * 64 * 8), bits=bits, compression=compression))
    data[14] = header
    return bytes(data)


def bitmap_of_ten_bit_channels() -> bytes:
    return bmp(64, 64, struct.pack("<LLL", 0x3FF00000, 0xFFC00, 0x3FF) + NOISE * 8, bits=32, compression=3)


def brand(letters: bytes, *compatible: bytes) -> bytes:
    return box(b"ftyp", letters, bytes(4), *compatible) + box(b"meta", NOISE)


def sequence(letters: bytes) -> bytes:
    return box(b"ftyp", letters, bytes(4), b"msf1") + box(b"mdat", NOISE) + box(b"moov", box(b"mvhd", bytes(100)))


NAMED = {
    # Camera raws that are no TIFFs
    "Fujifilm": (b"FUJIFILMCCD-RAW 0201FF383501" + NOISE, "Fujifilm RAF"),
    "Panasonic": (b"IIU\0\x18\0\0\0" + NOISE, "Panasonic RW2"),
    "Olympus": (b"IIRO\x08\0\0\0" + NOISE, "Olympus ORF"),
    "Olympus, older": (b"IIRS\x08\0\0\0" + NOISE, "Olympus ORF"),
    "Canon, oldest": (b"II\x1a\0\0\0HEAPCCDR" + NOISE, "Canon CRW"),
    "Canon, newest": (box(b"ftyp", b"crx ", bytes(4), b"crx isom") + NOISE, "Canon CR3"),
    "Minolta": (b"\0MRM" + NOISE, "Minolta MRW"),
    "Sigma": (b"FOVb" + NOISE, "Sigma X3F"),
    # JPEG and what is called so
    "12 bits": (with_frame(0xC1, precision=12), "12 bits"),
    "12 bits, progressive": (with_frame(0xC2, precision=12), "12 bits"),
    "lossless": (with_frame(0xC3), "lossless JPEG"),
    "lossless of 16 bits": (with_frame(0xC3, precision=16), "lossless JPEG"),
    "lossless by arithmetic codes": (with_frame(0xCB), "lossless JPEG"),
    "JPEG-LS": (with_frame(0xF7), "JPEG-LS"),
    "hierarchical": (with_frame(0xC5), "hierarchical JPEG"),
    "height at the end": (with_frame(height=0), "height"),
    "two channels": (with_frame(components=2), "two channels"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + NOISE, "JPEG 2000"),
    "JPEG 2000 alone": (b"\xff\x4f\xff\x51" + NOISE, "JPEG 2000"),
    "JPEG XL": (b"\xff\x0a" + NOISE, "JPEG XL"),
    "JPEG XL in boxes": (b"\0\0\0\x0cJXL \r\n\x87\n" + NOISE, "JPEG XL"),
    "JPEG XR": (b"II\xbc\x01\x20\0\0\0" + NOISE, "JPEG XR"),
    # Bitmaps
    "floats": (bitmap(bits=64), "floating-point"),
    "four colours": (bitmap(bits=2), "2 bits"),
    "a JPEG in a bitmap": (bitmap(bits=0, compression=4), "JPEG"),
    "a PNG in a bitmap": (bitmap(bits=0, compression=5), "PNG"),
    "CMYK in a bitmap": (bitmap(bits=32, compression=11), "CMYK"),
    "channels of ten bits": (bitmap_of_ten_bit_channels(), "layout of its channels"),
    "OS/2, run lengths of 24 bits": (bitmap(64, compression=4), "OS/2"),
    "OS/2, short header": (bitmap(16), "OS/2"),
    # HEIF
    "AVIF": (brand(b"avif", b"mif1", b"miaf"), "AVIF"),
    "AVIF sequence": (brand(b"avis", b"msf1"), "AVIF image sequence"),
    "AVIF under a general brand": (heic().replace(b"ftypheic", b"ftypmif1").replace(b"hvc1", b"av01"), "AVIF"),
    "H.264": (brand(b"avci", b"mif1"), "H.264"),
    "HEIC sequence": (sequence(b"hevc"), "sequence"),
    "HEIC sequence under a general brand": (sequence(b"msf1"), "sequence"),
    # Others
    "PDF": (b"%PDF-1.7\n" + NOISE, "PDF"),
    "Photoshop": (b"8BPS\0\1" + NOISE, "Photoshop"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    "SVG behind its declaration": (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn -->\n<svg width="9">', "SVG"),
    "icon": (b"\0\0\1\0\1\0\x20\x20" + NOISE, "icon"),
    "EXR": (b"\x76\x2f\x31\x01\2\0\0\0" + NOISE, "OpenEXR"),
    "HDR": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n" + NOISE, "Radiance"),
    "PPM": (encoded(picture(1), "PPM"), "Netpbm"),
    "PCX": (encoded(picture(1), "PCX"), "PCX"),
    "Targa": (encoded(picture(1), "TGA") + b"\0" * 8 + b"TRUEVISION-XFILE.\0", "Targa"),
    "SGI": (encoded(picture(1), "SGI"), "SGI"),
    "DDS": (encoded(picture(1), "DDS"), "DirectDraw"),
    "ICO": (encoded(picture(1), "ICO"), "icon"),
    "JPEG 2000 of Pillow's": (encoded(picture(1), "JPEG2000"), "JPEG 2000"),
    "PNG of Xcode's": (png(1)[:8] + png_chunk(b"CgBI", b"\x50\0\x20\x06") + png(1)[8:], "iPhone"),
    # Compressed once more
    "gzip": (gzip.compress(JPEG), "gzip"),
    "bzip2": (bz2.compress(JPEG), "bzip2"),
    "xz": (lzma.compress(JPEG), "xz"),
    "Zstandard": (b"\x28\xb5\x2f\xfd" + NOISE, "Zstandard"),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_is_not_decoded_is_called_by_its_name(name):
    data, named = NAMED[name]
    with pytest.raises(ImageRejectedError) as caught:
        decode(data, 64)
    assert caught.value.code == "unsupported_format"
    sentence = str(caught.value)
    assert named in sentence
    # A name, and a way out.
    assert sentence.startswith("The file is ")
    assert sentence.endswith(".")
    assert sentence.partition("; ")[2].split()[0] in ("save", "export", "unpack", "use")


def test_the_sentence_reaches_the_answer(tiny_bundle):
    (rejection,) = Classifier.load(tiny_bundle).classify([NAMED["Fujifilm"][0]])
    assert rejection.code == "unsupported_format"
    assert "Fujifilm RAF" in rejection.sentence


DECODED = {
    "JPEG": JPEG,
    "JPEG of greys": encoded(picture(1).convert("L"), "JPEG"),
    "JPEG of CMYK": encoded(picture(1).convert("CMYK"), "JPEG"),
    "HEIC under a general brand": heic().replace(b"ftypheic", b"ftypmif1"),
    "HEIC under a brand unheard of": heic().replace(b"ftypheic", b"ftypMiHE"),
    "bitmap of 16 bits": bmp(64, 64, NOISE * 8, bits=16),
    "bitmap of greys": encoded(picture(1).convert("L"), "BMP"),
    "bitmap with alpha": encoded(picture(1).convert("RGBA"), "BMP"),
}


@pytest.mark.parametrize("name", DECODED)
def test_what_is_decoded_stays_so(name):
    assert decode(DECODED[name], 64).pixels.shape == (64, 64, 3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_shows_its_first_frame(kind):
    data = encoded(picture(1), kind, save_all=True, append_images=[picture(2), picture(3)], duration=90)
    assert decode(data, 64).facts.width == picture(1).width


NO_IMAGES = [
    b"Dear doctor, P5 is what I meant.\n",
    b"GIFT for you",
    b"MZ" + NOISE,
    b"PK\x03\x04" + NOISE,
    b"<html><body>" + NOISE,
    b"\n" * 3000,
    box(b"ftyp", b"isom", bytes(4), b"mp42") + NOISE,
    b"BM" + NOISE,
    NOISE,
]


@pytest.mark.parametrize("data", NO_IMAGES, ids=range(len(NO_IMAGES)))
def test_what_is_no_image_is_called_none(data):
    with pytest.raises(ImageRejectedError) as caught:
        decode(data, 64)
    assert caught.value.code == "not_an_image"


@pytest.mark.parametrize("depth", [0, 3, 9, 77])
def test_a_bitmap_of_impossible_depth_is_damaged(depth):
    with pytest.raises(ImageRejectedError) as caught:
        decode(bitmap(bits=depth), 64)
    assert caught.value.code == "corrupt"
