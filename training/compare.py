"""The whole of `python -m training compare`: which of several bundles is better, and is their mean better still?

Bundles are compared on their calibration images, since comparing chooses: a bundle that was chosen on the validation
split has no figures left on images that are new to it.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from model_layer.bundle import Bundle
from model_layer.decision import calibrated
from training.data.dataset import read_folders
from training.data.material import decoded_squares
from training.data.splits import CALIBRATION, read_splits
from training.errors import TrainingError
from training.evaluation.bootstrap import interval, lesion_weights, mean_recall, shares
from training.fit.bundle_writer import NETWORK_FILE
from training.network.served import serve
from training.report.tables import write_csv

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.data.dataset import LabelledImage

COLUMNS = ["networks", "images", "accuracy", "balanced_accuracy", "mean", "gain", "gain_low", "gain_high"]


def compare(
    folders: Sequence[Path], bundles: Sequence[Path], out: Path, *, mirrored: bool = False
) -> list[list[str | int]]:
    """Writes `comparison.csv` to `out` and returns its rows: one for each bundle and for each mean of several.

    A mean is that of the networks' probabilities (an ensemble). `mean` is that of accuracy and balanced accuracy, over
    all folders together; `gain` is its difference from the first bundle's, with a 95 % interval over lesions. With
    `mirrored`, each bundle has a second row: the mean of its answers to an image and to the image's mirror image.

    Raises:
        TrainingError: the bundles do not have the same labels, image size and calibration images, or `folders` have
            none of these.
    """
    out.mkdir(parents=True, exist_ok=True)
    images = _calibration_images(read_folders(folders), bundles)
    squares = decoded_squares(images, Bundle.read(bundles[0]).input_size, out / "cache")
    alone = {str(bundle): _probabilities(bundle, squares, out / "cache") for bundle in bundles}
    answers = {
        " + ".join(names): np.mean([alone[name] for name in names], axis=0)
        for count in range(1, len(bundles) + 1)
        for names in combinations(alone, count)
    }
    if mirrored:
        mirror = np.ascontiguousarray(squares[:, :, ::-1])
        for bundle in bundles:
            both = [alone[str(bundle)], _probabilities(bundle, mirror, out / "cache")]
            answers[f"{bundle} with the mirror image"] = np.mean(both, axis=0)
    rows = _rows(answers, images)
    write_csv(out / "comparison.csv", COLUMNS, rows)
    for networks, _, accuracy, balanced, mean, gain, low, high in rows:
        print(f"{networks}: accuracy {accuracy}, balanced {balanced}, mean {mean}; gain {gain} ({low} to {high})")
    return rows


def _calibration_images(images: Sequence[LabelledImage], bundles: Sequence[Path]) -> list[LabelledImage]:
    first, *others = [_agreed(bundle) for bundle in bundles]
    for bundle, other in zip(bundles[1:], others, strict=True):
        if other != first:
            raise TrainingError(f"{bundle} has other labels, image size or calibration images than {bundles[0]}.")
    held = [image for image in images if (image.source, image.image_id) in first[-1]]
    if not held:
        raise TrainingError(f"These folders have no calibration image of {bundles[0]}.")
    return held


def _agreed(bundle: Path) -> tuple[Any, ...]:
    read = Bundle.read(bundle)
    held = {image for image, split in read_splits(bundle / "splits.csv").items() if split == CALIBRATION}
    return read.labels, read.input_size, held


def _probabilities(bundle: Path, squares: NDArray[np.uint8], cache: Path) -> NDArray[np.float64]:
    served = serve(bundle / NETWORK_FILE, squares, np.arange(len(squares)), str(bundle), cache)
    return calibrated(served.logits, 1.0)


def _rows(answers: dict[str, NDArray[np.float64]], images: Sequence[LabelledImage]) -> list[list[str | int]]:
    truth = np.array([image.label for image in images])
    weights = lesion_weights([image.lesion for image in images])
    rows: list[list[str | int]] = []
    first: NDArray[np.float64] | None = None
    for networks, probabilities in answers.items():
        hits = probabilities.argmax(axis=1) == truth
        accuracy, balanced = shares(weights, hits), mean_recall(weights, hits, truth)
        mean = (accuracy + balanced) / 2
        first = mean if first is None else first
        gain = mean - first
        figures = [accuracy[0], balanced[0], mean[0], gain[0], *(interval(gain) or (gain[0], gain[0]))]
        rows.append([networks, len(images), *(f"{figure:.4f}" for figure in figures)])
    return rows
