"""The training loop: all layers learn, with a checkpoint every few minutes and an average of the weights.

The learning rate is constant until the last stage, where it falls (Hu et al. 2024). This works as well as a cosine over
the whole run, and the earlier stages can be extended during the run, when its duration is not known beforehand.

Lower blocks learn more slowly, because the edges and textures of the published weights suit skin too. The result is an
exponential average of the weights over the last part of the run. It is better than the weights of any single step
(Polyak & Juditsky 1992), and no best epoch has to be chosen on held-out images.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import keras
import numpy as np

from training.errors import TrainingError
from training.fit.run_folder import LEARNED, STATE
from training.machine import machine
from training.network.architecture import LOGITS, block_of
from training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config, Stage

CHECKPOINT_SECONDS = 300.0
AVERAGED_EVERY = 4
"""Steps between two updates of the average, which spans thousands of steps."""
CHECKPOINT = "checkpoint.npz"


_OF_ANOTHER = "The checkpoint in {} is of another network: give the command that started it, or another OUT."


class Batches(Protocol):
    """An endless supply of training batches; the same step always gives the same batch."""

    def at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pixels (batch, size, size, 3) and label shares (batch, labels) of one step."""


@dataclass
class State:
    """The progress of a run, as its checkpoint keeps it."""

    step: int = 0
    """Steps done, over all stages."""
    seen: int = 0
    """Views seen so far."""
    views: int = 0
    """Views in all stages."""
    machine: str = ""
    backend: str = ""
    seconds: float = 0.0
    """Time spent training, including earlier calls."""
    losses: list[float] = field(default_factory=list)
    """The loss of each step since the last entry of `history`."""
    history: list[dict[str, float | str]] = field(default_factory=list)
    """Entries with the views so far, the mean loss since the entry before, and figures on held-out images."""


