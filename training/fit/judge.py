"""Figures on held-out images while a network learns. They are shown and recorded, and decide nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model_layer.decision import calibrated
from training.evaluation.metrics import balanced_accuracy, macro_auc

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras
    from numpy.typing import NDArray

BATCH = 32
IMAGES = 250
"""Calibration images of each data folder that are looked at."""


def some_of_each(sources: NDArray[np.str_], seed: int) -> NDArray[np.int64]:
    """Positions, ascending, of at most `IMAGES` images of each folder; `sources` (n,) has the folder of each image."""
    order = np.random.default_rng(seed).permutation(len(sources))
    return np.sort(np.concatenate([order[sources[order] == s][:IMAGES] for s in np.unique(sources)]))


def judge(
    squares: NDArray[np.uint8], rows: NDArray[np.int64], truth: NDArray[np.int64], sources: NDArray[np.str_]
) -> Callable[[keras.Model], dict[str, float]]:
    """A function from a network to macro AUC and balanced accuracy on `squares[rows]`, for each data folder."""

    def figures_of(learner: keras.Model) -> dict[str, float]:
        batches = [squares[rows[i : i + BATCH]].astype(np.float32) for i in range(0, len(rows), BATCH)]
        logits = np.concatenate([np.asarray(learner.predict_on_batch(x), dtype=np.float64) for x in batches])
        return folder_figures(logits, truth, sources)

    return figures_of


def folder_figures(
    logits: NDArray[np.float64], truth: NDArray[np.int64], sources: NDArray[np.str_]
) -> dict[str, float]:
    """Macro AUC and balanced accuracy of each data folder, from logits (n, labels)."""
    figures = {}
    for source in np.unique(sources).tolist():
        own = sources == source
        area = macro_auc(truth[own], calibrated(logits[own], 1.0))
        if area is not None:  # a folder with a single class has none
            figures[f"{source} AUC"] = area
        figures[f"{source} balanced"] = balanced_accuracy(truth[own], logits[own].argmax(axis=1))
    return figures
