"""Compares the served network with the Keras network that was trained, on the same real images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from model_layer.decision import calibrated
from training.evaluation.bootstrap import estimate, lesion_weights, mean_recall
from training.evaluation.metrics import expected_calibration_error
from training.network.architecture import LOGITS
from training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BATCH = 16


def keras_logits(model: keras.Model, squares: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """(len(rows), labels) logits of the float network for `squares[rows]`."""
    network = keras.Model(model.input, model.output[LOGITS])
    network.compile(jit_compile=False)
    logits = []
    with Progress("Keras network on the same images", len(rows)) as progress:
        for start in range(0, len(rows), BATCH):
            batch = squares[rows[start : start + BATCH]].astype(np.float32)
            logits.append(np.asarray(network.predict_on_batch(batch), dtype=np.float64))
            progress.advance(len(batch))
    return np.concatenate(logits)


def parity(
    float_logits: NDArray[np.float64],
    shipped_logits: NDArray[np.float64],
    truth: NDArray[np.int64],
    lesions: Sequence[str],
    temperature: float,
) -> dict[str, Any]:
    """Agreement of two networks' answers to the same n images of `lesions`, and the cost of the change.

    `balanced_accuracy_change` is shipped minus float; its interval resamples the lesions of both together.
    """
    ours, theirs = calibrated(shipped_logits, temperature), calibrated(float_logits, temperature)
    weights = lesion_weights(lesions)
    balanced = {
        name: mean_recall(weights, answers.argmax(axis=1) == truth, truth)
        for name, answers in (("shipped", ours), ("keras", theirs))
    }
    change, interval = estimate(balanced["shipped"] - balanced["keras"])
    return {
        "images": len(truth),
        "same_label": float(np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1))),
        "largest_probability_change": float(np.abs(ours - theirs).max()),
        "mean_probability_change": float(np.abs(ours - theirs).mean()),
        "balanced_accuracy_keras": float(balanced["keras"][0]),
        "balanced_accuracy_shipped": float(balanced["shipped"][0]),
        "balanced_accuracy_change": change,
        "balanced_accuracy_change_ci": interval,
        "calibration_error_keras": expected_calibration_error(theirs, truth),
        "calibration_error_shipped": expected_calibration_error(ours, truth),
    }
