"""The one picture of a DICOM object, as skin clinics keep it: VL Photographic and Dermoscopic Photography.

pydicom reads the header (PS3.5 and PS3.10), and only those elements that the pixels need: no name, date, or identifier
of a patient, study or object is decoded, kept or logged. The frame is plain samples or a JPEG, which then passes the
same checks as any JPEG. Everything else that PS3.3 allows is refused by name. Cost: at most `MAX_DICOM_READS` reads of
the header and `MAX_FRAGMENTS` fragments; a deflated dataset is inflated to at most the size limit of a file.
"""

from __future__ import annotations

import itertools
import logging
import re
import warnings
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from model_layer.answers import ImageFacts, ImageRejectedError, RejectionCode, unsupported
from model_layer.decoding.limits import (
    MAX_DICOM_READS,
    MAX_FRAGMENTS,
    MAX_PROFILE_BYTES,
    CountedReads,
    DecodingLimits,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_PREAMBLE = 128
# Files without a preamble begin with the prefix, file meta information, or a dataset's first elements.
_BARE = re.compile(
    rb"DICM\x02\0|\x02\0[\0-\x03\x10\x12\x13]\0(?:UL|OB|UI|SH)|\x02\0\0\0\x04\0\0\0"
    rb"|\x08\0[\0\x01\x05\x06\x08\x12-\x1a]\0(?:UL|CS|DA|TM|UI|SH)|\0\x08\0[\0\x05\x08\x16\x18](?:UL|CS|UI)"
    rb"|\x08\0(?:[\0\x01]\0\x04|[\x05\x06\x08\x12-\x1a]\0.)\0\0\0",
    re.DOTALL,
)
_BIG_ENDIAN, _DEFLATED, _RUN_LENGTH = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
_PLAIN = ("", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", _DEFLATED)
_PHOTOGRAPHS = frozenset(
    [
        "1.2.840.10008.5.1.4.1.1.77.1.4",  # VL Photographic Image Storage
        "1.2.840.10008.5.1.4.1.1.77.1.7",  # Dermoscopic Photography Image Storage
    ]
)
_TRANSFER_SYNTAX, _META_CLASS = 0x00020010, 0x00020002
_CLASS, _SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES = 0x00080016, 0x00280002, 0x00280004, 0x00280006, 0x00280008
_ROWS, _COLUMNS, _ALLOCATED, _STORED, _SIGNED = 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280103
_PROFILE = 0x00282000
# Window, rescaling, lookup tables, inverse presentation: a photograph has none of them.
_GREY_TRANSFORMS = (0x00281050, 0x00281052, 0x00281053, 0x00283000, 0x00283010, 0x20500020)
_CHARACTER_SET, _NO_TAG = b"\x08\0\x05\0", b"\x08\0\x04\0"
_PIXELS = frozenset([0x7FE00008, 0x7FE00009, 0x7FE00010])
_TAGS = [_CLASS, _SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES, _ROWS, _COLUMNS, _ALLOCATED, _STORED, _SIGNED, _PROFILE]
_UNDEFINED = 0xFFFFFFFF
_EXPORT = "export the picture from it as JPEG"
# For libjpeg: the three components are red, green and blue (Adobe Technical Note 5116: no transform).
_IS_RGB = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"

# pydicom's warnings quote values, which may be a patient's.
warnings.filterwarnings("ignore", module=r"pydicom\b")
logging.getLogger("pydicom").disabled = True


@dataclass(frozen=True, slots=True)
class Frame:
    """The pixels of a DICOM object."""

    pixels: bytes | Image.Image
    """A JPEG, or the image where samples are plain."""
    profile: bytes | None
    """The object's ICC profile, unverified; it goes before the JPEG's own."""
    tagged_rgb: bool
    """Whether the header calls a JPEG's components red, green and blue."""


def recognised(data: bytes) -> bool:
    """Whether this is DICOM: by its prefix, or by its first elements where an archive left out the preamble."""
    return data.startswith(b"DICM", _PREAMBLE) or bool(_BARE.match(data))


def read(data: bytes, limits: DecodingLimits) -> Frame:
    """The only frame of a photograph.

    Raises:
        ImageRejectedError: `unsupported_format` with what the object is, `truncated`, `corrupt`, or `too_costly`.
        Exception: pydicom cannot read the header.
    """
    header = _Header(data, limits)
    header.refuse_other_objects()
    if header.length == _UNDEFINED:
        return Frame(header.jpeg(), header.profile(), header.text(_PHOTOMETRIC) == "RGB")
    return Frame(header.image(), header.profile(), tagged_rgb=False)


def unusual_jpeg() -> ImageRejectedError:
    """For a frame that is lossless, JPEG-LS, or has 12 bits."""
    return unsupported("a DICOM object whose JPEG is neither baseline nor progressive of 8 bits", _EXPORT)


def as_rgb(jpeg: bytes, image: Image.Image) -> bytes | None:
    """`jpeg` marked as red, green and blue, unless its own codestream says otherwise; `image` is its opened header.

    Many archives write a wrong tag into the header, so the codestream decides: JFIF means YCbCr, and Adobe's segment or
    letters as component names say which (libjpeg knows all three). Components that are subsampled or use different
    quantisation tables are not red, green and blue.
    """
    components = getattr(image, "layer", [])  # identifier, sampling across and down, quantisation table
    told = {"jfif", "adobe"} & image.info.keys() or [chr(id_) for id_, *_ in components] == ["R", "G", "B"]
    alike = len({layer[1:] for layer in components}) == 1
    return None if told or not alike or image.mode != "RGB" else jpeg[:2] + _IS_RGB + jpeg[2:]


class _Header:
    """A DICOM object up to its pixels, and where the pixels are."""

    def __init__(self, data: bytes, limits: DecodingLimits) -> None:
        # Imported with the first DICOM file: few uploads need it.
        from pydicom.filereader import read_dataset  # noqa: PLC0415

        file = _readable(data)
        file.seek(_PREAMBLE + 4 if data.startswith(b"DICM", _PREAMBLE) else 4 if data.startswith(b"DICM") else 0)
        self._prefixed = file.tell() > 0
        self._meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
        self._syntax = _text(self._meta, _TRANSFER_SYNTAX)
        start = file.tell()
        if self._syntax == _DEFLATED:
            data, start = _inflated(data[start:], limits.max_bytes), 0
            file = _readable(data)
        if self._syntax == _BIG_ENDIAN or data[start : start + 2] == b"\0\x08":
            raise unsupported("a DICOM object in big-endian order", _EXPORT)
        self.data, self.at, self.length = data, -1, 0

        def at_pixels(tag: int, _: str | None, length: int) -> bool:
            if tag in _PIXELS:
                self.at, self.length = (file.tell() if tag == 0x7FE00010 else -1), length
            return tag in _PIXELS

        explicit = data[start + 4 : start + 6].isalpha()
        self._dataset = read_dataset(
            file, not explicit, True, stop_when=at_pixels, specific_tags=[*_TAGS, *_GREY_TRANSFORMS]
        )

    def text(self, tag: int) -> str:
        return _text(self._dataset, tag)

    def _number(self, tag: int, default: int) -> int:
        value = _value(self._dataset, tag)
        return int.from_bytes(value[:2], "little") if len(value) >= 2 else default

    def profile(self) -> bytes | None:
        element = self._dataset.get_item(_PROFILE) if _PROFILE in self._dataset else None
        start, length = getattr(element, "value_tell", 0), getattr(element, "length", 0)
        return self.data[start : start + length] if 0 < length <= MAX_PROFILE_BYTES else None

    def refuse_other_objects(self) -> None:
        """Raises `ImageRejectedError` unless this is one frame of a photograph."""
        kind = self.text(_CLASS) or _text(self._meta, _META_CLASS)
        if not kind and not self._prefixed:
            raise ImageRejectedError(
                RejectionCode.NOT_AN_IMAGE
            )  # other files may begin with a few of the same small numbers
        if kind not in _PHOTOGRAPHS:
            raise unsupported("a DICOM object other than a VL or dermoscopic photograph", _EXPORT)
        if self.text(_FRAMES) not in ("", "1"):
            raise unsupported("a DICOM object of several frames", _EXPORT)
        if self.at < 0:
            raise ImageRejectedError(RejectionCode.TRUNCATED)

    def jpeg(self) -> bytes:
        """The frame's fragments, joined (PS3.5, A.4); the first item only says where frames begin."""
        from pydicom.encaps import generate_fragments  # noqa: PLC0415

        # The file may lack the mark that closes the sequence; its fragments are still complete.
        file = CountedReads(self.data, 3 * MAX_FRAGMENTS)
        file.seek(self.at)
        frame = b"".join(itertools.islice(generate_fragments(file), 1, None))
        if not frame:
            raise ImageRejectedError(RejectionCode.TRUNCATED)
        if not frame.startswith(b"\xff\xd8") or self.text(_PHOTOMETRIC) == "MONOCHROME1":
            raise unsupported(f"a DICOM object coded as {self._coding(frame)}", _EXPORT)
        return frame

    def _coding(self, frame: bytes) -> str:
        if frame.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")):
            return "JPEG 2000"
        if frame.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
            return "JPEG XL"
        if frame.startswith(b"\xff\xd8"):
            return "an inverted JPEG"
        return "run lengths" if self._syntax == _RUN_LENGTH else "something else than JPEG"

    def image(self) -> Image.Image:
        """Uncompressed samples of 8 bits."""
        if self._syntax not in _PLAIN:
            raise unsupported("a DICOM object whose coded pixels are not in fragments", _EXPORT)
        width, height = self._number(_COLUMNS, 0), self._number(_ROWS, 0)
        kind, samples = self.text(_PHOTOMETRIC), self._number(_SAMPLES, 1)
        bits = self._number(_ALLOCATED, 0)
        if bits != 8 or self._number(_STORED, 8) != 8 or self._number(_SIGNED, 0):
            raise unsupported(f"a DICOM image of {bits} bits a sample", _EXPORT)
        if (kind, samples) not in (("RGB", 3), ("YBR_FULL", 3), ("MONOCHROME1", 1), ("MONOCHROME2", 1)):
            raise unsupported("a DICOM image in unusual colours", _EXPORT)
        if samples == 1 and any(tag in self._dataset for tag in _GREY_TRANSFORMS):
            raise unsupported("a DICOM image with a window or a lookup table", _EXPORT)
        pixels = self.data[self.at : self.at + width * height * samples]
        facts = ImageFacts("dicom", width, height)
        if not width or not height:
            raise ImageRejectedError(RejectionCode.CORRUPT)
        if len(pixels) < width * height * samples:
            raise ImageRejectedError(RejectionCode.TRUNCATED, facts)
        if samples == 1:
            grey = pixels.translate(bytes(range(255, -1, -1))) if kind == "MONOCHROME1" else pixels
            return Image.frombuffer("L", (width, height), grey)
        mode = "YCbCr" if kind == "YBR_FULL" else "RGB"
        if self._number(_PLANAR, 0) == 1:
            planes = [pixels[at : at + width * height] for at in range(0, len(pixels), width * height)]
            return Image.merge(mode, [Image.frombuffer("L", (width, height), p) for p in planes]).convert("RGB")
        return Image.frombuffer(mode, (width, height), pixels).convert("RGB")


def _readable(data: bytes) -> CountedReads:
    """The file for pydicom, with the character sets renamed to a tag that nothing uses.

    A file may name a million character sets, and pydicom would look each up twice; no text is decoded here.
    """
    return CountedReads(data.replace(_CHARACTER_SET, _NO_TAG), MAX_DICOM_READS)


def _value(dataset: Dataset, tag: int) -> bytes:
    """An element's bytes as they are in the file; pydicom's own conversions would warn about odd values."""
    value = dataset.get_item(tag).value if tag in dataset else None
    return value if isinstance(value, bytes) else b""


def _text(dataset: Dataset, tag: int) -> str:
    return _value(dataset, tag).decode("ascii", "replace").strip("\0 ")


def _inflated(compressed: bytes, most: int) -> bytes:
    """A deflated dataset, up to the size limit of a file."""
    try:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(compressed, most + 1)
    except zlib.error:
        raise ImageRejectedError(RejectionCode.CORRUPT) from None
    if len(data) > most:
        raise ImageRejectedError(RejectionCode.TOO_COSTLY)
    return data
