"""Labelled images in, a served bundle out: the whole way of `make train`, top to bottom."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from model_layer.decision import calibrated
from training import calibration
from training.batches import CachedBatches, FreshBatches, view_probabilities
from training.bundle_writer import NETWORK_FILE, commit, write_manifest
from training.dataset import LABELS, read_folders
from training.errors import TrainingError
from training.export import PIXELS, convolutions_after, export_onnx
from training.fit import fit
from training.frozen import Trunk, Views, views
from training.metrics import balanced_accuracy
from training.network import CLASS_MAPS, HEAD, LOGITS, build, cut, load_pretrained
from training.parity import keras_logits, parity
from training.pixels import decoded_squares, pixel_digest
from training.quantisation import quantise
from training.sampling import draw
from training.served import served_logits
from training.splits import CALIBRATION, TRAIN, VALIDATION, split, write_splits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config, Phase
    from training.dataset import LabelledImage

# Of each held-out kind, this many images are shown to the Keras network too: it takes five times as long.
PARITY_IMAGES = 256


def train(
    folders: Sequence[Path], weights: str, out: Path, config: Config, command: str, precision: str
) -> dict[str, Any]:
    """Trains on `folders` and writes the bundle to `out`/bundle; returns its manifest.

    `weights`: `imagenet`, a file, or `none` (random; with a small VGG only). `precision`: `float32` or
    `mixed_bfloat16`. A run that was interrupted goes on from its caches and its last whole epoch under `out`.

    Raises:
        TrainingError: the data or the weights do not fit.
    """
    code = commit()
    keras.utils.clear_session()  # layer names count from one again: the same run writes the same network file
    keras.utils.set_random_seed(config.seed)
    cache, bundle = out / "cache", out / "bundle"
    bundle.mkdir(parents=True, exist_ok=True)

    images = read_folders(folders)
    squares = decoded_squares(images, config.size, cache)
    splits = np.array(split(images, [pixel_digest(square) for square in squares], config.seed))
    write_splits(bundle / "splits.csv", images, splits.tolist())
    labels = np.array([image.label for image in images])
    rows = {name: np.flatnonzero(splits == name) for name in (TRAIN, CALIBRATION, VALIDATION)}
    print(", ".join(f"{name} {len(members):,}" for name, members in rows.items()))
    learned_from = [images[i] for i in rows[TRAIN]]
    drawn = rows[TRAIN][draw(learned_from, config.draws, config.seed)]
    ranges = squares[rows[TRAIN][draw(learned_from, config.quantisation_images, config.seed)]]

    whole = build(config.size, len(LABELS), width=config.width, dropout=config.dropout, hidden=config.hidden)
    if weights != "none":
        load_pretrained(whole, weights)
    elif config.width == 1:
        raise TrainingError("A whole VGG16 from random weights learns nothing from so few images: give WEIGHTS.")

    held = rows[CALIBRATION]
    if config.frozen_blocks:
        trunk_model, _ = cut(whole, config.frozen_blocks)
        trunk_file = cache / f"trunk-{config.frozen_blocks}-{config.size}.onnx"
        trunk = Trunk(trunk_file) if trunk_file.exists() else Trunk.prepare(trunk_model, ranges, trunk_file)
        shown = views(trunk, squares, held, labels, cache, strength=0, seed=0, what="features of calibration images")
        cached = views(
            trunk,
            squares,
            drawn,
            labels,
            cache,
            strength=config.augmentation,
            seed=config.seed,
            what="features of augmented views",
        )
        inputs = _features(shown)

        def supply(phase: Phase) -> CachedBatches | FreshBatches:
            probabilities = view_probabilities(drawn, images, phase.class_power)
            return CachedBatches(cached, probabilities, config.batch, config.seed)

    else:
        inputs = _pixels(squares, held)

        def supply(phase: Phase) -> CachedBatches | FreshBatches:
            return FreshBatches(
                squares,
                images,
                rows[TRAIN],
                class_power=phase.class_power,
                draws=config.draws,
                batch=config.batch,
                strength=config.augmentation,
                seed=config.seed,
            )

    with _precision(precision):
        learning = build(config.size, len(LABELS), width=config.width, dropout=config.dropout, hidden=config.hidden)
        learning.set_weights(whole.get_weights())
        model = cut(learning, config.frozen_blocks)[1] if config.frozen_blocks else learning
        sources = np.array([images[i].source for i in held])
        state = fit(model, supply, _judge(inputs, labels[held], sources), config, out / "checkpoints")
    whole.set_weights(learning.get_weights())

    _export(whole, bundle / NETWORK_FILE, ranges)
    logits = served_logits(bundle / NETWORK_FILE, squares, held, "shipped network on calibration images")
    temperature = calibration.temperature(logits, labels[held])
    thresholds = calibration.thresholds(calibrated(logits, temperature), labels[held], LABELS)
    training = {
        "command": command,
        "commit": code,
        "backend": keras.backend.backend(),
        "precision": precision,
        "data": _data_summary(images, splits),
        "licence": "CC BY-NC 4.0",
        "history": state.history,
        "calibration_split": _by_source(logits.argmax(axis=1), labels[held], sources),
        "parity_with_keras": _parity(whole, bundle / NETWORK_FILE, squares, rows[VALIDATION], labels, temperature),
    }
    return write_manifest(
        bundle, labels=LABELS, config=config, temperature=temperature, thresholds=thresholds, training=training
    )


def _judge(
    inputs: Callable[[], Iterator[NDArray[np.float32]]], truth: NDArray[np.int64], sources: NDArray[np.str_]
) -> Callable[[keras.Model], dict[str, float]]:
    """What `fit` watches: balanced accuracy of each kind of image, and their mean under `balanced_accuracy`."""

    def judge(model: keras.Model) -> dict[str, float]:
        answers = np.concatenate([np.asarray(model(x, training=False)[LOGITS]).argmax(axis=1) for x in inputs()])
        each = {
            source: balanced_accuracy(truth[sources == source], answers[sources == source])
            for source in np.unique(sources).tolist()
        }
        return {"balanced_accuracy": float(np.mean(list(each.values()))), **each}

    return judge


def _by_source(
    answers: NDArray[np.int64], truth: NDArray[np.int64], sources: NDArray[np.str_]
) -> dict[str, dict[str, float | int]]:
    """What the shipped network scores on the calibration split, to be read beside the validation figures."""
    return {
        source: {
            "n": int(np.sum(sources == source)),
            "accuracy": float(np.mean((answers == truth)[sources == source])),
            "balanced_accuracy": balanced_accuracy(truth[sources == source], answers[sources == source]),
        }
        for source in np.unique(sources).tolist()
    }


def _features(shown: Views) -> Callable[[], Iterator[NDArray[np.float32]]]:
    def batches() -> Iterator[NDArray[np.float32]]:
        for i in range(0, len(shown.labels), 64):
            yield shown.levels[i : i + 64].astype(np.float32) * np.float32(shown.scale)

    return batches


def _pixels(squares: NDArray[np.uint8], rows: NDArray[np.int64]) -> Callable[[], Iterator[NDArray[np.float32]]]:
    def batches() -> Iterator[NDArray[np.float32]]:
        for i in range(0, len(rows), 64):
            yield squares[rows[i : i + 64]].astype(np.float32)

    return batches


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Keras's precision inside the block; weights and updates stay in float32 either way."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def _export(model: keras.Model, file: Path, ranges: NDArray[np.uint8]) -> None:
    """Writes the served network: 8-bit convolutions, the head in float."""
    outputs = {name: model.output[name] for name in (CLASS_MAPS, "features")}
    exported = file.with_suffix(".float.onnx")
    export_onnx(keras.Model(model.input, outputs), exported)
    # The head is 2 % of the work and all of the decision: it stays in float.
    quantise(exported, file, ranges, input_name=PIXELS, keep_float=convolutions_after(exported, (HEAD, CLASS_MAPS)))
    exported.replace(file.parent.parent / exported.name)


def _parity(
    model: keras.Model,
    file: Path,
    squares: NDArray[np.uint8],
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    temperature: float,
) -> dict[str, float | int]:
    some = np.sort(np.random.default_rng(0).permutation(rows)[:PARITY_IMAGES])
    figures = parity(
        keras_logits(model, squares[some]),
        served_logits(file, squares, some, "shipped network beside Keras"),
        labels[some],
        temperature,
    )
    same, change = figures["same_label"], figures["largest_probability_change"]
    print(
        f"shipped network beside Keras on {figures['images']} validation images: "
        f"same label {same:.1%}, largest probability change {change:.3f}"
    )
    return figures


def _data_summary(images: Sequence[LabelledImage], splits: NDArray[np.str_]) -> dict[str, dict[str, int]]:
    sources = np.array([image.source for image in images])
    return {
        source: {name: int(np.sum((sources == source) & (splits == name))) for name in (TRAIN, CALIBRATION, VALIDATION)}
        for source in np.unique(sources).tolist()
    }
