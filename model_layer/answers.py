"""What can become of an image, in words: statuses and codes, the `Prediction`, and the `Rejection`.

Statuses and codes are part of record schema 1: their values never change their meaning. Their sentences may be
reworded.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Code(StrEnum):
    """A stable code with the sentence that a person reads; as a string it is the code."""

    sentence: str

    def __new__(cls, code: str, sentence: str) -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.sentence = sentence
        return member


class Status(Code):
    """The one state in which every upload ends. The model gives the first three; the last two are the worker's."""

    CLASSIFIED = "classified", "The model stands by its label."
    REFERRED = "referred", "The model abstains: it gives probabilities, and the reasons why a person should look."
    REJECTED = "rejected", "The image cannot be classified; retrying will not help."
    SUPERSEDED = "superseded", "The object was overwritten or deleted before it could be read."
    FAILED = "failed", "All retries are used up, or a risky try is under way; a later success replaces this record."


class RejectionCode(Code):
    """Why an image cannot be classified, and what a person can do about it. Retrying gives the same answer."""

    EMPTY = "empty", "The file is empty; upload the photograph again."
    NOT_AN_IMAGE = (
        "not_an_image",
        "The file is not an image; upload a photograph as JPEG, PNG, WebP, TIFF, HEIC or DICOM.",
    )
    UNSUPPORTED_FORMAT = "unsupported_format", "The file is of a kind that is not read here; save it as JPEG or PNG."
    TRUNCATED = "truncated", "The image breaks off before its end; upload the complete file again."
    INCOMPLETE = (
        "incomplete",
        "A part of the picture is lost; upload the original file again, or take the photograph again.",
    )
    CORRUPT = "corrupt", "The image's data is damaged and cannot be decoded; export it again."
    TOO_COSTLY = (
        "too_costly",
        "The file takes far more work to read than such an image should; save it again as JPEG or PNG.",
    )
    TOO_LARGE = "too_large", "The file is larger than the limit; save it at a higher compression."
    TOO_MANY_PIXELS = "too_many_pixels", "The image has more pixels than the limit; reduce its width and height."
    TOO_SMALL = (
        "too_small",
        "The image has too few pixels to show a lesion; take it from closer, at full resolution.",
    )
    BLANK = "blank", "The image shows one even colour and no lesion; take the photograph again."


class ReferralCode(Code):
    """Why the model does not stand by its label, in the order in which reasons are given.

    The photograph's own faults come first, since a person can mend them by taking it again.
    """

    LOW_RESOLUTION = "low_resolution", "The photograph has few pixels; take it at the camera's full resolution."
    TOO_DARK = "too_dark", "The photograph is too dark; take it again in even, bright light."
    OVEREXPOSED = (
        "overexposed",
        "Large parts of the photograph are overexposed; take it again without flash or glare.",
    )
    BLURRED = "blurred", "The photograph is blurred; hold the camera still, let it focus, and take it again."
    NO_LESION_IN_VIEW = (
        "no_lesion_in_view",
        (
            "Nothing in the photograph stands out as a lesion would; bring the lesion to the middle and fill a third "
            "of the frame with it."
        ),
    )
    UNLIKE_TRAINING_DATA = (
        "unlike_training_data",
        (
            "The image is unlike the skin images that the model was trained on; check that it shows a skin lesion from "
            "close by, and let a person look."
        ),
    )
    UNCERTAIN = (
        "uncertain",
        "The model is not sure enough to stand by this label; a person should look.",
    )


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the model abstains from one image."""

    code: ReferralCode
    sentence: str


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What a record says about an image's file; no other metadata leaves the decoder."""

    format: str
    """`jpeg`, `png`, `webp`, `bmp`, `tiff`, `gif`, `heic` or `dicom`, judged by content."""
    width: int
    """Pixels of the upright image, before any reduction."""
    height: int


@dataclass(frozen=True, slots=True)
class Heatmap:
    """Where the evidence for the predicted label lies in the centre square (class activation map)."""

    rows: int
    columns: int
    values: tuple[int, ...]
    """`rows * columns` levels, row by row: 0 (none) to 100 (this image's strongest)."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The model's label for one image. Research use only: never a diagnosis."""

    status: Status
    """`classified` (the model stands by its label) or `referred` (it abstains)."""
    label: str
    label_name: str
    confidence: float
    """Calibrated probability of `label`, 0..1."""
    probabilities: dict[str, float]
    """Every label's calibrated probability; they sum to 1."""
    prediction_set: tuple[str, ...]
    """The labels that hold the truth with the coverage that the bundle states, likeliest first."""
    triage: str
    """`urgent` when the malignant labels together pass the bundle's threshold, else `routine`."""
    reasons: tuple[Reason, ...]
    """Why it was referred; empty when classified."""
    heatmap: Heatmap
    facts: ImageFacts
    kind: str | None = None
    """How the image seems to have been taken, which selects its thresholds; None where the bundle has no kinds."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """The image cannot be classified; retrying will not help."""

    code: RejectionCode
    facts: ImageFacts | None = None
    """What the header says, where it could be read."""
    detail: str | None = None
    """A sentence about this file, where it says more than the code's."""

    @property
    def sentence(self) -> str:
        """What a person reads."""
        return self.detail or self.code.sentence


class ImageRejectedError(Exception):
    """Raised while decoding; becomes a `Rejection` with the same parts."""

    def __init__(self, code: RejectionCode, facts: ImageFacts | None = None, detail: str | None = None) -> None:
        super().__init__(detail or code.sentence)
        self.code = code
        self.facts = facts
        self.detail = detail


def unsupported(name: str, instead: str = "save it as JPEG or PNG") -> ImageRejectedError:
    """For a sound file that is not decoded here: `name` says what it is ("a PDF"), `instead` what to upload."""
    sentence = f"The file is {name}, which is not read here; {instead}."
    return ImageRejectedError(RejectionCode.UNSUPPORTED_FORMAT, detail=sentence)


def incomplete(lost: float | None = None) -> ImageRejectedError:
    """For a picture with a hole; `lost` is the missing share, 0 to 1, where it is known."""
    code, percent = RejectionCode.INCOMPLETE, round(100 * (lost or 0))
    if not 1 <= percent <= 99:
        return ImageRejectedError(code)
    return ImageRejectedError(code, detail=code.sentence.replace("A part", f"About {percent} %"))
