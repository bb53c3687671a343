"""How good a bundle is on labelled images, through the very `Classifier` that serves."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model_layer import BATCH, Classifier, Prediction, Rejection
from training.dataset import CODES, LABELS, read_folders
from training.errors import TrainingError
from training.metrics import Answers, confusion, figures, intervals, per_class
from training.plots import draw_confusion, draw_reliability
from training.progress import Progress
from training.splits import VALIDATION, read_splits
from training.tables import print_table, write_tables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from training.dataset import LabelledImage

ALL = "all"


@dataclass(frozen=True)
class Evaluation:
    """One image with what the classifier said of it."""

    image: LabelledImage
    answer: Prediction | Rejection


def evaluate(folders: Sequence[Path], bundle: Path, out: Path, *, unseen_only: bool) -> dict[str, Any]:
    """Writes `metrics.json`, CSV tables and plots to `out`; returns the content of `metrics.json`.

    `unseen_only` leaves out the images that the bundle's `splits.csv` says it was trained or calibrated on.

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
        images = _unseen(images, bundle)
    out.mkdir(parents=True, exist_ok=True)
    evaluations = _classify(classifier, images)

    sources = sorted({image.source for image in images})
    groups = {s: [e for e in evaluations if e.image.source == s] for s in sources} | {ALL: evaluations}
    metrics: dict[str, Any] = {}
    for name, members in groups.items():
        metrics[name] = _metrics(members)
        answers = _answers(members)
        draw_confusion(confusion(answers.truth, answers.probabilities.argmax(axis=1), len(CODES)), CODES, out, name)
        draw_reliability(answers.probabilities, answers.truth, out, name)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    _write_predictions(out / "predictions.csv", evaluations)
    write_tables(out, metrics)
    print_table(metrics)
    return metrics


def _unseen(images: list[LabelledImage], bundle: Path) -> list[LabelledImage]:
    splits = read_splits(bundle / "splits.csv")
    unseen = [i for i in images if splits.get((i.source, i.image_id), VALIDATION) == VALIDATION]
    if left_out := len(images) - len(unseen):
        print(f"{left_out:,} images that this bundle was trained or calibrated on are left out (SPLIT=all keeps them).")
    if not unseen:
        raise TrainingError("The bundle was trained or calibrated on every one of these images; give it others.")
    return unseen


def _classify(classifier: Classifier, images: Sequence[LabelledImage]) -> list[Evaluation]:
    evaluations = []
    with Progress("classifying", len(images)) as progress:
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            answers = classifier.classify([image.path.read_bytes() for image in batch])
            evaluations += [Evaluation(image, answer) for image, answer in zip(batch, answers, strict=True)]
            progress.advance(len(batch))
    return evaluations


def _metrics(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    answers = _answers(evaluations)
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


def _answers(evaluations: Sequence[Evaluation]) -> Answers:
    looked_at = [(e.image, e.answer) for e in evaluations if isinstance(e.answer, Prediction)]
    if not looked_at:
        raise TrainingError("Not one of the images could be decoded; predictions.csv tells why.")
    images, answers = zip(*looked_at, strict=True)
    return Answers(
        truth=np.array([image.label for image in images]),
        probabilities=np.array([[answer.probabilities[code] for code in CODES] for answer in answers]),
        in_set=np.array([[code in answer.prediction_set for code in CODES] for answer in answers]),
        urgent=np.array([answer.triage == "urgent" for answer in answers]),
        referred=np.array([answer.status == "referred" for answer in answers]),
        lesions=np.array([image.lesion for image in images]),
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
