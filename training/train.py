"""Labelled images in, a served bundle out: the whole way of `make train`, top to bottom."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from model_layer.decision import calibrated
from training.augmentation import centre
from training.batches import Views
from training.bundle_writer import NETWORK_FILE, commit, machine, write_manifest
from training.data_sets import licence
from training.dataset import LABELS
from training.errors import TrainingError
from training.finish import finish
from training.fit import State, fit
from training.frozen import FloatTrunk, Trunk, held_levels
from training.material import Material
from training.metrics import balanced_accuracy, macro_auc
from training.network import build, cut, load_pretrained
from training.run_folder import claim, identity
from training.splits import CALIBRATION, TRAIN, refuse_leak, write_splits
from training.warm_start import Start, load_from_bundle, settle_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config, Phase

BATCH = 32
# Of each kind of image, this many calibration images are looked at after every epoch.
JUDGED_IMAGES = 500
# Training images that a loaded bundle's normalisation reads its statistics off.
SETTLING_IMAGES = 128


def train(
    folders: Sequence[Path],
    weights: str,
    out: Path,
    config: Config,
    command: str,
    precision: str,
    *,
    winograd: bool = False,
    start: Start | None = None,
) -> dict[str, Any]:
    """Trains on `folders` and writes the bundle to `out`/bundle; returns its manifest.

    `weights`: `imagenet`, a file, or `none` (random; with a small VGG only). `precision`: `float32` or
    `mixed_bfloat16`. `winograd` computes convolutions in float with fewer multiplications. `start` goes on from another
    run's bundle. A run that was interrupted goes on from its caches and its last whole epoch under `out`.

    Raises:
        TrainingError: the data or the weights do not fit, or `out` is another run's folder.
    """
    code = commit()
    begun = State() if start is None else start.state(config)
    keras.utils.clear_session()  # layer names count from one again: the same run writes the same network file
    keras.utils.set_random_seed(config.seed)
    cache, bundle = out / "cache", out / "bundle"
    bundle.mkdir(parents=True, exist_ok=True)

    material = Material.read(folders, config.size, config.seed, cache)
    images, squares, rows = material.images, material.squares, material.rows
    if start is not None:
        refuse_leak(start.splits(), images, material.splits.tolist())
    ranges = squares[np.sort(material.drawn(config.quantisation_images, config.seed))]

    whole = build(config.size, len(LABELS), **config.architecture)
    if weights != "none":
        load_pretrained(whole, weights, config.backbone)
    elif config.width == 1:
        raise TrainingError(f"{config.backbone} from random weights learns nothing from so few images: give WEIGHTS.")

    if start is not None:
        load_from_bundle(whole, start.bundle / NETWORK_FILE, above=config.frozen_blocks)
        settle_on(whole, squares[rows[TRAIN][:: max(1, len(rows[TRAIN]) // SETTLING_IMAGES)]])

    # Only now: a slip in the command, such as a file that is not there, must not make the folder another run's.
    claim(out, identity(material, weights, config, None if start is None else start.version))
    write_splits(bundle / "splits.csv", images, material.splits.tolist())

    held = rows[CALIBRATION]
    judged = held[_some_of_each(material.sources(held), config.seed)]
    inputs = _held_inputs(_trunk(whole, config.size, config, ranges, cache), squares, judged, cache)

    sizes = {phase.size or config.size for phase in config.phases[begun.phase :]} | {config.size}
    trunks: dict[int, Trunk | FloatTrunk | None] = {
        size: _float_trunk(whole, size, config) if winograd else _trunk(whole, size, config, ranges, cache)
        for size in sorted(sizes)
    }

    def supply(phase: Phase) -> Views:
        size = phase.size or config.size
        return Views(
            squares,
            images,
            rows[TRAIN],
            size=size,
            trunk=trunks[size],
            class_power=phase.class_power,
            source_share=config.source_share,
            batch=config.batch,
            strength=config.augmentation * phase.regularisation,
            seed=config.seed,
        )

    with _precision(precision):
        learning = build(None, len(LABELS), **config.architecture, winograd=winograd)
        learning.set_weights(whole.get_weights())
        model = cut(learning, config.frozen_blocks)[1] if config.frozen_blocks else learning
        judged_by = judge(inputs, material.labels(judged), material.sources(judged))
        state = fit(model, supply, judged_by, config, out / "checkpoints", begun)
    whole.set_weights(learning.get_weights())

    finished = finish(whole, material, config, bundle, winograd=winograd)
    training = {
        "command": command,
        "commit": code,
        "backend": keras.backend.backend(),
        "precision": precision,
        "seconds": state.seconds,
        "machine": machine() if start is None else f"{start.machine}, then {machine()}",
        "data": material.summary(),
        "licence": licence([folder.resolve().name for folder in folders]),
        "history": state.history,
        **finished["figures"],
    }
    return write_manifest(
        bundle,
        labels=LABELS,
        config=config,
        calibration=finished["calibration"],
        thresholds=finished["thresholds"],
        training=training,
    )


def _trunk(whole: keras.Model, size: int, config: Config, ranges: NDArray[np.uint8], cache: Path) -> Trunk | None:
    """The frozen blocks for views of `size` pixels' side, from `cache` where they are there."""
    if not config.frozen_blocks:
        return None
    file = cache / f"trunk-{config.frozen_blocks}-{size}.onnx"
    if file.exists():
        return Trunk(file)
    sized = build(size, len(LABELS), **config.architecture)
    sized.set_weights(whole.get_weights())
    return Trunk.prepare(cut(sized, config.frozen_blocks)[0], centre(ranges, size), file)


