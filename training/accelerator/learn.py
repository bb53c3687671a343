"""Trains the networks of a pack, one after another, with everything in the accelerator's memory."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from training.accelerator.device_views import ViewOptions, views
from training.data.sampling import systematic
from training.fit.judge import BATCH, folder_figures
from training.fit.loop import State, keep_learned, learner_of, rate_factor, steps_at_ends
from training.machine import machine
from training.network.architecture import build
from training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from jax import Array
    from numpy.typing import NDArray

    from training.config import Config, Stage

ASKED_EVERY = 64
"""Steps between two looks at the loss, which wait for the accelerator."""
KEPT_EVERY = 60.0
"""Seconds between two copies of the average on disk."""
Values = list[Any]


@dataclass(frozen=True)
class Pictures:
    """The images, in the accelerator's memory."""

    copies: list[Array]
    """Of the training images, each (n, side * side); see `training.accelerator.spoil`."""
    targets: Array
    """(n, labels)"""
    judged: Array
    """(m, side, side, 3)"""
    judged_labels: NDArray[np.int64]
    judged_sources: NDArray[np.str_]


class Network:
    """A network with its functions compiled for the accelerator."""

    def __init__(self, config: Config, labels: int, weights: Sequence[NDArray[Any]]) -> None:
        """`weights` are the first ones, as `keras.Model.get_weights` gives them."""
        self.config = config
        self._model = build(None, labels, **config.architecture)
        self._model.set_weights(weights)
        self._learner = learner_of(self._model, config)
        self._forward = jax.jit(self._logits)

    def logits(self, values: tuple[Values, Values], pixels: NDArray[np.uint8] | Array) -> NDArray[np.float64]:
        """(n, labels) for the pixels (n, side, side, 3)."""
        parts = []
        for start in range(0, len(pixels), BATCH):
            part = pixels[start : start + BATCH]
            full = jnp.pad(part, ((0, BATCH - len(part)), (0, 0), (0, 0), (0, 0)))  # one shape, compiled once
            parts.append(np.asarray(self._forward(*values, full))[: len(part)])
        return np.concatenate(parts).astype(np.float64)

    def _logits(self, trainable: Values, others: Values, pixels: Array) -> Array:
        logits: Array = self._learner.stateless_call(trainable, others, pixels.astype(jnp.float32), training=False)[0]
        return logits

    def start(self) -> tuple[Values, Values, Values]:
        """Copies of the trainable values, the others, and the optimizer's."""
        learner = self._learner
        groups = (learner.trainable_variables, learner.non_trainable_variables, learner.optimizer.variables)
        first, second, third = ([jnp.array(variable.value) for variable in group] for group in groups)
        return first, second, third

    def weights(self, values: tuple[Values, Values]) -> list[NDArray[Any]]:
        """The values in the order of `keras.Model.get_weights`."""
        groups = (self._learner.trainable_variables, self._learner.non_trainable_variables)
        for variables, own in zip(groups, values, strict=True):
            for variable, value in zip(variables, own, strict=True):
                variable.assign(value)
        weights: list[NDArray[Any]] = self._model.get_weights()
        return weights

    def step_of(self, stage: Stage, teachers: int) -> Callable[..., Any]:
        """The compiled function of one training step; `teachers` of the same shape take the place of the labels."""
        config, learner = self.config, self._learner
        options = ViewOptions(stage.size, stage.field, config.augmentation, config.mixup)
        keep = math.exp(-config.batch / config.average)
        rate_at = [v.path for v in learner.optimizer.variables].index(learner.optimizer._learning_rate.path)  # noqa: SLF001
        seed = jax.random.fold_in(jax.random.key(config.seed), config.variant)

        def loss_of(trainable: Values, others: Values, pixels: Array, targets: Array) -> tuple[Array, Values]:
            logits, others = learner.stateless_call(trainable, others, pixels, training=True)
            return learner.loss(targets, logits), others

        def step(
            values: tuple[Values, Values, Values],
            average: tuple[Values, Values],
            taught_by: Sequence[tuple[Values, Values]],
            pictures: tuple[list[Array], Array],
            rows: Array,
            number: Array,
            rate: Array,
        ) -> tuple[tuple[Values, Values, Values], tuple[Values, Values], Array]:
            trainable, others, optimizer = values
            copies, labels = pictures
            pixels, targets = views(copies, rows, labels, jax.random.fold_in(seed, number), options)
            if teachers:
                shares = [jax.nn.softmax(self._logits(*each, pixels)) for each in taught_by]
                targets = jnp.mean(jnp.stack(shares), axis=0)
            (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, others, pixels, targets)
            optimizer = [rate if i == rate_at else value for i, value in enumerate(optimizer)]
            trainable, optimizer = learner.optimizer.stateless_apply(optimizer, gradients, trainable)
            average = _averaged(average[0], trainable, keep), _averaged(average[1], others, keep)
            return (trainable, others, optimizer), average, loss

        compiled: Callable[..., Any] = jax.jit(step, donate_argnums=(0, 1))
        return compiled


def _averaged(average: Values, values: Values, keep: float) -> Values:
    """The average after a step; the state of random numbers has none."""
    floats = [jnp.issubdtype(new.dtype, jnp.floating) for new in values]
    pairs = zip(average, values, floats, strict=True)
    return [keep * old + (1 - keep) * new if moves else new for old, new, moves in pairs]


