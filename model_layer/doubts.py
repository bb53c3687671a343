"""Why the model does not stand by its label: the reasons of `referred`, each a stable code and what a person can do.

Codes are part of record schema 1 and never change their meaning; sentences may be reworded. All reasons that hold are
given, the photograph's own faults first, since those can be mended by taking it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_layer.answers import Reason

if TYPE_CHECKING:
    from model_layer.bundle import OperatingPoint, QualityLimits
    from model_layer.facts import ImageFacts
    from model_layer.quality import Quality

SENTENCES = {
    "low_resolution": "The photograph has few pixels; take it at the camera's full resolution.",
    "too_dark": "The photograph is too dark; take it again in even, bright light.",
    "overexposed": "Large parts of the photograph are overexposed; take it again without flash or glare.",
    "blurred": "The photograph is blurred; hold the camera still, let it focus, and take it again.",
    "no_lesion_in_view": "Nothing in the photograph stands out as a lesion would; bring the lesion to the middle and "
    "fill a third of the frame with it.",
    "unlike_training_data": "The image is unlike the skin images that the model was trained on; check that it shows a "
    "skin lesion from close by, and let a person look.",
    "uncertain": "The model's confidence is under the threshold from which on it stands by a label; a person should "
    "look.",
}
"""Every code with its sentence."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for or against standing by one image's label."""

    confidence: float
    """Calibrated probability of the likeliest label, 0..1."""
    unlikeness: float | None
    """How unlike the training data the image is, in the bundle's units; None where its network does not say."""
    quality: Quality | None
    """None where the bundle does not judge photographs."""
    facts: ImageFacts


def doubts(point: OperatingPoint, limits: QualityLimits | None, evidence: Evidence) -> tuple[Reason, ...]:
    """All reasons to refer the image; empty when the model stands by its label."""
    codes = _faults(evidence.quality, evidence.facts, limits) if evidence.quality and limits else []
    strange, limit = evidence.unlikeness, point.unlikeness
    if strange is not None and limit is not None and strange > limit:
        codes.append("unlike_training_data")
    if evidence.confidence < point.confidence:
        codes.append("uncertain")
    return tuple(Reason(code, SENTENCES[code]) for code in codes)


def _faults(quality: Quality, facts: ImageFacts, limits: QualityLimits) -> list[str]:
    """Codes of what is wrong with the photograph itself."""
    holds = {
        "low_resolution": _under(min(facts.width, facts.height), limits.side),
        "too_dark": _under(quality.brightness, limits.brightness),
        "overexposed": _over(quality.clipped, limits.clipped),
        "blurred": _over(quality.blur, limits.blur),
        "no_lesion_in_view": _under(quality.detail, limits.detail),
    }
    return [code for code, held in holds.items() if held]


def _under(value: float, limit: float | None) -> bool:
    return limit is not None and value < limit


def _over(value: float, limit: float | None) -> bool:
    return limit is not None and value > limit
