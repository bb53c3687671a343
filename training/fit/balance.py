"""Post-hoc logit adjustment for class imbalance (Menon et al. 2021).

Training draws rare classes more often than they occur, but not uniformly. The remaining imbalance shows in the logits;
it is removed by subtracting a multiple of the log of each class's share of the draws. The multiple is chosen on the
calibration split and maximises the mean of accuracy and balanced accuracy: accuracy by itself neglects rare classes,
balanced accuracy neglects the nevi that most uploads show. It is the median of five choices, each without a fifth
of the lesions, so that no small group of lesions decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import GroupKFold

from training.data.splits import CROSS_VALIDATION
from training.evaluation.metrics import balanced_accuracy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras
    from numpy.typing import NDArray

MULTIPLES = tuple(round(0.25 * i, 2) for i in range(-2, 9))


def class_shares(probabilities: NDArray[np.float64], labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """(classes,) each class's share of the draws, from (n,) draw `probabilities` and (n,) `labels`."""
    shares = np.bincount(labels, weights=probabilities, minlength=classes)
    return np.asarray(np.maximum(shares, 1e-3) / shares.sum())


def adjustment(
    logits: NDArray[np.float64],
    truth: NDArray[np.int64],
    sources: NDArray[np.str_],
    lesions: Sequence[str],
    shares: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64]]:
    """The multiple, and the offset (labels,) to add to the logits (n, labels)."""
    chosen = []
    for rest, _ in GroupKFold(CROSS_VALIDATION).split(logits, truth, list(lesions)):
        merits = [merit(logits[rest] - m * np.log(shares), truth[rest], sources[rest]) for m in MULTIPLES]
        chosen.append(MULTIPLES[int(np.argmax(merits))])
    multiple = float(np.median(chosen))
    return multiple, -multiple * np.log(shares)


def merit(logits: NDArray[np.float64], truth: NDArray[np.int64], sources: NDArray[np.str_]) -> float:
    """Mean of accuracy and balanced accuracy within each data folder, weighted by the folder's number of images.

    With equal weights the smallest folder would dominate, although a single image changes its figures.
    """
    answers = logits.argmax(axis=1)
    total = 0.0
    for source in np.unique(sources):
        own = sources == source
        both = float(np.mean(answers[own] == truth[own])) + balanced_accuracy(truth[own], answers[own])
        total += float(np.mean(own)) * both / 2
    return total


def add_to_bias(model: keras.Model, layer: str, offset: NDArray[np.float64]) -> None:
    """Adds `offset` to the bias of the convolution that makes the class maps, and so to the logits."""
    kernel, bias = model.get_layer(layer).get_weights()
    model.get_layer(layer).set_weights([kernel, bias + offset.astype(bias.dtype)])