def _float_trunk(whole: keras.Model, size: int, config: Config) -> FloatTrunk | None:
    if not config.frozen_blocks:
        return None
    sized = build(size, len(LABELS), **config.architecture, winograd=True)
    sized.set_weights(whole.get_weights())
    return FloatTrunk(cut(sized, config.frozen_blocks)[0], compiled=True)


def _some_of_each(sources: NDArray[np.str_], seed: int) -> NDArray[np.int64]:
    """Positions of at most `JUDGED_IMAGES` images of each kind."""
    order = np.random.default_rng(seed).permutation(len(sources))
    return np.sort(np.concatenate([order[sources[order] == s][:JUDGED_IMAGES] for s in np.unique(sources)]))


def judge(
    inputs: Callable[[], Iterator[NDArray[np.float32]]], truth: NDArray[np.int64], sources: NDArray[np.str_]
) -> Callable[[keras.Model], dict[str, float]]:
    """What `fit` watches, by kind of image: macro AUC, whose mean is the `score`, and balanced accuracy.

    The area under the curve chooses the epoch because balanced accuracy jumps with single images of rare classes.

    Raises:
        TrainingError: no kind has images of two classes, so that nothing could choose an epoch.
    """
    if all(len(np.unique(truth[sources == source])) < 2 for source in np.unique(sources)):
        raise TrainingError(
            "The calibration images of every data folder are of one class alone: nothing to tell apart."
        )

    def figures_of(learner: keras.Model) -> dict[str, float]:
        logits = np.concatenate([np.asarray(learner.predict_on_batch(x), dtype=np.float64) for x in inputs()])
        areas, figures = [], {}
        for source in np.unique(sources).tolist():
            of_source = sources == source
            area = macro_auc(truth[of_source], calibrated(logits[of_source], 1.0))
            if area is not None:  # a folder of one class has none
                areas.append(area)
                figures[f"{source} AUC"] = area
            figures[f"{source} balanced"] = balanced_accuracy(truth[of_source], logits[of_source].argmax(axis=1))
        return {"score": float(np.mean(areas)), **figures}

    return figures_of


def _held_inputs(
    trunk: Trunk | None, squares: NDArray[np.uint8], rows: NDArray[np.int64], cache: Path
) -> Callable[[], Iterator[NDArray[np.float32]]]:
    """What the learning network is tried on: whole calibration images, in batches."""
    levels = None if trunk is None else held_levels(trunk, squares, rows, cache, "features of calibration images")

    def batches() -> Iterator[NDArray[np.float32]]:
        for i in range(0, len(rows), BATCH):
            if trunk is None or levels is None:
                yield squares[rows[i : i + BATCH]].astype(np.float32)
            else:
                yield levels[i : i + BATCH].astype(np.float32) * np.float32(trunk.scale)

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