class LayerwiseAdamW(keras.optimizers.AdamW):  # type: ignore[misc]
    """AdamW with a learning rate for each variable."""

    def __init__(self, factors: Sequence[float], **options: Any) -> None:
        """`factors` multiply the learning rate; they are in the order of the variables."""
        super().__init__(**options)
        self._factors = factors

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable; Keras calls this."""
        super().update_step(gradient, variable, learning_rate * self._factors[self._get_variable_index(variable)])


def fit(
    model: keras.Model,
    supply: Callable[[Stage], Batches],
    judge: Callable[[keras.Model], dict[str, float]],
    config: Config,
    folder: Path,
) -> State:
    """Trains `model` through the configuration's stages and leaves the averaged weights in it.

    `supply` makes the batches of a stage. `judge` computes figures on held-out images; they are shown and recorded, and
    decide nothing. If `folder` has a checkpoint, training continues from there with the same result.

    Raises:
        TrainingError: the checkpoint in `folder` is of another network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    learner = learner_of(model, config)
    state, average = _resumed(model, learner, folder / CHECKPOINT) or (State(), model.get_weights())
    ends = steps_at_ends(config)
    state.machine, state.backend = machine(), keras.backend.backend()
    state.views, judged_every = ends[-1] * config.batch, max(1, config.judged // config.batch)
    keep = math.exp(-AVERAGED_EVERY * config.batch / config.average)
    for stage, end in zip(config.stages, ends, strict=True):
        if state.step >= end:
            continue
        batches = supply(stage)
        with Progress(stage.name, (end - state.step) * config.batch) as progress:
            started = saved = time.monotonic()
            while state.step < end:
                learner.optimizer.learning_rate = config.learning_rate * rate_factor(state.step, config)
                state.losses.append(float(learner.train_on_batch(*batches.at(state.step))))
                learner.reset_metrics()
                state.step, state.seen = state.step + 1, state.seen + config.batch
                if state.step % AVERAGED_EVERY == 0:
                    _move(average, model.get_weights(), keep)
                progress.advance(config.batch, note=f"loss {np.mean(state.losses[-50:]):.3f}")
                look = state.step % judged_every == 0 or state.step == ends[-1]
                if look:
                    state.history.append(_look(model, average, judge, state, stage))
                now = time.monotonic()
                if look or state.step == end or now - saved > CHECKPOINT_SECONDS:
                    state.seconds, started, saved = state.seconds + now - started, now, now
                    _save(folder, model, learner, average, state)
        shutil.copyfile(folder / CHECKPOINT, folder / f"after-{stage.size}-{state.seen}.npz")
    model.set_weights(average)
    keep_learned(folder, average, state)
    return state


def learned(model: keras.Model, config: Config, folder: Path) -> State | None:
    """Sets the weights that a finished run left in `folder`, and returns its state.

    Returns None if there is no such run, or if it had fewer views than `config` has.

    Raises:
        TrainingError: they are of another network.
    """
    found = read_learned(folder)
    if found is None or found[1].seen < steps_at_ends(config)[-1] * config.batch:
        return None
    try:
        model.set_weights(found[0])
    except ValueError:
        raise TrainingError(_OF_ANOTHER.format(folder)) from None
    return found[1]


def read_learned(folder: Path) -> tuple[list[NDArray[np.float32]], State] | None:
    """The weights and the state of a finished run; None if `folder` has none."""
    if not (folder / LEARNED).exists():
        return None
    with np.load(folder / LEARNED) as kept:
        state = State(**json.loads(str(kept["state"])))
        if state.seen < state.views:
            return None
        return [kept[name].astype(np.float32) for name in sorted(set(kept.files) - {"state"})], state


def keep_learned(folder: Path, weights: Sequence[NDArray[Any]], state: State) -> None:
    """Writes what `read_learned` reads."""
    arrays: dict[str, Any] = {f"{i:03}": values for i, values in enumerate(weights)}
    text = json.dumps(vars(state), indent=1)
    partial = folder / f"partial-{LEARNED}"
    np.savez(partial, **arrays, state=np.array(text))
    partial.replace(folder / LEARNED)
    (folder / STATE).write_text(text, encoding="utf-8")


def _look(
    model: keras.Model,
    average: Sequence[NDArray[Any]],
    judge: Callable[[keras.Model], dict[str, float]],
    state: State,
    stage: Stage,
) -> dict[str, float | str]:
    """Judges the averaged weights on held-out images, then restores the model's own weights."""
    own = model.get_weights()
    model.set_weights(average)
    figures = judge(keras.Model(model.input, model.output[LOGITS]))
    model.set_weights(own)
    loss = float(np.mean(state.losses))
    state.losses.clear()
    numbers = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
    print(f"{state.seen:,} of {state.views:,} views: loss {loss:.3f}  {numbers}", flush=True)
    return {"stage": stage.name, "views": state.seen, "loss": loss, **figures}


def _move(average: list[NDArray[Any]], weights: Sequence[NDArray[Any]], keep: float) -> None:
    for mean, value in zip(average, weights, strict=True):
        np.add(keep * mean, (1 - keep) * value, out=mean)


def _save(
    folder: Path, model: keras.Model, learner: keras.Model, average: Sequence[NDArray[Any]], state: State
) -> None:
    """Replaces the checkpoint atomically, because a run may be killed while it writes."""
    groups = {
        "variables": [
            np.asarray(variable) for variable in model.variables
        ],  # includes the state of dropout's random numbers
        "average": average,
        "optimizer": [np.asarray(variable) for variable in learner.optimizer.variables],
    }
    arrays: dict[str, Any] = {
        f"{name}_{i:03}": value for name, values in groups.items() for i, value in enumerate(values)
    }
    text = json.dumps(vars(state), indent=1)
    partial = folder / f"partial-{CHECKPOINT}"
    np.savez(partial, **arrays, state=np.array(text))
    partial.replace(folder / CHECKPOINT)
    beside = folder / f"partial-{STATE}"  # for people and `python -m training status`
    beside.write_text(text, encoding="utf-8")
    beside.replace(folder / STATE)


def _resumed(model: keras.Model, learner: keras.Model, file: Path) -> tuple[State, list[NDArray[Any]]] | None:
    """Restores the checkpoint in `file`; returns its state and the averaged weights, or None if there is no file."""
    if not file.exists():
        return None
    with np.load(file) as kept:
        groups: dict[str, list[NDArray[Any]]] = {"variables": [], "average": [], "optimizer": []}
        for name in sorted(set(kept.files) - {"state"}):
            groups[name.rsplit("_", 1)[0]].append(kept[name])
        state = State(**json.loads(str(kept["state"])))
    try:
        for name, variables in (("variables", model.variables), ("optimizer", learner.optimizer.variables)):
            for variable, value in zip(variables, groups[name], strict=True):
                variable.assign(value)
    except ValueError:
        raise TrainingError(_OF_ANOTHER.format(file.parent)) from None
    return state, groups["average"]


def learner_of(model: keras.Model, config: Config) -> keras.Model:
    """`model` up to its logits, compiled with a learning rate for each block."""
    learner = keras.Model(model.input, model.output[LOGITS])
    by_path = {v.path: _factor(layer, config) for layer in model.layers for v in layer.trainable_variables}
    factors = [by_path[variable.path] for variable in learner.trainable_variables]
    optimizer = LayerwiseAdamW(
        factors, learning_rate=config.learning_rate, weight_decay=config.weight_decay, clipnorm=1.0
    )
    learner.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config.label_smoothing),
        jit_compile=False,  # with XLA, TensorFlow does not use oneDNN's convolutions
    )
    optimizer.build(learner.trainable_variables)
    return learner


def _factor(layer: keras.layers.Layer, config: Config) -> float:
    block = block_of(layer)
    return float(config.head_factor if block > 5 else config.layer_decay ** (5 - block))


def steps_at_ends(config: Config) -> list[int]:
    """The steps done at the end of each stage."""
    ends: list[int] = np.cumsum([stage.views // config.batch for stage in config.stages]).tolist()
    return ends


def rate_factor(step: int, config: Config) -> float:
    """The learning rate's factor: a linear warm-up, then 1, then half a cosine over the last stage."""
    ends = steps_at_ends(config)
    last = ends[-2] if len(ends) > 1 else 0
    if step >= last:
        return 0.5 * (1 + math.cos(math.pi * (step - last) / (ends[-1] - last)))
    return min(1.0, (step + 1) * config.batch / max(1, config.warm_up))
