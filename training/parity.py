"""How far the network that ships strays from the Keras network that was trained, on the same real images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model_layer.decision import calibrated
from training.metrics import balanced_accuracy
from training.network import LOGITS

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

BATCH = 16


def keras_logits(model: keras.Model, squares: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, labels) logits of the float network."""
    rows = [
        np.asarray(model(squares[i : i + BATCH].astype(np.float32), training=False)[LOGITS], dtype=np.float64)
        for i in range(0, len(squares), BATCH)
    ]
    return np.concatenate(rows)


def parity(
    float_logits: NDArray[np.float64],
    shipped_logits: NDArray[np.float64],
    truth: NDArray[np.int64],
    temperature: float,
) -> dict[str, float | int]:
    """Agreement and largest change between two networks' answers to the same n images."""
    ours, theirs = calibrated(shipped_logits, temperature), calibrated(float_logits, temperature)
    return {
        "images": len(truth),
        "same_label": float(np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1))),
        "largest_probability_change": float(np.abs(ours - theirs).max()),
        "mean_probability_change": float(np.abs(ours - theirs).mean()),
        "balanced_accuracy_keras": balanced_accuracy(truth, theirs.argmax(axis=1)),
        "balanced_accuracy_shipped": balanced_accuracy(truth, ours.argmax(axis=1)),
    }
