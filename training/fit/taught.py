"""Learning from the mean probabilities of several networks (distillation of an ensemble: Hinton et al. 2015).

The ensemble is better than each of its networks and costs as many times as much. The network that it teaches costs as
much as one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import keras
import numpy as np

from training.data.dataset import LABELS
from training.errors import TrainingError
from training.fit.loop import read_learned
from training.fit.run_folder import CHECKPOINTS, FILE
from training.network.architecture import LOGITS, build

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config
    from training.data.material import Material
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


def halfway(teacher: keras.Model, learner: keras.Model) -> list[NDArray[np.float32]]:
    """The mean weights of the `learner` and of the `teacher` from whose weights it started.

    It is better than either, on new images too (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
    """
    return [(first + last) / 2 for first, last in zip(teacher.get_weights(), learner.get_weights(), strict=True)]


def _probabilities(network: keras.Model) -> keras.Model:
    probabilities = keras.layers.Softmax(dtype="float32")(network.output[LOGITS])
    model = keras.Model(network.input, probabilities)
    model.compile(jit_compile=False)
    return model


def teachers_of(runs: Sequence[Path], material: Material, config: Config) -> list[keras.Model]:
    """The networks of finished `runs`.

    Raises:
        TrainingError: a run is not finished, its network has another shape, or it has other splits: its network knows
            images that count as unseen here.
    """
    return [_teacher(run, material, config) for run in runs]


def _teacher(run: Path, material: Material, config: Config) -> keras.Model:
    found = read_learned(run / CHECKPOINTS)
    if found is None or not (run / FILE).exists():
        raise TrainingError(f"{run} holds no finished training run.")
    claimed = json.loads((run / FILE).read_text(encoding="utf-8"))
    ours = {"images": material.digest, "seed": config.seed, "without": sorted(material.without)}
    if {name: claimed.get(name) for name in ours} != ours:
        raise TrainingError(f"{run} has other splits: its network knows images that count as unseen here.")
    network = build(None, len(LABELS), **config.architecture)
    try:
        network.set_weights(found[0])
    except ValueError:
        raise TrainingError(f"The network of {run} has another shape.") from None
    return network
