"""Logit adjustment for the long tail, after training (Menon et al. 2021).

Training draws rare classes more often than they occur, but not evenly. What is left of the imbalance sits in the
logits, and is taken out by subtracting a multiple of the logarithm of each class's share of the draws. The multiple is
chosen on the calibration split for the mean of accuracy and balanced accuracy (the first alone forgets the rare
classes, the second alone the nevi that most uploads show): five times, each time without a fifth of the lesions, and
the median of the five counts, so that no few lesions decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import GroupKFold

from training.calibration import FOLDS
from training.metrics import balanced_accuracy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras
    from numpy.typing import NDArray

MULTIPLES = tuple(round(0.25 * i, 2) for i in range(-2, 9))


def class_shares(probabilities: NDArray[np.float64], labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """(classes,) share of the draws of each class; (n,) draw `probabilities` and `labels`."""
    shares = np.bincount(labels, weights=probabilities, minlength=classes)
    return np.asarray(np.maximum(shares, 1e-3) / shares.sum())


def adjustment(
    logits: NDArray[np.float64],
    truth: NDArray[np.int64],
    sources: NDArray[np.str_],
    lesions: Sequence[str],
    shares: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64]]:
    """The multiple, and what to add to (n, labels) logits: the median of what the lesions outside each fold choose."""
    chosen = []
    for rest, _ in GroupKFold(FOLDS).split(logits, truth, list(lesions)):
        merits = [merit(logits[rest] - m * np.log(shares), truth[rest], sources[rest]) for m in MULTIPLES]
        chosen.append(MULTIPLES[int(np.argmax(merits))])
    multiple = float(np.median(chosen))
    return multiple, -multiple * np.log(shares)


def merit(logits: NDArray[np.float64], truth: NDArray[np.int64], sources: NDArray[np.str_]) -> float:
    """Mean of accuracy and balanced accuracy within each kind of image; each kind counts by its images.

    Were all kinds to count alike, the smallest would decide, whose figures jump with single images.
    """
    answers = logits.argmax(axis=1)
    total = 0.0
    for source in np.unique(sources):
        own = sources == source
        both = float(np.mean(answers[own] == truth[own])) + balanced_accuracy(truth[own], answers[own])
        total += float(np.mean(own)) * both / 2
    return total


def add_to_bias(model: keras.Model, layer: str, offset: NDArray[np.float64]) -> None:
    """Adds `offset` to the bias of the convolution that makes the class maps, hence to every logit."""
    kernel, bias = model.get_layer(layer).get_weights()
    model.get_layer(layer).set_weights([kernel, bias + offset.astype(bias.dtype)])
