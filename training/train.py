"""The whole of `make train`, from top to bottom: labelled images in, a served bundle with its figures and card out."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from model_layer.decision import calibrated
from training.config import VGG16, VGG16_CHANNELS
from training.data.batches import Views
from training.data.data_sets import licence
from training.data.dataset import ALL, LABELS
from training.data.material import Material
from training.data.splits import CALIBRATION, TRAIN, VALIDATION, write_splits
from training.errors import TrainingError
from training.evaluate import Extent, evaluate
from training.evaluation.metrics import balanced_accuracy, macro_auc
from training.fit.bundle_writer import add_known_answer, add_quality, commit, copy_quality, machine, write_manifest
from training.fit.finish import finish
from training.fit.loop import State, fit
from training.fit.run_folder import CHECKPOINTS, claim, identity
from training.network.architecture import build, load_pretrained
from training.network.pruning import prune
from training.quality import limits, study
from training.report.configurations import add, configuration_name, row
from training.report.model_card import complete_bundle
from training.report.plots import draw_training

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config, Stage

BATCH = 32
JUDGED_IMAGES = 250
"""Calibration images of each data folder that are looked at during training."""


def train(
    folders: Sequence[Path],
    weights: str,
    out: Path,
    config: Config,
    *,
    command: str,
    precision: str,
    extent: Extent,
) -> dict[str, Any]:
    """Trains on `folders`, writes the bundle to `out`/bundle and its evaluation to `out`/evaluation.

    `weights` is `imagenet`, a file, or `none` (random; only for a small VGG). `command` is recorded in the manifest.
    `precision` is `float32` or `mixed_bfloat16`, `extent` that of the evaluation. Returns the manifest. An interrupted
    run continues from the caches and the last checkpoint under `out`.

    Raises:
        TrainingError: the data or the weights cannot be used, or `out` belongs to another run.
    """
    code = commit()
    keras.utils.clear_session()  # layer names restart at one, so that the same run writes the same network file
    keras.utils.set_random_seed(config.seed)
    bundle, evaluation, quality = out / "bundle", out / "evaluation", out / "quality"
    bundle.mkdir(parents=True, exist_ok=True)

    material = Material.read(folders, config.size, config.seed, out / "cache")
    network, pruning_errors = _initial_network(weights, material, config, out / "cache")
    # Not earlier: a mistake in the command, such as a missing file, must not claim the folder.
    claim(out, identity(material, weights, config))
    write_splits(bundle / "splits.csv", material.images, material.splits.tolist())

    state = _fit(network, material, config, precision, out / CHECKPOINTS)
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
        "pruning_errors": pruning_errors,
        "licence": licence([folder.resolve().name for folder in folders]),
        "history": state.history,
        **finished.pop("figures"),
    }
    manifest = write_manifest(bundle, labels=LABELS, config=config, decisive=finished, training=training)
    if config.degraded:
        manifest = add_quality(bundle, limits(study(folders, bundle, quality, config.degraded, config.seed)))
        copy_quality(quality, bundle)
    manifest = add_known_answer(bundle)

    metrics = evaluate(folders, bundle, evaluation, unseen_only=True, extent=extent)
    draw_training(state.history, evaluation / "curves.png")
    complete_bundle(bundle, evaluation, manifest, metrics)
    validation = {name: own for name, own in metrics.items() if name != ALL}
    figures = {CALIBRATION: training["calibration_split"], VALIDATION: validation}
    cells = row(configuration_name(config), code, config.seed, state.seconds / 60, figures)
    add(out / "configurations.csv", cells)
    return manifest


def _initial_network(
    weights: str, material: Material, config: Config, cache: Path
) -> tuple[keras.Model, dict[str, float]]:
    """The network before training, and each layer's error if it was pruned."""
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
    kept = cache / f"pruned-{'-'.join(map(str, config.channels))}.npz"
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


def _fit(network: keras.Model, material: Material, config: Config, precision: str, folder: Path) -> State:
    """Trains `network` on views of any size, looking at some calibration images on the way."""

    def supply(stage: Stage) -> Views:
        return Views(material.squares, material.images, material.rows[TRAIN], len(LABELS), stage, config)

    held = material.rows[CALIBRATION]
    sources = material.sources(held)
    order = np.random.default_rng(config.seed).permutation(len(held))
    some = np.sort(np.concatenate([order[sources[order] == s][:JUDGED_IMAGES] for s in np.unique(sources)]))
    judged = held[some]
    figures_of = judge(material.squares, judged, material.labels(judged), material.sources(judged))
    with _precision(precision):
        learning = build(None, len(LABELS), **config.architecture)
        learning.set_weights(network.get_weights())
        state = fit(learning, supply, figures_of, config, folder)
    network.set_weights(learning.get_weights())
    return state


def judge(
    squares: NDArray[np.uint8], rows: NDArray[np.int64], truth: NDArray[np.int64], sources: NDArray[np.str_]
) -> Callable[[keras.Model], dict[str, float]]:
    """A function from a network to macro AUC and balanced accuracy on `squares[rows]`, for each data folder."""

    def figures_of(learner: keras.Model) -> dict[str, float]:
        batches = [squares[rows[i : i + BATCH]].astype(np.float32) for i in range(0, len(rows), BATCH)]
        logits = np.concatenate([np.asarray(learner.predict_on_batch(x), dtype=np.float64) for x in batches])
        figures = {}
        for source in np.unique(sources).tolist():
            own = sources == source
            area = macro_auc(truth[own], calibrated(logits[own], 1.0))
            if area is not None:  # a folder with a single class has none
                figures[f"{source} AUC"] = area
            figures[f"{source} balanced"] = balanced_accuracy(truth[own], logits[own].argmax(axis=1))
        return figures

    return figures_of


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Sets Keras's precision inside the block; weights and updates are float32 in either case."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)
