"""The program on the accelerator: a pack in, learned weights out."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from training.accelerator.learn import Network, Pictures, Values, compile_only, learn, with_views
from training.accelerator.names import INDEX, PLAN, images_of
from training.accelerator.spoil import COPIES, decoded, read_files, spoiled_copies
from training.config import Config
from training.fit.run_folder import CHECKPOINTS, claim, learned_digest

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def run(options: argparse.Namespace) -> int:
    """Runs it with the options of `training.accelerator.__main__`; returns the exit status."""
    began = time.monotonic()
    if options.cache:
        jax.config.update("jax_compilation_cache_dir", str(options.cache))  # type: ignore[no-untyped-call]
    print(f"{jax.devices()}, Keras {keras.version()} on {keras.backend.backend()}, JAX {jax.__version__}", flush=True)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")

    plan = json.loads((options.pack / PLAN).read_text(encoding="utf-8"))
    index = dict(np.load(options.pack / INDEX))
    chosen = _chosen(plan, options.jobs)
    size = chosen[0][1].size
    pictures = _blank(index, size) if options.compile_only else _pictures(options.pack, index, chosen[0][1])
    print(f"{time.monotonic() - began:.0f} s: {len(index['labels']):,} images are ready", flush=True)
    learned: dict[str, tuple[Values, Values]] = {}
    for job, config in chosen:
        name, teachers = job["name"], job["teachers"]
        print(f"{time.monotonic() - began:.0f} s: {name}, {config.views:,} views", flush=True)
        network = Network(config, pictures.targets.shape[1], _weights(options.pack / job["weights"]))
        if options.compile_only:
            compile_only(network, pictures, len(teachers), options.compile_only)
            continue
        taught_by = [learned[teacher] for teacher in teachers]
        if taught_by:
            network.weights(taught_by[0])  # it starts where its first teacher ended
        draws, out, until = index[f"draws-{name}"], options.out / name, began + options.seconds
        claim(out, {**job["identity"], "taught_by": [learned_digest(options.out / teacher) for teacher in teachers]})
        learned[name] = learn(network, pictures, draws, out / CHECKPOINTS, taught_by=taught_by, until=until)
    print(f"{time.monotonic() - began:.0f} s: done", flush=True)
    return 0


def _chosen(plan: Sequence[dict[str, Any]], wanted: Sequence[str] | None) -> list[tuple[dict[str, Any], Config]]:
    """The jobs and their configurations, in the order `wanted`."""
    jobs = {job["name"]: job for job in plan}
    chosen = []
    for text in wanted or list(jobs):
        name, _, counts = text.partition("=")
        config = Config.from_json(jobs[name]["config"])
        chosen.append((jobs[name], with_views(config, [int(n) for n in counts.split(",")]) if counts else config))
    return chosen


def _weights(file: Path) -> list[NDArray[np.float32]]:
    with np.load(file) as values:
        return [values[name].astype(np.float32) for name in sorted(values.files)]


def _blank(index: dict[str, NDArray[Any]], size: int) -> Pictures:
    """Pictures of the right shapes without content."""
    count = len(index["labels"])
    blank = [jnp.zeros((count, size * size), jnp.uint32) for _ in range(COPIES)]
    judged = jnp.zeros((len(index["judged_labels"]), size, size, 3), jnp.uint8)
    return Pictures(
        blank,
        jnp.eye(index["classes"].item())[index["labels"]],
        judged,
        index["judged_labels"],
        index["judged_sources"],
    )


def _pictures(folder: Path, index: dict[str, NDArray[Any]], config: Config) -> Pictures:
    files = [content for part in images_of(folder) for content in read_files(part)]
    count = len(index["labels"])
    if len(files) != count + len(index["judged_labels"]):
        raise SystemExit(f"{folder} has {len(files):,} images, but its index is of more: send all of its parts.")
    return Pictures(
        [jnp.asarray(copy) for copy in spoiled_copies(files[:count], config)],
        jnp.eye(index["classes"].item())[index["labels"]],
        jnp.asarray(np.stack([decoded(content) for content in files[count:]])),
        index["judged_labels"],
        index["judged_sources"],
    )
