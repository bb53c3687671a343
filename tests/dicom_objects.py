"""DICOM objects for tests, with the names and identifiers in them that no worker may keep."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

if TYPE_CHECKING:
    from PIL import Image

VL_PHOTOGRAPHIC = "1.2.840.10008.5.1.4.1.1.77.1.4"
DERMOSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.7"

SECRETS = (
    "Doe^Jane",
    "PID-4711",
    "19610203",
    "20260102",
    "1.2.826.0.1.3680043.8.498.111",
    "1.2.826.0.1.3680043.8.498.222",
    "ACC-0815",
    "Dr^Who",
    "left arm, itching",
)
"""What of a patient and a study is in every object of this module."""


def photograph(
    pixels: bytes,
    size: tuple[int, int],
    *,
    jpeg: bool = True,
    syntax: str | None = None,
    fragments: int = 1,
    frames: str | None = None,
    sop_class: str = DERMOSCOPIC,
    photometric: str = "YBR_FULL_422",
    samples: int = 3,
    preamble: bool = True,
    meta: bool = True,
    nested: int = 0,
    **elements: object,
) -> bytes:
    """A file of one object; `pixels` is a JPEG or plain samples, `elements` more of the dataset by keyword.

    `nested` sequences of undefined length lie in one another before the pixels.
    """
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.StudyInstanceUID = sop_class, SECRETS[4], SECRETS[5]
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = SECRETS[0], SECRETS[1], SECRETS[2]
    dataset.StudyDate, dataset.AccessionNumber, dataset.ReferringPhysicianName = SECRETS[3], SECRETS[6], SECRETS[7]
    dataset.ImageComments, dataset.Modality = SECRETS[8], "XC"
    inner = dataset
    for _ in range(nested):
        item = Dataset()
        item.PatientName = SECRETS[0]
        inner.AnatomicRegionSequence = Sequence([item])
        inner["AnatomicRegionSequence"].is_undefined_length = True
        item.is_undefined_length_sequence_item = True
        inner = item
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = samples, photometric
    dataset.Columns, dataset.Rows = size
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    if frames is not None:
        dataset.NumberOfFrames = frames
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    if jpeg:
        dataset.PixelData = encapsulate([pixels], fragments_per_frame=fragments)
        dataset["PixelData"].is_undefined_length = True
    else:
        dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)
    dataset["PixelData"].VR = "OB"
    dataset.file_meta = FileMetaDataset()
    syntax = syntax or (JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.MediaStorageSOPInstanceUID = sop_class, SECRETS[4]
    buffer = io.BytesIO()
    if meta:
        dcmwrite(buffer, dataset, enforce_file_format=True)
    else:
        dcmwrite(
            buffer,
            dataset,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=True,
            enforce_file_format=False,
        )
    data = buffer.getvalue()
    return data if preamble else data.removeprefix(data[:132] if meta else b"")


def native(image: Image.Image, **options: object) -> bytes:
    """An object of plain RGB or grey samples."""
    kind = {"RGB": ("RGB", 3), "L": ("MONOCHROME2", 1), "YCbCr": ("YBR_FULL", 3)}[image.mode]
    given = {"photometric": kind[0], "samples": kind[1], "jpeg": False, **options}
    if kind[1] == 3:
        given.setdefault("PlanarConfiguration", 0)
    return photograph(given.pop("pixels", image.tobytes()), image.size, **given)


def deflated(dataset: bytes) -> bytes:
    """A file whose deflated part is `dataset`, before compression, whatever that is."""
    head = native_header(DeflatedExplicitVRLittleEndian)
    zipper = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return head + zipper.compress(dataset) + zipper.flush()


def native_header(syntax: str) -> bytes:
    """Preamble and file meta information alone."""
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    element = b"\x02\0\x10\0UI" + len(uid).to_bytes(2, "little") + uid
    return bytes(128) + b"DICM\x02\0\0\0UL\x04\0" + len(element).to_bytes(4, "little") + element
