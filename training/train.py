"""The whole of `make train`, from top to bottom: labelled images in, a served bundle with its figures and card out."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras

from training.data.batches import Views
from training.data.data_sets import licence
from training.data.dataset import ALL, LABELS
from training.data.material import Material
from training.data.splits import CALIBRATION, TRAIN, VALIDATION, write_splits
from training.evaluate import Extent, evaluate
from training.fit.bundle_writer import add_known_answer, add_quality, commit, copy_quality, write_manifest
from training.fit.finish import finish
from training.fit.first_weights import initial_network, network_of, started_from
from training.fit.judge import judge, some_of_each
from training.fit.loop import State, fit, learned
from training.fit.run_folder import CHECKPOINTS, claim, identity, learned_digest
from training.fit.taught import Taught, halfway
from training.network.architecture import build
from training.quality import limits, study
from training.report.configurations import add, configuration_name, row
from training.report.model_card import complete_bundle
from training.report.plots import draw_training

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from training.config import Config, Stage
    from training.fit.loop import Batches


def train(
    folders: Sequence[Path],
    weights: str,
    out: Path,
    config: Config,
    *,
    command: str,
    precision: str,
    extent: Extent,
    without: Sequence[str] = (),
    taught_by: Sequence[Path] = (),
    start: Path | None = None,
) -> dict[str, Any]:
    """Trains on `folders`, writes the bundle to `out`/bundle and its evaluation to `out`/evaluation.

    `weights` is `imagenet`, a file, or `none` (random; only for a small VGG). `command` is recorded in the manifest.
    `precision` is `float32` or `mixed_bfloat16`, `extent` that of the evaluation. From the folders `without`, and from
    other images of their lesions, nothing is learned or chosen: they are evaluated. Returns the manifest.

    It may be `taught_by` finished runs of the same images and seed, and `start` from the network of one; by default
    from that of the first teacher. If that has more channels, it is pruned. If it has as many, the weights are in the
    end the mean of these and of what was learned.
    An interrupted run continues from the caches and the last checkpoint under `out`.

    Raises:
        TrainingError: the data or the weights cannot be used, or `out` belongs to another run.
    """
    code = commit()
    keras.utils.clear_session()  # layer names restart at one, so that the same run writes the same network file
    keras.utils.set_random_seed(config.seed)
    bundle, evaluation, quality = out / "bundle", out / "evaluation", out / "quality"
    bundle.mkdir(parents=True, exist_ok=True)

    material = Material.read(folders, config.size, config.seed, out / "cache", without)
    with _precision(precision):
        teachers = [network_of(run, material, config) for run in taught_by]
    run = start or next(iter(taught_by), None)
    if run:
        network, pruning_errors = started_from(run, material, config, out / "cache")
    else:
        network, pruning_errors = initial_network(weights, material, config, out / "cache")
    # Not earlier: a mistake in the command, such as a missing file, must not claim the folder.
    claim(out, identity(material, weights, config, without, taught_by, start))
    write_splits(bundle / "splits.csv", material.images, material.splits.tolist())

    whole = run is not None and not pruning_errors
    state = _fit(network, teachers, material, config, precision, out / CHECKPOINTS, averaged=whole)
    finished = finish(network, material, config, bundle)
    training = {
        "command": command,
        "commit": code,
        "backend": state.backend,
        "precision": precision,
        "seconds": state.seconds,
        "machine": state.machine,
        "data": material.summary(),
        "near_duplicates_joined": material.joined,
        "pruning_errors": pruning_errors,
        "taught_by": [learned_digest(run) for run in taught_by],
        "started_from": learned_digest(run) if run else None,
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
    cells = row(configuration_name(config, len(taught_by)), code, config.seed, state.seconds / 60, figures)
    add(out / "configurations.csv", cells)
    return manifest


def _fit(
    network: keras.Model,
    teachers: Sequence[keras.Model],
    material: Material,
    config: Config,
    precision: str,
    folder: Path,
    *,
    averaged: bool,
) -> State:
    """Trains `network` on views of any size, looking at some calibration images on the way.

    In the end it has what was learned, or `averaged` with what it had.
    """

    def supply(stage: Stage) -> Batches:
        views = Views(material.squares, material.images, material.rows[TRAIN], len(LABELS), stage, config)
        return Taught(views, teachers) if teachers else views

    with _precision(precision):
        learning = build(None, len(LABELS), **config.architecture)
        learning.set_weights(network.get_weights())
        state = learned(learning, config, folder) or fit(learning, supply, _judge(material, config), config, folder)
    network.set_weights(halfway(network, learning) if averaged else learning.get_weights())
    return state


def _judge(material: Material, config: Config) -> Callable[[keras.Model], dict[str, float]]:
    held = material.rows[CALIBRATION]
    some = held[some_of_each(material.sources(held), config.seed)]
    return judge(material.squares, some, material.labels(some), material.sources(some))


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Sets Keras's precision inside the block; weights and updates are float32 in either case."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)
