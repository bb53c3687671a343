"""The whole of `python -m training shortcuts`: can the features tell which collection an image is from?

Collections differ in camera, light, crop and compression. A network that learns these learns a shortcut: where an image
is from says much of what it shows. Here a linear probe (Alain & Bengio 2017) guesses the collection of lesions of one
label, photographed in one way, so that the label explains nothing. Chance is one in the number of collections. The same
probe on plain statistics of the pixels shows how much of it nobody can avoid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model_layer.bundle import Bundle
from training.data.dataset import CODES, read_folders
from training.data.material import decoded_squares
from training.data.splits import TRAIN, read_splits
from training.errors import TrainingError
from training.evaluation.metrics import balanced_accuracy
from training.fit.bundle_writer import NETWORK_FILE
from training.network.served import serve
from training.report.tables import write_csv

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.data.dataset import LabelledImage

FEWEST = 20
"""Images of a label that a collection must have."""
FOLDS = 5
COLUMNS = ["kind", "label", "collections", "images", "chance", "pixel_statistics", "features"]


def shortcuts(folders: Sequence[Path], bundle: Path, out: Path) -> list[list[Any]]:
    """Writes `shortcuts.csv` to `out` and returns its rows: balanced accuracy in cross-validation over lesions.

    Only images that `bundle` was not trained on are used.

    Raises:
        TrainingError: no label has enough images in two collections of one kind.
    """
    out.mkdir(parents=True, exist_ok=True)
    splits = read_splits(bundle / "splits.csv")
    images = [i for i in read_folders(folders) if splits.get((i.source, i.image_id)) != TRAIN]
    squares = decoded_squares(images, Bundle.read(bundle).input_size, out / "cache")
    features = serve(bundle / NETWORK_FILE, squares, np.arange(len(images)), "features", out / "cache").features
    plain = np.stack([_statistics(square) for square in squares])
    rows: list[list[Any]] = []
    for kind in sorted({image.kind for image in images}):
        for label, code in enumerate(CODES):
            own = _of_large_collections(images, kind, label)
            sources = np.unique([images[i].source for i in own]).tolist()
            if len(sources) > 1:
                told = [told_apart(values[own], [images[i] for i in own]) for values in (plain, features)]
                share = 1 / len(sources)
                rows.append([kind, code, " ".join(sources), len(own), *(round(x, 3) for x in (share, *told))])
    if not rows:
        raise TrainingError(f"No label has {FEWEST} unseen images in two of the folders that show one kind of image.")
    write_csv(out / "shortcuts.csv", COLUMNS, rows)
    for kind, code, sources, count, chance, statistics, found in rows:
        print(f"{kind} {code}, {count} images of {sources}: chance {chance:.2f}, statistics of the pixels "
              f"{statistics:.2f}, features {found:.2f}")  # fmt: skip
    return rows


def _of_large_collections(images: Sequence[LabelledImage], kind: str, label: int) -> list[int]:
    own = [i for i, image in enumerate(images) if (image.kind, image.label) == (kind, label)]
    names, counts = np.unique([images[i].source for i in own], return_counts=True)
    large = set(names[counts >= FEWEST].tolist())
    return [i for i in own if images[i].source in large]


def _statistics(square: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Nine numbers: mean and deviation of each channel, the corners' brightness, and energy at two fine scales."""
    levels = square.astype(np.float64)
    grey = levels.mean(axis=2)
    edge = len(grey) // 8
    corners = np.mean([grey[:edge, :edge], grey[:edge, -edge:], grey[-edge:, :edge], grey[-edge:, -edge:]])
    fine, coarse = np.abs(np.diff(grey, axis=1)).mean(), np.abs(np.diff(grey[:, ::2], axis=1)).mean()
    return np.array([*levels.mean(axis=(0, 1)), *levels.std(axis=(0, 1)), corners, fine, coarse])


def told_apart(values: NDArray[Any], images: Sequence[LabelledImage]) -> float:
    """Balanced accuracy of the linear probe, each lesion judged by a probe that was fitted to others."""
    _, truth = np.unique([image.source for image in images], return_inverse=True)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    lesions = [image.lesion for image in images]
    guessed = cross_val_predict(probe, values, truth, groups=lesions, cv=folds)
    return balanced_accuracy(truth, guessed)
