"""Learning from a teacher's probabilities beside the labels (distillation)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from training.network.architecture import LOGITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.fit.loop import Batches


class Taught:
    """Batches whose label shares are partly a teacher's probabilities (distillation: Hinton et al. 2015).

    The teacher sees the same views, mixed ones too, so it says of each view what it shows (Beyer et al. 2022).
    """

    def __init__(self, views: Batches, teacher: keras.Model, share: float) -> None:
        """`teacher` is a network of `training.network.architecture`; `share` is its share, from 0 to 1."""
        self._views, self._share = views, share
        logits = keras.Model(teacher.input, teacher.output[LOGITS])
        self._teacher = keras.Model(logits.input, keras.layers.Softmax(dtype="float32")(logits.output))
        self._teacher.compile(jit_compile=False)

    def at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pixels (batch, size, size, 3) and label shares (batch, labels) of a step."""
        pixels, targets = self._views.at(step)
        shares = np.asarray(self._teacher.predict_on_batch(pixels), dtype=np.float32)
        return pixels, self._share * shares + (1 - self._share) * targets
