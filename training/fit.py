"""The training loop: phases from the head downwards, a checkpoint every epoch, the best epoch kept."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import keras
import numpy as np

from training.errors import TrainingError
from training.network import LOGITS, block_of
from training.progress import Progress
from training.winograd import WinogradConv2D

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config, Phase

WARM_UP = 0.1
"""Share of a phase's steps over which the learning rate rises."""


class Batches(Protocol):
    """A supply of training batches that never ends and is the same for the same step."""

    def at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The network's inputs and labels of one step."""


@dataclass
class State:
    """Where training stands; written beside the weights after every epoch."""

    phase: int = 0
    epoch: int = 0
    """Epochs of the phase that are done."""
    step: int = 0
    """Steps done over all phases."""
    best: float = -1.0
    since_best: int = 0
    seconds: float = 0.0
    """Time spent in epochs, those before an interruption included."""
    history: list[dict[str, float | str]] = field(default_factory=list)


def fit(
    model: keras.Model,
    supply: Callable[[Phase], Batches],
    evaluate: Callable[[keras.Model], dict[str, float]],
    config: Config,
    folder: Path,
    start: State | None = None,
) -> State:
    """Trains `model` in the configuration's phases, and leaves its best weights in it and in `folder`/best.weights.h5.

    `supply` makes the batches of a phase. `evaluate` yields figures of held-out images; `score` among them chooses the
    epoch. Started again on the same folder, a run goes on after its last whole epoch, with the weights of
    then and an optimiser that gathers its moments anew. `start` is where another run left off, whose weights `model`
    has.

    Raises:
        TrainingError: the checkpoints in `folder` are of another network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last, best, state_file = folder / "last.weights.h5", folder / "best.weights.h5", folder / "state.json"
    state = start or State()
    if state_file.exists():
        state = State(**json.loads(state_file.read_text()))
        try:
            model.load_weights(last)
        except ValueError:
            raise TrainingError(
                f"The checkpoints in {folder} are of another network, or of a run with or without --winograd: give the "
                "command that began them, or another OUT."
            ) from None
    elif start is not None:
        # What is gone on from is itself a candidate: a run that only makes it worse leaves it as it was.
        state.best = evaluate(learner_of(model, config.phases[state.phase], config))["score"]
        _save(model, best)
    while state.phase < len(config.phases):
        phase = config.phases[state.phase]
        learner, batches = learner_of(model, phase, config), supply(phase)
        steps = math.ceil(config.epoch / config.batch)
        while state.epoch < phase.epochs and state.since_best < config.patience:
            started = time.monotonic()
            loss = _epoch(learner, batches, state, phase, steps, config)
            figures = evaluate(learner)
            state.seconds += time.monotonic() - started
            state.epoch += 1
            state.history.append({"phase": phase.name, "epoch": state.epoch, "loss": loss, **figures})
            better = figures["score"] > state.best
            state.since_best = 0 if better else state.since_best + 1
            if better:
                state.best = figures["score"]
                _save(model, best)
            _save(model, last)
            _write(state_file, state)
            print(_line(phase, state, loss, figures, better=better), flush=True)
        model.load_weights(best)  # the next phase builds on the best of this one
        _save(model, last)
        state.phase, state.epoch, state.since_best = state.phase + 1, 0, 0
        _write(state_file, state)
    model.load_weights(best)
    return state


def _save(model: keras.Model, file: Path) -> None:
    """Whole or not at all: a run may be killed while it writes."""
    partial = file.with_name(f"partial-{file.name}")
    model.save_weights(partial)
    partial.replace(file)


def _write(file: Path, state: State) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(vars(state), indent=1), encoding="utf-8")
    partial.replace(file)


def learner_of(model: keras.Model, phase: Phase, config: Config) -> keras.Model:
    """`model` up to its logits, compiled with just the phase's layers free."""
    for layer in model.layers:
        layer.trainable = block_of(layer) >= phase.first_block
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = config.dropout * phase.regularisation
    learner = keras.Model(model.input, model.output[LOGITS])
    learner.compile(
        optimizer=keras.optimizers.AdamW(phase.learning_rate, weight_decay=config.weight_decay, clipnorm=1.0),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=config.label_smoothing * phase.regularisation
        ),
        # On processors TensorFlow is faster without, but for Winograd's sums, which only a compiler makes worth while.
        jit_compile=keras.backend.backend() != "tensorflow" or any(isinstance(x, WinogradConv2D) for x in model.layers),
    )
    return learner


def _epoch(learner: keras.Model, batches: Batches, state: State, phase: Phase, steps: int, config: Config) -> float:
    """Runs `steps` steps and returns their mean loss."""
    classes = learner.output_shape[-1]
    losses = []
    with Progress(f"{phase.name}, epoch {state.epoch + 1} of {phase.epochs}", steps * config.batch) as progress:
        for i in range(steps):
            inputs, labels = batches.at(state.step)
            done = (state.epoch * steps + i) / (phase.epochs * steps)
            learner.optimizer.learning_rate = phase.learning_rate * schedule(done)
            learner.reset_metrics()
            targets = np.eye(classes, dtype=np.float32)[labels]
            alpha = config.mixup * phase.regularisation
            inputs, targets = mixed(inputs, targets, alpha, np.random.default_rng((config.seed, 2, state.step)))
            losses.append(float(learner.train_on_batch(inputs, targets)))
            state.step += 1
            progress.advance(len(labels), note=f"loss {np.mean(losses[-50:]):.3f}")
    return float(np.mean(losses))


def mixed(
    inputs: NDArray[np.float32], targets: NDArray[np.float32], alpha: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Every item with some of another's features and label (mixup: Zhang et al. 2018), by shares from Beta(alpha)."""
    if alpha <= 0:
        return inputs, targets
    share = rng.beta(alpha, alpha, (len(inputs), 1)).astype(np.float32)
    share = np.maximum(share, 1 - share)  # mostly itself
    other = rng.permutation(len(inputs))
    own = share[:, :, None, None]
    return own * inputs + (1 - own) * inputs[other], share * targets + (1 - share) * targets[other]


def schedule(done: float) -> float:
    """The learning rate's factor when `done` (0..1) of a phase is over: a linear warm-up, then half a cosine."""
    if done < WARM_UP:
        return (done + 1e-3) / (WARM_UP + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def _line(phase: Phase, state: State, loss: float, figures: dict[str, float], *, better: bool) -> str:
    numbers = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
    return f"{phase.name} {state.epoch}/{phase.epochs}: loss {loss:.3f}  {numbers}{'  (best so far)' if better else ''}"
