"""Refuses sound files that are not decoded here, by name, so that nobody looks for damage that isn't there.

Whole formats are recognised by their first bytes, as each format's specification has them. Unsupported members of a
decoded family (a JPEG of 12 bits, a bitmap of floats) are recognised by a few header fields. Cost: at most
`_LONGEST_SIGNATURE` bytes, `_MAX_BRANDS` brands and `_MAX_BOXES` boxes.
"""

from __future__ import annotations

import re
import struct

from model_layer.answers import unsupported
from model_layer.decoding.tiff_kinds import raw

_LONGEST_SIGNATURE = 1024  # bytes: an SVG may begin with comments
_UNPACK = "unpack it and upload the image itself"
_EXPORT = "export the picture from it as JPEG or PNG"

# Compiled on first use: few uploads get this far, and compiling would delay every cold start.
_NAMED = (
    (rb"%PDF", "a PDF", _EXPORT),
    (rb"8BPS", "a Photoshop file", _EXPORT),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image", None),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL image", None),
    (rb"II\xbc[\0\x01]", "a JPEG XR image", None),
    (rb"(?:\xef\xbb\xbf)?\s*<svg", "an SVG", _EXPORT),
    (rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|!DOCTYPE svg|!--).*<svg", "an SVG", _EXPORT),
    (rb"\0\0[\x01\x02]\0[\x01-\xff]\0", "a Windows icon", None),
    (rb"icns", "a macOS icon", None),
    (rb"BM.{12}[\x10-\x40]\0\0\0", "an OS/2 bitmap", None),
    (rb"P[1-6]\s+(?:#[^\n]*\n\s*)*\d|P7\nWIDTH|P[Ff]\n", "a Netpbm image", None),
    (rb"#\?R(?:ADIANC|GB)E", "a Radiance HDR image", None),
    (rb"\x76\x2f\x31\x01", "an OpenEXR image", None),
    (rb"DDS ", "a DirectDraw texture", None),
    (rb"\x0a[\0\x02-\x05]\x01[\x01\x02\x04\x08]", "a PCX image", None),
    (rb"\x59\xa6\x6a\x95", "a Sun raster image", None),
    (rb"\x01\xda[\0\x01][\x01\x02]\0[\x01-\x03]", "an SGI image", None),
    (rb"gimp xcf", "a GIMP file", _EXPORT),
    (rb"qoif", "a QOI image", None),
    (rb"FLIF", "a FLIF image", None),
    (rb"BPG\xfb", "a BPG image", None),
    (rb"\x8a[MJ]NG\r\n", "an MNG or JNG image", None),
    (rb"SIMPLE  =", "a FITS image", None),
    (rb"AT&TFORM", "a DjVu document", _EXPORT),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript file", _EXPORT),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", "a Windows metafile", _EXPORT),
    (rb"\x1f\x8b\x08", "compressed with gzip", _UNPACK),
    (rb"BZh[1-9]1AY&SY", "compressed with bzip2", _UNPACK),
    (rb"\xfd7zXZ\0", "compressed with xz", _UNPACK),
    (rb"\x28\xb5\x2f\xfd", "compressed with Zstandard", _UNPACK),
)
_RAW_SIGNATURES = (
    (rb"FUJIFILMCCD-RAW", "Fujifilm RAF"),
    (rb"IIU\0", "Panasonic RW2"),
    (rb"IIR[OS]|MMOR", "Olympus ORF"),
    (rb"II.{4}HEAPCCDR", "Canon CRW"),
    (rb"\0MRM", "Minolta MRW"),
    (rb"FOVb", "Sigma X3F"),
    (rb".{4}ftypcrx ", "Canon CR3"),
)

