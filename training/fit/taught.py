"""Learning from the mean probabilities of several networks (distillation of an ensemble: Hinton et al. 2015).

The ensemble is better than each of its networks and costs as many times as much. The network that it teaches costs as
much as one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from training.network.architecture import LOGITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.fit.loop import Batches


class Taught:
    """Batches whose label shares are what teachers say of the same pixels, mixed ones too."""

    def __init__(self, views: Batches, teachers: Sequence[keras.Model]) -> None:
        """`teachers` are networks of `training.network.architecture`."""
        self._views = views
        self._teachers = [_probabilities(teacher) for teacher in teachers]

    def at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pixels (batch, size, size, 3) and label shares (batch, labels) of a step."""
        pixels, _ = self._views.at(step)
        shares = [np.asarray(teacher.predict_on_batch(pixels), dtype=np.float32) for teacher in self._teachers]
        return pixels, np.mean(shares, axis=0)


def halfway(start: keras.Model, learner: keras.Model) -> list[NDArray[np.float32]]:
    """The mean weights of the `learner` and of the trained network from whose weights it started.

    It is better than either, on new images too (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
    """
    return [(first + last) / 2 for first, last in zip(start.get_weights(), learner.get_weights(), strict=True)]


def _probabilities(network: keras.Model) -> keras.Model:
    probabilities = keras.layers.Softmax(dtype="float32")(network.output[LOGITS])
    model = keras.Model(network.input, probabilities)
    model.compile(jit_compile=False)
    return model
