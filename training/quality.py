"""The whole of `make quality`: limits of image quality, from degrading real images."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from model_layer import Classifier
from training.data.dataset import read_folders
from training.data.sampling import drawn_by_class
from training.data.splits import for_choosing
from training.errors import TrainingError
from training.evaluation.quality_study import FALL, FLAGGED, SERIES, Threshold, degrade, threshold, undegraded
from training.evaluation.subgroups import NOT_RECORDED, skin_type
from training.report.quality_tables import write_flagged, write_quality

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.data.dataset import LabelledImage


def study(folders: Sequence[Path], bundle: Path, out: Path, lesions: int | None, seed: int) -> list[Threshold]:
    """Degrades images of `lesions` lesions of each class and folder, and measures all images undegraded.

    Writes tables, a plot and `quality_thresholds.json` to `out`; returns a proposal for each measure.

    Raises:
        TrainingError: a folder cannot be used, or there is no lesion to degrade.
        BundleError: the bundle cannot be used.
    """
    classifier = Classifier.load(bundle)
    held, images = for_choosing(read_folders(folders), bundle)
    if not held:
        raise TrainingError(
            f"None of these images is in the calibration split of {bundle}: nothing may be chosen on them."
        )
    chosen = drawn_by_class(held, lesions, seed)
    if not chosen:
        raise TrainingError("The number of lesions is 0: there is nothing to degrade.")
    out.mkdir(parents=True, exist_ok=True)

    natural = undegraded(classifier, images)
    studied = degrade(classifier, chosen)
    sources = np.array([image.source for image in images])
    proposed = [
        threshold(own, steps, natural[own.measure], sources) for own, steps in zip(SERIES, studied, strict=True)
    ]
    flagged = _flagged(images, natural, proposed)

    write_quality(out, studied, proposed, natural, sources)
    write_flagged(out / "quality_flagged.csv", flagged)
    text = json.dumps(limits(proposed), indent=2) + "\n"
    (out / "quality_thresholds.json").write_text(text, encoding="utf-8")
    for own in proposed:
        print(_sentence(own, flagged))
    return proposed


def _flagged(
    images: Sequence[LabelledImage], natural: dict[str, NDArray[np.float64]], proposed: Sequence[Threshold]
) -> list[tuple[str, str, int, float]]:
    """(measure, group, images, share beyond the threshold) of undegraded images, by folder and by its skin types."""
    groups: dict[str, list[int]] = {}
    for k, image in enumerate(images):
        groups.setdefault(image.source, []).append(k)
        if (kind := skin_type(image)) != NOT_RECORDED:
            groups.setdefault(f"{image.source}, skin type {kind}", []).append(k)
    return [
        (
            own.series.measure,
            name,
            len(groups[name]),
            float(np.mean(own.beyond(natural[own.series.measure])[groups[name]])),
        )
        for own in proposed
        for name in sorted(groups)
    ]


def limits(proposed: Sequence[Threshold]) -> dict[str, dict[str, Any]]:
    """A manifest's `quality`: `value` and `target` of each measure that has a threshold."""
    return {
        own.series.measure: {"value": own.value, "target": target(own)} for own in proposed if own.value is not None
    }


def target(own: Threshold) -> str:
    """The target that a threshold was chosen for, as the manifest states it."""
    few = f"at most {FLAGGED:.0%} of the undegraded images of each data folder lie beyond it"
    if own.from_accuracy is None:
        return f"none: the model's accuracy never falls by {FALL:.0%} of its value"
    if own.value == own.from_accuracy:
        return f"accuracy on degraded images has fallen by {FALL:.0%} of its value; {few}"
    return f"{few}; accuracy has fallen by {FALL:.0%} of its value only at {own.from_accuracy:.4g}, among them"


def _sentence(own: Threshold, flagged: Sequence[tuple[str, str, int, float]]) -> str:
    if own.value is None:
        return f"{own.series.reason}: no threshold of {own.series.measure} ({target(own).removeprefix('none: ')})."
    side = "above" if own.series.worse > 0 else "below"
    shares = ", ".join(f"{group} {share:.1%}" for measure, group, _, share in flagged if measure == own.series.measure)
    return f"{own.series.reason}: {own.series.measure} {side} {own.value:.4g} ({target(own)}). Beyond it: {shares}."