_HEIF_BRANDS = frozenset(
    [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"]
)
_OTHER_BRANDS = {
    b"avif": "an AVIF image",
    b"avis": "an AVIF image sequence",
    b"avci": "an H.264 image in HEIF",
    b"avcs": "an H.264 image sequence in HEIF",
    b"jpeg": "a JPEG in HEIF",
    b"jpgs": "a JPEG sequence in HEIF",
    b"j2ki": "a JPEG 2000 image in HEIF",
    b"j2is": "a JPEG 2000 image sequence in HEIF",
    b"vvic": "an H.266 image in HEIF",
    b"vvis": "an H.266 image sequence in HEIF",
    b"evbi": "an EVC image in HEIF",
    b"evbs": "an EVC image sequence in HEIF",
}
# An overlay may place one image over itself any number of times; tiled and uncompressed images come from no camera.
# Cameras write hvc1 (pixels or a tile), grid (tiles side by side), iden (turned or cropped), tmap (HDR), Exif, mime.
_NEVER_DECODED = (b"iovl", b"tili", b"unci")
_OTHER_CODINGS = {
    b"av01": "an AVIF image",
    b"avc1": "an H.264 image in HEIF",
    b"jpeg": "a JPEG in HEIF",
    b"j2k1": "a JPEG 2000 image in HEIF",
    b"vvc1": "an H.266 image in HEIF",
    b"evc1": "an EVC image in HEIF",
    b"iovl": "a HEIC of overlaid images",
    b"tili": "a tiled HEIF image",
    b"unci": "an uncompressed image in HEIF",
}
_MAX_BRANDS = 64
_MAX_BOXES = 1000  # at the top level: a fragmented film has two for each fragment

# SOF markers (ITU-T T.81, table B.1). Decoded: baseline, extended and progressive, with Huffman or arithmetic codes.
_DECODED_FRAMES = frozenset([0xC0, 0xC1, 0xC2, 0xC9, 0xCA])
_FRAMES = frozenset([*range(0xC0, 0xD0), 0xDE, 0xF7]) - {0xC4, 0xC8, 0xCC}
_JPEG_LS, _HIERARCHICAL = 0xF7, (0xDE, 0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)

_BITMAP_COMPRESSIONS = {4: "JPEG", 5: "PNG", 6: "alpha fields", 11: "CMYK", 12: "CMYK", 13: "CMYK"}


def refuse_named(data: bytes) -> None:
    """Refuses a format that is recognised by its first bytes, or, for a Targa, by its last.

    Raises:
        ImageRejectedError: `unsupported_format`, with the format's name and what to upload instead.
    """
    head = data[:_LONGEST_SIGNATURE]
    for signature, name in _RAW_SIGNATURES:
        if re.match(signature, head, re.DOTALL):
            raise raw(name)
    brand = _OTHER_BRANDS.get(data[8:12]) if data[4:8] == b"ftyp" else None
    if brand:
        raise unsupported(brand)
    for signature, name, instead in _NAMED:
        if re.match(signature, head, re.DOTALL):
            raise unsupported(name, instead) if instead else unsupported(name)
    if data.endswith(b"TRUEVISION-XFILE.\0"):
        raise unsupported("a Targa image")


def is_heif(data: bytes) -> bool:
    """Whether the file's main or compatible brands (ISO/IEC 23008-12) are those of a HEIC."""
    if data[4:8] != b"ftyp" or data[8:12] in _OTHER_BRANDS or data[8:12] == b"crx ":
        return False
    end = min(int.from_bytes(data[:4], "big"), 16 + 4 * _MAX_BRANDS, len(data))
    return any(data[at : at + 4] in _HEIF_BRANDS for at in (8, *range(16, end, 4)))


def refuse_heif_sequence(data: bytes) -> None:
    """Refuses a HEIF that holds a film's track and no image.

    Raises:
        ImageRejectedError: `unsupported_format`.
    """
    at, kinds = 0, set[bytes]()
    for _ in range(_MAX_BOXES):
        size = int.from_bytes(data[at : at + 4], "big")
        kinds.add(data[at + 4 : at + 8])
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        at += size
        if size < 8 or at >= len(data):
            break
    if b"moov" in kinds and b"meta" not in kinds:
        raise unsupported("a HEIF image sequence")


def refuse_heif_items(kinds: set[bytes]) -> None:
    """Refuses a HEIF by the four-letter types of its items, which say how they are coded or composed.

    Raises:
        ImageRejectedError: `unsupported_format`.
    """
    for kind, name in _OTHER_CODINGS.items():
        if kind in kinds and (b"hvc1" not in kinds or kind in _NEVER_DECODED):
            raise unsupported(name)


def refuse_jpeg_frame(marker: int, header: bytes) -> None:
    """Refuses a JPEG by a segment's marker and body: frame markers say how the image is coded.

    Raises:
        ImageRejectedError: `unsupported_format`.
    """
    if marker not in _FRAMES or len(header) < 6:
        return
    precision, height, _, components = struct.unpack_from(">BHHB", header)
    if marker == _JPEG_LS:
        raise unsupported("a JPEG-LS image")
    if marker in _HIERARCHICAL:
        raise unsupported("a hierarchical JPEG")
    if marker not in _DECODED_FRAMES:
        raise unsupported("a lossless JPEG")
    if precision == 12:
        raise unsupported("a JPEG of 12 bits a sample", "save it as JPEG of 8 bits, or as PNG")
    if not height:
        raise unsupported("a JPEG that tells its height only at its end", "save it again as JPEG or PNG")
    if components == 2:
        raise unsupported("a JPEG of two channels")


def refuse_bitmap(data: bytes) -> None:
    """Refuses a bitmap by its depth and compression (BITMAPINFOHEADER, and GDI+'s 64 bits).

    Raises:
        ImageRejectedError: `unsupported_format`, or `corrupt` where no bitmap has such a depth or compression.
    """
    if len(data) < 54 or data[14] == 12:
        return
    bits, compression = struct.unpack_from("<HL", data, 28)
    if bits == 64:
        raise unsupported("a bitmap of floating-point samples")
    if bits == 2:
        raise unsupported("a bitmap of 2 bits a pixel")
    if data[14] == 64 and compression > 2:
        raise unsupported("an OS/2 bitmap")
    if compression in _BITMAP_COMPRESSIONS:
        raise unsupported(f"a bitmap with {_BITMAP_COMPRESSIONS[compression]}")


def refuse_bitmap_fields(error: OSError) -> None:
    """Refuses a bitmap whose channels are in an order that Pillow cannot read.

    Raises:
        ImageRejectedError: `unsupported_format`.
    """
    if "bitfields layout" in str(error):
        raise unsupported("a bitmap with an unusual layout of its channels") from None


def refuse_optimised_png(data: bytes) -> None:
    """Refuses Xcode's PNGs, which begin with a chunk of their own and hold pixels that other decoders cannot read.

    Raises:
        ImageRejectedError: `unsupported_format`.
    """
    if data[12:16] == b"CgBI":
        raise unsupported("a PNG optimised for iPhone apps", "use the original picture")
