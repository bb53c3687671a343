"""Which TIFFs are decoded: an allow-list, since unusual kinds would come out wrong without an error.

`tests/model_layer/test_tiff.py` compares every entry with the pixels that were written, over byte orders, strips, tiles
and predictors. Everything else is refused by name. Tags are those of TIFF 6.0 and of the makers of cameras. Cost: a few
look-ups for each page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_layer.answers import ImageRejectedError, unsupported

if TYPE_CHECKING:
    from model_layer.decoding.tiff_directory import Page

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _INKS, _YCBCR = 0, 1, 2, 3, 5, 6
_NONE, _LZW, _OLD_JPEG, _JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS = 1, 5, 6, 7, 8, 32946, 32773
_PACKED = frozenset([_LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS])
_PLAIN = _PACKED | {_NONE}
_ANY = _PLAIN | {_JPEG}
_PREDICTED = frozenset([_LZW, _DEFLATE, _OLD_DEFLATE])

# (photometric, bits of each sample, samples, extra samples, whether samples are in planes of their own) to the
# compressions with which Pillow and libtiff decode it exactly. Extra samples: 0 is ignored, 1 and 2 are alpha.
_DECODED: dict[tuple[int, int, int, tuple[int, ...], bool], frozenset[int]] = {
    **{(grey, bits, 1, (), False): _PLAIN for grey in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) for bits in (1, 2, 4)},
    **{(grey, 8, 1, (), False): _ANY for grey in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)},
    (_BLACK_IS_ZERO, 16, 1, (), False): _PLAIN,
    **{(_BLACK_IS_ZERO, 8, 2, (extra,), False): _PLAIN for extra in (0, 2)},
    **{(_PALETTE, bits, 1, (), False): _PLAIN for bits in (1, 2, 4, 8)},
    (_RGB, 8, 3, (), False): _ANY,
    (_RGB, 8, 3, (), True): _ANY,
    (_RGB, 16, 3, (), False): _PLAIN,
    (_RGB, 16, 3, (), True): _PACKED,  # not uncompressed: Pillow would read each plane as 8 bits
    **{(_RGB, bits, 4, (extra,), False): _PLAIN for bits in (8, 16) for extra in (0, 1, 2)},
    (_RGB, 8, 4, (2,), True): _PLAIN,
    (_RGB, 8, 4, (1,), True): _PACKED,
    **{(_RGB, 8, 5, (extra, 0), False): _PLAIN for extra in (0, 1, 2)},
    (_INKS, 8, 4, (), False): _ANY,
    (_INKS, 8, 4, (), True): _ANY,
    (_INKS, 16, 4, (), False): _PLAIN,
    (_YCBCR, 8, 3, (), False): frozenset([_JPEG, _OLD_JPEG]),
}

_PHOTOMETRIC_NAMES = {
    _WHITE_IS_ZERO: "greys with white as zero",
    _BLACK_IS_ZERO: "greys",
    _RGB: "RGB",
    _PALETTE: "palette colours",
    4: "a mask",
    _INKS: "CMYK",
    _YCBCR: "YCbCr",
    8: "Lab colours",
    9: "Lab colours",
    10: "Lab colours",
    32844: "LogLuv colours",
    32845: "LogLuv colours",
}
_COMPRESSION_NAMES = {
    2: "fax",
    3: "fax",
    4: "fax",
    _OLD_JPEG: "old-style JPEG",
    9: "JBIG",
    10: "JBIG",
    32771: "fax",
    32809: "ThunderScan",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34712: "JPEG 2000",
    34715: "JBIG2",
    34887: "LERC",
    34925: "LZMA",
    34933: "PNG",
    34934: "JPEG XR",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_SAMPLE_FORMATS = {2: "signed ", 3: "floating-point ", 5: "complex ", 6: "complex "}

_COLOUR_FILTER_ARRAY, _LINEAR_RAW = 32803, 34892
_RAW_COMPRESSIONS = frozenset([262, 32767, 32769, 32770, 32772, 34713, 34892, 65000, 65535])
_RAW_OF_MAKER = {
    b"canon": "Canon CR2",
    b"nikon": "Nikon NEF",
    b"sony": "Sony ARW",
    b"pentax": "Pentax PEF",
    b"ricoh": "Pentax PEF",
    b"samsung": "Samsung SRW",
    b"olympus": "Olympus ORF",
    b"om digital": "Olympus ORF",
    b"panasonic": "Panasonic RW2",
    b"epson": "Epson ERF",
    b"seiko epson": "Epson ERF",
    b"hasselblad": "Hasselblad 3FR",
    b"kodak": "Kodak DCR",
    b"eastman kodak": "Kodak DCR",
    b"leaf": "Leaf MOS",
    b"phase one": "Phase One IIQ",
    b"mamiya": "Mamiya MEF",
}


def raw(kind: str | None = None) -> ImageRejectedError:
    """For a camera raw file; `kind` is its format where that is known ("Nikon NEF")."""
    name = f"a camera raw file ({kind})" if kind else "a camera raw file"
    return unsupported(name, "export the photograph from it as JPEG")


def refuse_raw(pages: list[Page]) -> None:
    """Refuses a file with a sensor's values; its other pages are thumbnails, and may show another picture.

    Raises:
        ImageRejectedError: `unsupported_format`, with the raw format's name.
    """
    first = pages[0]
    if any(50706 in page.entries for page in pages):
        raise raw("Adobe DNG")
    if first.data.startswith(b"CR\2", 8):
        raise raw("Canon CR2")
    if any(_is_sensors(page) for page in pages):
        maker = first.blob(271, 256).lower()
        raise raw(next((name for mark, name in _RAW_OF_MAKER.items() if maker.startswith(mark)), None))


def refuse_mosaic(first: Page, largest: Page) -> None:
    """Refuses a file shaped like a raw file without its marks: a colour thumbnail, and below it a larger page in greys.

    Raises:
        ImageRejectedError: `unsupported_format`.
    """
    below = first.integers(330) and largest is not first
    if below and first.integer(277, 1) >= 3 and largest.integer(277, 1) == 1 and largest.integer(258, 1) > 8:
        raise raw()


def _is_sensors(page: Page) -> bool:
    return page.integer(262, 0) in (_COLOUR_FILTER_ARRAY, _LINEAR_RAW) or page.integer(259, 1) in _RAW_COMPRESSIONS


def refuse_undecoded(page: Page) -> None:
    """Refuses every kind that is not decoded exactly.

    Raises:
        ImageRejectedError: `unsupported_format`, with the kind's name.
    """
    samples = page.integer(277, 1)
    bits = page.integers(258) or (1,)
    formats = page.integers(339) or (1,)
    extra = page.integers(338)
    photometric, compression = page.integer(262, -1), page.integer(259, 1)
    if compression not in _ANY | {_OLD_JPEG}:
        name = _COMPRESSION_NAMES.get(compression)
        raise _refusal(f"a TIFF with {name} compression" if name else "a TIFF of an unknown compression")
    if not {*formats} <= {1, 4}:  # 4: undefined, which TIFF 6.0 reads as unsigned integers
        raise _refusal(f"a TIFF of {_SAMPLE_FORMATS.get(max(formats), 'unknown ')}samples")
    if photometric == _RGB and samples == 4 and not extra:
        extra = (2,)  # some writers do not say what the fourth sample is; every viewer takes it for alpha
    planes = samples > 1 and page.integer(284, 1) == 2
    if len({*bits}) > 1 or compression not in _DECODED.get((photometric, bits[0], samples, extra, planes), ()):
        raise _refusal(_described(photometric, bits[0], samples, extra, planes))
    if page.integer(266, 1) != 1:
        raise _refusal("a TIFF with its bits in reverse order")
    if photometric == _INKS and page.integer(332, 1) != 1:
        raise _refusal("a TIFF of other inks than CMYK")
    if compression in _PREDICTED and (page.integer(317, 1), bits[0]) not in ((1, bits[0]), (2, 8), (2, 16)):
        raise _refusal("a TIFF with an unusual predictor")


def _described(photometric: int, bits: int, samples: int, extra: tuple[int, ...], planes: bool) -> str:
    colours = _PHOTOMETRIC_NAMES.get(photometric, f"{samples} channels")
    beside = " with alpha" if {1, 2} & {*extra} else " with further channels" if extra else ""
    return f"a TIFF of {colours}{beside}{' in separate planes' if planes else ''}, {bits} bits a sample"


def _refusal(name: str) -> ImageRejectedError:
    return unsupported(name, "save it as 8-bit RGB TIFF, PNG or JPEG")
