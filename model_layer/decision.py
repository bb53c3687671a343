"""From the network's numbers to a prediction: calibration, prediction set, abstention, triage, heat map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model_layer.answers import Heatmap, Prediction, Reason, ReferralCode, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model_layer.answers import ImageFacts
    from model_layer.bundle import Bundle, OperatingPoint, QualityLimits
    from model_layer.network import Outputs
    from model_layer.quality import Quality

# A finer grid would add no information: a unit of VGG16's block 5 sees most of the image.
HEATMAP_SIDE = 7
DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for or against standing by one image's label."""

    label: int
    """The likeliest label, as an index into the bundle's."""
    confidence: float
    """Its calibrated probability, 0..1."""
    unlikeness: float | None
    """How unlike the training data the image is, in the bundle's units; None where its network has no such output."""
    quality: Quality | None
    """None where the bundle does not judge photographs."""
    facts: ImageFacts


def logits_of(class_maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, rows, columns, labels) class maps to (n, labels) logits: the average over each map."""
    return np.asarray(class_maps.mean(axis=(1, 2), dtype=np.float64))


def calibrated(logits: NDArray[np.float64], temperature: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, labels) logits to probabilities: softmax after temperature scaling (Guo et al. 2017).

    `temperature` is one value for all, or (n, 1).
    """
    scaled = logits / temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def likelier_mass(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, labels): the summed probability of all labels that are likelier than this one; 0 for the likeliest.

    The conformity score of adaptive prediction sets (Romano, Sesia, Candès 2020) with its random part at 0, so that the
    same image always gets the same set, and the likeliest label is always in it. Including the label's own probability
    in the score, and adding the likeliest label by a separate rule, doubled the sets (5.4 labels instead of 2.2).
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ordered = np.take_along_axis(probabilities, order, axis=1)
    scores = np.empty_like(ordered)
    np.put_along_axis(scores, order, np.cumsum(ordered, axis=1) - ordered, axis=1)
    return scores


def decide(bundle: Bundle, outputs: Outputs, images: Sequence[tuple[ImageFacts, Quality | None]]) -> list[Prediction]:
    """The predictions for n images, in order, from the network's outputs for them."""
    kinds = kinds_of(bundle, outputs)
    logits = logits_of(outputs.class_maps)  # (n, labels)
    predictions = []
    for i, ((facts, quality), kind) in enumerate(zip(images, kinds, strict=True)):
        point = bundle.point(kind)
        probabilities = calibrated(logits[i : i + 1], point.temperature)
        strange = None if outputs.unlikeness is None else float(outputs.unlikeness[i])
        evidence = Evidence(int(probabilities.argmax()), float(probabilities.max()), strange, quality, facts)
        predictions.append(_prediction(bundle, point, kind, outputs.class_maps[i], probabilities, evidence))
    return predictions


def kinds_of(bundle: Bundle, outputs: Outputs) -> list[str] | list[None]:
    """The most likely kind of each of the n images; None for all where the bundle has no kinds."""
    if outputs.kinds is None:
        return [None] * len(outputs.class_maps)
    return [bundle.kinds[k] for k in outputs.kinds.argmax(axis=1)]


def _prediction(
    bundle: Bundle,
    point: OperatingPoint,
    kind: str | None,
    class_maps: NDArray[np.float32],
    row: NDArray[np.float64],
    evidence: Evidence,
) -> Prediction:
    """One image's prediction from (rows, columns, labels) class maps and a (1, labels) row of probabilities."""
    probabilities, scores = row[0], likelier_mass(row)[0]
    best, order = evidence.label, np.argsort(-probabilities, kind="stable")
    members = [k for k in order if scores[k] <= point.prediction_set]
    malignant = sum(float(p) for p, label in zip(probabilities, bundle.labels, strict=True) if label.malignant)
    reasons = referral_reasons(point, bundle.quality, evidence)
    return Prediction(
        status=Status.REFERRED if reasons else Status.CLASSIFIED,
        label=bundle.labels[best].code,
        label_name=bundle.labels[best].name,
        confidence=round(float(probabilities[best]), DECIMALS),
        probabilities={
            label.code: round(float(p), DECIMALS) for label, p in zip(bundle.labels, probabilities, strict=True)
        },
        prediction_set=tuple(bundle.labels[int(k)].code for k in members),
        triage="urgent" if malignant >= point.malignant else "routine",
        reasons=reasons,
        heatmap=heatmap(class_maps, best),
        facts=evidence.facts,
        kind=kind,
    )


def referral_reasons(point: OperatingPoint, limits: QualityLimits | None, evidence: Evidence) -> tuple[Reason, ...]:
    """All reasons to refer the image, in the order of `ReferralCode`; empty when the model stands by its label."""
    holds = _photograph_faults(evidence.quality, evidence.facts, limits) if evidence.quality and limits else {}
    holds[ReferralCode.UNLIKE_TRAINING_DATA] = _over(evidence.unlikeness, point.unlikeness)
    holds[ReferralCode.UNCERTAIN] = evidence.confidence < point.confidence[evidence.label]
    return tuple(Reason(code, code.sentence) for code, held in holds.items() if held)


def _photograph_faults(quality: Quality, facts: ImageFacts, limits: QualityLimits) -> dict[ReferralCode, bool]:
    return {
        ReferralCode.LOW_RESOLUTION: _under(min(facts.width, facts.height), limits.side),
        ReferralCode.TOO_DARK: _under(quality.brightness, limits.brightness),
        ReferralCode.OVEREXPOSED: _over(quality.clipped, limits.clipped),
        ReferralCode.BLURRED: _over(quality.blur, limits.blur),
        ReferralCode.NO_LESION_IN_VIEW: _under(quality.detail, limits.detail),
    }


def _under(value: float, limit: float | None) -> bool:
    return limit is not None and value < limit


def _over(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and value > limit


def heatmap(class_maps: NDArray[np.float32], label: int) -> Heatmap:
    """Evidence for `label` in (rows, columns, labels) class maps, at most 7 x 7 (Zhou et al. 2016).

    Softmax does not change when all logits move together, so the evidence is the difference between the label's map
    and the average map; evidence against the label counts as none.
    """
    evidence = class_maps[:, :, label] - class_maps.mean(axis=2)  # (rows, columns)
    step = -(-max(evidence.shape) // HEATMAP_SIDE)
    rows, columns = evidence.shape[0] // step, evidence.shape[1] // step
    blocks = evidence[: rows * step, : columns * step].reshape(rows, step, columns, step).mean(axis=(1, 3))
    positive = np.maximum(blocks, 0)
    strongest = float(positive.max())
    levels = np.rint(positive * (100 / strongest)).astype(int) if strongest > 0 else np.zeros_like(positive, dtype=int)
    return Heatmap(rows, columns, tuple(int(v) for v in levels.ravel()))
