"""Why an image cannot be classified, and what a person can do about it.

A rejection is an answer, not a failure: trying again would give the same one. Codes are part of record
schema 1 and never change their meaning; sentences may be reworded.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model_layer.facts import ImageFacts

SENTENCES = MappingProxyType(
    {
        "empty": "The file is empty; upload the photograph again.",
        "not_an_image": "The file is not an image; upload a photograph as JPEG, PNG, WebP, TIFF, HEIC or DICOM.",
        "unsupported_format": "The file is of a kind that is not read here; save it as JPEG or PNG.",
        "truncated": "The image breaks off before its end; upload the complete file again.",
        "incomplete": "A part of the picture is lost; upload the original file again, or take the photograph again.",
        "corrupt": "The image's data is damaged and cannot be decoded; export it again.",
        "too_costly": "The file takes far more work to read than such an image should; save it again as JPEG or PNG.",
        "too_large": "The file is larger than the limit; save it at a higher compression.",
        "too_many_pixels": "The image has more pixels than the limit; reduce its width and height.",
        "too_small": "The image has too few pixels to show a lesion; take it from closer, at full resolution.",
        "blank": "The image shows one even colour and no lesion; take the photograph again.",
    }
)
"""Every rejection code with the sentence that a person reads."""


class ImageRejectedError(Exception):
    """Raised while decoding; `code` is a key of `SENTENCES`, `facts` what the header still told.

    `particular` is a sentence on this very file, where it says more than the code's.
    """

    def __init__(self, code: str, facts: ImageFacts | None = None, particular: str | None = None) -> None:
        super().__init__(particular or SENTENCES[code])
        self.code = code
        self.facts = facts
        self.particular = particular


def unsupported(name: str, instead: str = "save it as JPEG or PNG") -> ImageRejectedError:
    """A sound file that is not decoded here: `name` says what it is ("a PDF"), `instead` what to upload."""
    return ImageRejectedError(
        "unsupported_format", particular=f"The file is {name}, which is not read here; {instead}."
    )


def incomplete(lost: float | None = None) -> ImageRejectedError:
    """A picture with a hole; `lost` is the share that is missing, 0 to 1, where it is known."""
    percent = round(100 * (lost or 0))
    if not 1 <= percent <= 99:
        return ImageRejectedError("incomplete")
    sentence = SENTENCES["incomplete"].replace("A part", f"About {percent} %")
    return ImageRejectedError("incomplete", particular=sentence)
