"""How good a bundle is on labelled images, through the very `Classifier` that serves."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model_layer import BATCH, Classifier, DecodedImage, Prediction, Rejection
from training.dataset import ALL, CODES, LABELS, read_folders
from training.errors import TrainingError
from training.explanation import IMAGES, explanation
from training.metrics import Answers, confusion, figures, intervals, per_class
from training.overlays import PER_CLASS, draw_overlays
from training.plots import draw_confusion
from training.prediction_sets import prediction_sets
from training.probe import drawn
from training.progress import Progress
from training.reliability import draw_reliability, reliability
from training.risk_coverage import risk_coverage, summary
from training.robustness import LESIONS, robustness
from training.skin_tone import tinted, typology_angle
from training.subgroups import agreement, subgroups
from training.tables import print_table, write_tables
from training.trust_tables import write_trust
from training.unseen import unseen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model_layer import Bundle
    from training.dataset import LabelledImage


@dataclass(frozen=True)
class Evaluation:
    """One image with what the classifier said of it."""

    image: LabelledImage
    answer: Prediction | Rejection
    angle: float | None
    """The typology angle of the skin around the lesion, in degrees."""


@dataclass(frozen=True)
class Extent:
    """How many images the checks take that ask the network about each one several times; None takes all, 0 none."""

    robustness: int | None = LESIONS
    """Lesions of each class and data folder, 11 answers each."""
    explained: int | None = IMAGES
    """Images of each data folder, up to 9 answers each."""
    seed: int = 0
    """Which ones."""


def evaluate(
    folders: Sequence[Path], bundle: Path, out: Path, *, unseen_only: bool, extent: Extent = Extent()
) -> dict[str, Any]:
    """Writes `metrics.json`, CSV tables and plots to `out`; returns the content of `metrics.json`.

    `unseen_only` leaves out the images that the bundle's `splits.csv` says it was trained or calibrated on.
    `out/overlays-<folder>.png` show the photographs themselves: they are for whoever may see those, and stay there.

    Raises:
        TrainingError: no image is left, or none could be decoded.
        BundleError: the bundle cannot be used.
    """
    classifier = Classifier.load(bundle)
    codes = tuple(label.code for label in classifier.bundle.labels)
    if codes != CODES:
        raise TrainingError(f"The bundle answers with {', '.join(codes)}, but the data is labelled {', '.join(CODES)}.")
    images = read_folders(folders)
    if unseen_only:
        images = unseen(images, bundle)
    out.mkdir(parents=True, exist_ok=True)
    evaluations = _classify(classifier, images)
    _write_predictions(out / "predictions.csv", evaluations)

    sources = sorted({image.source for image in images})
    groups = {s: [e for e in evaluations if e.image.source == s] for s in sources} | {ALL: evaluations}
    own = classifier.bundle
    metrics: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    for name, members in groups.items():
        metrics[name] = {"model_version": classifier.bundle.version, **_metrics(members, own)}
        answers = _answers(members, own)
        draw_confusion(confusion(answers.truth, answers.probabilities.argmax(axis=1), len(CODES)), CODES, out, name)
        draw_reliability(answers, out, name)
        curves[name] = risk_coverage(answers)
        metrics[name]["risk_coverage"] = summary(curves[name])
        metrics[name]["prediction_sets"] = prediction_sets(answers)
        metrics[name]["calibration"] = reliability(answers)
        if name != ALL:  # with the kinds mixed, a group would differ by its share of photographs by phone
            metrics[name] |= _by_person(members, answers)
    _overlays(classifier, evaluations, out, extent.seed)
    _check_changes(classifier, [e.image for e in evaluations if isinstance(e.answer, Prediction)], metrics, extent)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    write_tables(out, metrics)
    write_trust(out, metrics, curves)
    print_table(metrics)
    return metrics


def _classify(classifier: Classifier, images: Sequence[LabelledImage]) -> list[Evaluation]:
    evaluations = []
    with Progress("classifying", len(images)) as progress:
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            decoded = [classifier.decode(image.path.read_bytes()) for image in batch]
            predictions = iter(classifier.predict([one for one in decoded if isinstance(one, DecodedImage)]))
            for image, one in zip(batch, decoded, strict=True):
                if isinstance(one, DecodedImage):
                    evaluations.append(Evaluation(image, next(predictions), typology_angle(one.pixels)))
                else:
                    evaluations.append(Evaluation(image, one, None))
            progress.advance(len(batch))
    return evaluations


def _metrics(evaluations: Sequence[Evaluation], bundle: Bundle) -> dict[str, Any]:
    answers = _answers(evaluations, bundle)
    n = len(evaluations)
    return {
        "n": n,
        "lesions": len(set(answers.lesions.tolist())),
        **figures(answers, LABELS),
        **intervals(answers, LABELS),
        "referred": float(np.mean(answers.referred)),
        "rejected": (n - len(answers.truth)) / n,
        "per_class": per_class(answers, LABELS),
    }


def _by_person(evaluations: Sequence[Evaluation], answers: Answers) -> dict[str, Any]:
    looked_at = [e for e in evaluations if isinstance(e.answer, Prediction)]
    images, angles = [e.image for e in looked_at], [e.angle for e in looked_at]
    return {
        "subgroups": subgroups(images, answers, angles),
        "skin_tone_agreement": agreement(images, angles),
        "skin_bluer_than_grey": tinted(angles),
    }


def _check_changes(
    classifier: Classifier, images: Sequence[LabelledImage], metrics: dict[str, Any], extent: Extent
) -> None:
    """Adds `robustness` and `explanation` to the objects of `metrics`."""
    if extent.robustness != 0:
        for name, table in robustness(classifier, drawn(images, extent.robustness, extent.seed)).items():
            metrics[name]["robustness"] = table
    if extent.explained != 0:
        chosen = _some(images, extent.explained, extent.seed)
        for name, own in explanation(classifier, chosen, extent.seed).items():
            metrics[name]["explanation"] = own


def _some(images: Sequence[LabelledImage], count: int | None, seed: int) -> list[LabelledImage]:
    """At most `count` images of each data folder, drawn evenly: of common and rare classes as they come."""
    rng = np.random.default_rng(seed)
    chosen: list[LabelledImage] = []
    for source in sorted({image.source for image in images}):
        own = [image for image in images if image.source == source]
        rows = np.sort(rng.permutation(len(own))[:count])
        chosen += [own[k] for k in rows]
    return chosen


def _overlays(classifier: Classifier, evaluations: Sequence[Evaluation], out: Path, seed: int) -> None:
    answers = {e.image.path: e.answer for e in evaluations if isinstance(e.answer, Prediction)}
    chosen = drawn([e.image for e in evaluations if e.image.path in answers], PER_CLASS, seed)
    for source in sorted({image.source for image in chosen}):
        shown = []
        for image in sorted((i for i in chosen if i.source == source), key=lambda i: (i.label, i.image_id)):
            decoded = classifier.decode(image.path.read_bytes())
            if isinstance(decoded, DecodedImage):
                shown.append((image, answers[image.path], decoded.pixels))
        draw_overlays(shown, out / f"overlays-{source}.png", f"{source}, {classifier.bundle.version}")


def _answers(evaluations: Sequence[Evaluation], bundle: Bundle) -> Answers:
    looked_at = [(e.image, e.answer) for e in evaluations if isinstance(e.answer, Prediction)]
    if not looked_at:
        folders = " and ".join(sorted({e.image.source for e in evaluations}))
        raise TrainingError(f"Not one of the images of {folders} could be decoded; predictions.csv tells why.")
    images, answers = zip(*looked_at, strict=True)
    return Answers(
        truth=np.array([image.label for image in images]),
        probabilities=np.array([[answer.probabilities[code] for code in CODES] for answer in answers]),
        in_set=np.array([[code in answer.prediction_set for code in CODES] for answer in answers]),
        urgent=np.array([answer.triage == "urgent" for answer in answers]),
        referred=np.array([answer.status == "referred" for answer in answers]),
        lesions=np.array([image.lesion for image in images]),
        temperatures=np.array([bundle.point(answer.kind).temperature for answer in answers]),
    )


def _write_predictions(file: Path, evaluations: Sequence[Evaluation]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["source", "image_id", "truth", "status", "label", "confidence", "triage", "set", *CODES])
        for evaluation in evaluations:
            image, answer = evaluation.image, evaluation.answer
            head = [image.source, image.image_id, CODES[image.label]]
            if isinstance(answer, Rejection):
                writer.writerow([*head, "rejected", answer.code])
            else:
                tail = [" ".join(answer.prediction_set), *(answer.probabilities[code] for code in CODES)]
                writer.writerow([*head, answer.status, answer.label, answer.confidence, answer.triage, *tail])
