"""What the model says of one image: a `Prediction`, or a `Rejection`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_layer.rejections import SENTENCES

if TYPE_CHECKING:
    from model_layer.facts import ImageFacts


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an image was referred or rejected: a stable code, and a sentence for a person."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Heatmap:
    """Where the evidence for the answered label lies in the centre square (class activation map)."""

    rows: int
    columns: int
    values: tuple[int, ...]
    """`rows * columns` levels, row by row: 0 (none) to 100 (this image's strongest)."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The model's label for one image. Research use only: never a diagnosis."""

    status: str
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
    image: ImageFacts


@dataclass(frozen=True, slots=True)
class Rejection:
    """The image cannot be classified, and trying again cannot help."""

    code: str
    """A key of `model_layer.rejections.SENTENCES`."""
    image: ImageFacts | None = None
    """What is known of the file, where its header could be read."""
    particular: str | None = None
    """A sentence on this very file, where it says more than the code's."""

    @property
    def sentence(self) -> str:
        """What a person reads."""
        return self.particular or SENTENCES[self.code]