def learn(
    network: Network,
    pictures: Pictures,
    draws: NDArray[np.float64],
    folder: Path,
    *,
    taught_by: Sequence[tuple[Values, Values]],
    until: float,
) -> tuple[Values, Values]:
    """Trains `network` through its stages; returns the averaged values, and leaves them in `folder`.

    `draws` (n,) has the probability of each image. `taught_by` are the values of networks of the same shape. At
    the time `until` (of `time.monotonic`) it stops with what it has.
    """
    config = network.config
    folder.mkdir(parents=True, exist_ok=True)
    ends = steps_at_ends(config)
    state = State(views=ends[-1] * config.batch, machine=machine(), backend=keras.backend.backend())
    order = _order(draws, ends[-1], config)
    values = network.start()
    average = (list(map(jnp.copy, values[0])), list(map(jnp.copy, values[1])))
    judged_every, losses = max(1, config.judged // config.batch), []
    began = kept = time.monotonic()
    for stage, end in zip(config.stages, ends, strict=True):
        step = network.step_of(stage, len(taught_by))
        with Progress(stage.name, (end - state.step) * config.batch) as progress:
            while state.step < end and time.monotonic() < until:
                rate = jnp.float32(config.learning_rate * rate_factor(state.step, config))
                images, number = (pictures.copies, pictures.targets), jnp.int32(state.step)
                values, average, loss = step(values, average, taught_by, images, order[state.step], number, rate)
                losses.append(loss)
                state.step, state.seen = state.step + 1, state.seen + config.batch
                if state.step % ASKED_EVERY == 0:
                    progress.advance(ASKED_EVERY * config.batch, note=f"loss {float(loss):.3f}")
                if state.step % judged_every == 0 or state.step == ends[-1]:
                    state.losses = [float(each) for each in losses]
                    state.seconds = time.monotonic() - began
                    _look(network, average, pictures, state, stage)
                    losses.clear()
                if time.monotonic() - kept > KEPT_EVERY:
                    kept = time.monotonic()
                    keep_learned(folder, _halves(network.weights(average)), state)
    state.seconds = time.monotonic() - began
    keep_learned(folder, _halves(network.weights(average)), state)
    return average


def _order(draws: NDArray[np.float64], steps: int, config: Config) -> NDArray[np.int32]:
    """(steps, batch) images of each step. A pass is one systematic draw, as in `training.data.batches`."""
    a_pass = max(1, int(np.count_nonzero(draws)) // config.batch) * config.batch
    passes = -(-steps * config.batch // a_pass)
    drawn = [
        systematic(draws, a_pass, np.random.default_rng((config.seed, config.variant, 0, i))) for i in range(passes)
    ]
    return np.concatenate(drawn).astype(np.int32)[: steps * config.batch].reshape(steps, config.batch)


def _look(network: Network, average: tuple[Values, Values], pictures: Pictures, state: State, stage: Stage) -> None:
    logits = network.logits(average, pictures.judged)
    figures = folder_figures(logits, pictures.judged_labels, pictures.judged_sources)
    loss = float(np.mean(state.losses))
    state.losses.clear()
    state.history.append({"stage": stage.name, "views": state.seen, "loss": loss, **figures})
    numbers = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
    print(f"{state.seconds:.0f} s, {state.seen:,} of {state.views:,} views: loss {loss:.3f}  {numbers}", flush=True)


def _halves(weights: Sequence[NDArray[Any]]) -> list[NDArray[np.float16]]:
    return [values.astype(np.float16) for values in weights]


def compile_only(network: Network, pictures: Pictures, teachers: int, steps: int) -> None:
    """Compiles each stage's step and prints how long a step takes once it is compiled."""
    config = network.config
    rows = np.arange(config.batch, dtype=np.int32)
    for stage in config.stages:
        values = network.start()
        average = (list(map(jnp.copy, values[0])), list(map(jnp.copy, values[1])))
        taught_by = [network.start()[:2] for _ in range(teachers)]
        step = network.step_of(stage, teachers)
        began = time.monotonic()
        for number in range(steps + 1):
            images = (pictures.copies, pictures.targets)
            rate = jnp.float32(0)
            values, average, loss = step(values, average, taught_by, images, rows, jnp.int32(number), rate)
            if number == 0:
                loss.block_until_ready()
                compiled, began = time.monotonic() - began, time.monotonic()
        loss.block_until_ready()
        took = (time.monotonic() - began) / steps
        speed = f"{took * 1e3:.1f} ms a step, {config.batch / took:,.0f} views/s"
        print(f"{stage.name}: compiled in {compiled:.0f} s, {speed}", flush=True)
    began = time.monotonic()
    network.logits(network.start()[:2], pictures.judged[:BATCH])
    print(f"forward: compiled in {time.monotonic() - began:.0f} s", flush=True)


def with_views(config: Config, counts: Sequence[int]) -> Config:
    """`config` with other numbers of views in its stages."""
    stages = zip(config.stages, counts, strict=True)
    return replace(config, stages=tuple(replace(stage, views=count) for stage, count in stages))
