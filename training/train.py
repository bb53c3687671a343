"""Labelled images in, a served bundle out: the whole way of `make train`, top to bottom."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from model_layer.decision import calibrated
from training.backbones import VGG16
from training.batches import Views
from training.bundle_writer import commit, machine, write_manifest
from training.config import VGG16_CHANNELS
from training.data_sets import licence
from training.dataset import LABELS
from training.errors import TrainingError
from training.finish import finish
from training.fit import fit
from training.material import Material
from training.metrics import balanced_accuracy, macro_auc
from training.network import build, load_pretrained
from training.pruning import prune
from training.run_folder import claim, identity
from training.splits import CALIBRATION, TRAIN, write_splits
from training.status import CHECKPOINTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config, Stage

BATCH = 32
# Of each data folder, this many calibration images are looked at on the way.
JUDGED_IMAGES = 250


def train(
    folders: Sequence[Path], weights: str, out: Path, config: Config, command: str, precision: str
) -> dict[str, Any]:
    """Trains on `folders` and writes the bundle to `out`/bundle; returns its manifest.

    `weights`: `imagenet`, a file, or `none` (random; with a small VGG only). `precision`: `float32` or
    `mixed_bfloat16`. A run that was interrupted goes on from its caches and its last checkpoint under `out`.

    Raises:
        TrainingError: the data or the weights do not fit, or `out` is another run's folder.
    """
    code = commit()
    keras.utils.clear_session()  # layer names count from one again: the same run writes the same network file
    keras.utils.set_random_seed(config.seed)
    cache, bundle = out / "cache", out / "bundle"
    bundle.mkdir(parents=True, exist_ok=True)

    material = Material.read(folders, config.size, config.seed, cache)
    network, pruned = _begun(weights, material, config, out)
    # Only now: a slip in the command, such as a file that is not there, must not make the folder another run's.
    claim(out, identity(material, weights, config))
    write_splits(bundle / "splits.csv", material.images, material.splits.tolist())

    held = material.rows[CALIBRATION]
    judged = held[_some_of_each(material.sources(held), config.seed)]
    with _precision(precision):
        learning = build(None, len(LABELS), **config.architecture)
        learning.set_weights(network.get_weights())
        judged_by = judge(material.squares, judged, material.labels(judged), material.sources(judged))
        state = fit(learning, _supply(material, config), judged_by, config, out / CHECKPOINTS)
    network.set_weights(learning.get_weights())

    finished = finish(network, material, config, bundle)
    training = {
        "command": command,
        "commit": code,
        "backend": keras.backend.backend(),
        "precision": precision,
        "seconds": state.seconds,
        "machine": machine(),
        "data": material.summary(),
        "near_duplicates_joined": material.joined,
        "pruning_errors": pruned,
        "licence": licence([folder.resolve().name for folder in folders]),
        "history": state.history,
        **finished.pop("figures"),
    }
    return write_manifest(
        bundle,
        labels=LABELS,
        config=config,
        decisive=finished,
        training=training,
    )


def _begun(weights: str, material: Material, config: Config, out: Path) -> tuple[keras.Model, dict[str, float]]:
    """The network that training begins with, and each layer's error where it was pruned."""
    network = build(config.size, len(LABELS), **config.architecture)
    if weights == "none":
        if config.channels[0] >= VGG16_CHANNELS[0] // 4 or config.backbone != VGG16:
            raise TrainingError(
                f"{config.backbone} from random weights learns nothing from so few images: give WEIGHTS."
            )
        return network, {}
    if config.backbone != VGG16 or config.channels == VGG16_CHANNELS:
        load_pretrained(network, weights, config.backbone)
        return network, {}
    whole = build(config.size, len(LABELS), **{**config.architecture, "channels": VGG16_CHANNELS})
    load_pretrained(whole, weights)
    kept = out / "cache" / f"pruned-{'-'.join(map(str, config.channels))}.npz"
    if not kept.exists():
        pixels = material.squares[np.sort(material.drawn(config.pruning_images, config.seed))]
        errors = prune(whole, network, pixels, config.seed)
        arrays = {f"{i:03}": values for i, values in enumerate(network.get_weights())}
        partial = kept.with_suffix(".partial.npz")
        np.savez(partial, names=list(errors), errors=list(errors.values()), **arrays)
        partial.replace(kept)
    with np.load(kept) as values:
        network.set_weights([values[name] for name in sorted(set(values.files) - {"names", "errors"})])
        return network, dict(zip(values["names"].tolist(), values["errors"].tolist(), strict=True))


def _supply(material: Material, config: Config) -> Callable[[Stage], Views]:
    def supply(stage: Stage) -> Views:
        return Views(material.squares, material.images, material.rows[TRAIN], len(LABELS), stage, config)

    return supply


def _some_of_each(sources: NDArray[np.str_], seed: int) -> NDArray[np.int64]:
    """Positions of at most `JUDGED_IMAGES` images of each folder."""
    order = np.random.default_rng(seed).permutation(len(sources))
    return np.sort(np.concatenate([order[sources[order] == s][:JUDGED_IMAGES] for s in np.unique(sources)]))


def judge(
    squares: NDArray[np.uint8], rows: NDArray[np.int64], truth: NDArray[np.int64], sources: NDArray[np.str_]
) -> Callable[[keras.Model], dict[str, float]]:
    """What `fit` shows on the way, by data folder: macro AUC, and balanced accuracy of `squares[rows]`."""

    def figures_of(learner: keras.Model) -> dict[str, float]:
        batches = [squares[rows[i : i + BATCH]].astype(np.float32) for i in range(0, len(rows), BATCH)]
        logits = np.concatenate([np.asarray(learner.predict_on_batch(x), dtype=np.float64) for x in batches])
        figures = {}
        for source in np.unique(sources).tolist():
            own = sources == source
            area = macro_auc(truth[own], calibrated(logits[own], 1.0))
            if area is not None:  # a folder of one class has none
                figures[f"{source} AUC"] = area
            figures[f"{source} balanced"] = balanced_accuracy(truth[own], logits[own].argmax(axis=1))
        return figures

    return figures_of


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Keras's precision inside the block; weights and updates stay in float32 either way."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)
