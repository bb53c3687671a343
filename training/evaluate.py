"""The whole of `make evaluate`: a bundle's figures on labelled images, through the `Classifier` that serves."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model_layer import BATCH, Classifier, DecodedImage, Prediction, Rejection
from training.data.dataset import ALL, CODES, LABELS, read_folders
from training.data.sampling import drawn_by_class, drawn_by_folder
from training.data.skin_tone import tinted, typology_angle
from training.data.splits import unseen
from training.errors import TrainingError
from training.evaluation.confidence import curve_summary, prediction_sets, reliability, risk_coverage
from training.evaluation.explanation import IMAGES, explanation
from training.evaluation.metrics import Answers, confusion, figures, intervals, per_class
from training.evaluation.robustness import LESIONS, robustness
from training.evaluation.subgroups import agreement, subgroups
from training.progress import Progress
from training.report.overlays import PER_CLASS, draw_overlays
from training.report.plots import draw_confusion, draw_reliability
from training.report.tables import print_table, write_tables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model_layer import Bundle
    from training.data.dataset import LabelledImage


@dataclass(frozen=True)
class Evaluation:
    """One image with the classifier's answer."""

    image: LabelledImage
    answer: Prediction | Rejection
    angle: float | None
    """The typology angle of the skin around the lesion, in degrees."""


@dataclass(frozen=True)
class Extent:
    """How many images the slow checks take, which need several answers per image. None: all, 0: none."""

    robustness: int | None = LESIONS
    """Lesions of each class and data folder, 11 answers each."""
    explained: int | None = IMAGES
    """Images of each data folder, up to 9 answers each."""
    seed: int = 0
    """Decides which images are drawn."""


def evaluate(
    folders: Sequence[Path], bundle: Path, out: Path, *, unseen_only: bool, extent: Extent = Extent()
) -> dict[str, Any]:
    """Writes `metrics.json`, CSV tables and plots to `out`; returns the content of `metrics.json`.

    `unseen_only` leaves out the images that the bundle was trained or calibrated on, according to its `splits.csv`.
    `out/overlays-<folder>.png` show photographs of patients: they must stay where they are allowed to be.

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
    metrics: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    for name, members in groups.items():
        answers = _answers(members, classifier.bundle)
        curves[name] = risk_coverage(answers)
        metrics[name] = {
            "model_version": classifier.bundle.version,
            **_headlines(len(members), answers),
            "risk_coverage": curve_summary(curves[name]),
            "prediction_sets": prediction_sets(answers),
            "calibration": reliability(answers),
        }
        if name != ALL:  # across folders, a group's figures would depend on its share of clinical images
            metrics[name] |= _by_person(members, answers)
        draw_confusion(confusion(answers.truth, answers.probabilities.argmax(axis=1), len(CODES)), CODES, out, name)
        draw_reliability(answers, out, name)
    _check_changes(classifier, [e.image for e in evaluations if isinstance(e.answer, Prediction)], metrics, extent)
    _draw_overlays(classifier, evaluations, out, extent.seed)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    write_tables(out, metrics, curves)
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


def _answers(evaluations: Sequence[Evaluation], bundle: Bundle) -> Answers:
    predicted = [(e.image, e.answer) for e in evaluations if isinstance(e.answer, Prediction)]
    if not predicted:
        folders = " and ".join(sorted({e.image.source for e in evaluations}))
        raise TrainingError(f"None of the images of {folders} could be decoded; predictions.csv says why.")
    images, answers = zip(*predicted, strict=True)
    return Answers(
        truth=np.array([image.label for image in images]),
        probabilities=np.array([[answer.probabilities[code] for code in CODES] for answer in answers]),
        in_set=np.array([[code in answer.prediction_set for code in CODES] for answer in answers]),
        urgent=np.array([answer.triage == "urgent" for answer in answers]),
        referred=np.array([answer.status == "referred" for answer in answers]),
        lesions=np.array([image.lesion for image in images]),
        temperatures=np.array([bundle.point(answer.kind).temperature for answer in answers]),
    )


def _headlines(n: int, answers: Answers) -> dict[str, Any]:
    """Figures of `n` images, of which those in `answers` were not rejected."""
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
    predicted = [e for e in evaluations if isinstance(e.answer, Prediction)]
    images, angles = [e.image for e in predicted], [e.angle for e in predicted]
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
        for name, table in robustness(classifier, drawn_by_class(images, extent.robustness, extent.seed)).items():
            metrics[name]["robustness"] = table
    if extent.explained != 0:
        chosen = drawn_by_folder(images, extent.explained, extent.seed)
        for name, own in explanation(classifier, chosen, extent.seed).items():
            metrics[name]["explanation"] = own


def _draw_overlays(classifier: Classifier, evaluations: Sequence[Evaluation], out: Path, seed: int) -> None:
    answers = {e.image.path: e.answer for e in evaluations if isinstance(e.answer, Prediction)}
    chosen = drawn_by_class([e.image for e in evaluations if e.image.path in answers], PER_CLASS, seed)
    for source in sorted({image.source for image in chosen}):
        shown = []
        for image in sorted((i for i in chosen if i.source == source), key=lambda i: (i.label, i.image_id)):
            decoded = classifier.decode(image.path.read_bytes())
            if isinstance(decoded, DecodedImage):
                shown.append((image, answers[image.path], decoded.pixels))
        draw_overlays(shown, out / f"overlays-{source}.png", f"{source}, {classifier.bundle.version}")


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
