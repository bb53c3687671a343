"""The network before training: published weights or those of a finished run, pruned if it has fewer channels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from training.config import VGG16, VGG16_CHANNELS
from training.data.dataset import LABELS
from training.errors import TrainingError
from training.fit.loop import read_learned
from training.fit.run_folder import CHECKPOINTS, FILE, learned_digest, source_of
from training.network.architecture import BACKBONE, build, load_pretrained
from training.network.pruning import LAYERS, prune

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from training.config import Config
    from training.data.material import Material


def initial_network(
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
    return network, _pruned(whole, network, source_of(weights), material, config, cache)


def started_from(run: Path, material: Material, config: Config, cache: Path) -> tuple[keras.Model, dict[str, float]]:
    """A network with the weights of a finished `run`, and each layer's error if it was pruned to fewer channels.

    Raises:
        TrainingError: as `network_of`, or the run's network is another one or has fewer channels.
    """
    trained = network_of(run, material, config)
    network = build(config.size, len(LABELS), **config.architecture)
    if [w.shape for w in trained.weights] == [w.shape for w in network.weights]:
        network.set_weights(trained.get_weights())
        return network, {}
    names = {layer.name for layer in (*trained.layers, *network.layers)}
    if BACKBONE in names:
        raise TrainingError(f"The network of {run} is another one; only VGG16 can be pruned.")
    channels = [trained.get_layer(name).filters for name in LAYERS]
    if any(own > theirs for own, theirs in zip(config.channels, channels, strict=True)):
        raise TrainingError(f"The network of {run} has fewer channels; start from a wider one.")
    return network, _pruned(trained, network, learned_digest(run), material, config, cache)


def network_of(run: Path, material: Material, config: Config) -> keras.Model:
    """The network of a finished `run`, which takes images of any size.

    Raises:
        TrainingError: the run is not finished, or it has other splits: its network knows images that count as unseen
            here.
    """
    found = read_learned(run / CHECKPOINTS)
    if found is None or not (run / FILE).exists():
        raise TrainingError(f"{run} holds no finished training run.")
    claimed = json.loads((run / FILE).read_text(encoding="utf-8"))
    ours = {"images": material.digest, "seed": config.seed, "without": sorted(material.without)}
    if {name: claimed.get(name) for name in ours} != ours:
        raise TrainingError(f"{run} has other splits: its network knows images that count as unseen here.")
    network = build(None, len(LABELS), **claimed["options"][0])
    network.set_weights(found[0])
    return network


def _pruned(
    whole: keras.Model, network: keras.Model, source: str, material: Material, config: Config, cache: Path
) -> dict[str, float]:
    """Sets the weights of `network` to those of `whole`, pruned; the result is kept in `cache` by `source`."""
    kept = cache / f"pruned-{source[:16]}-{'-'.join(map(str, config.channels))}.npz"
    if not kept.exists():
        pixels = material.squares[np.sort(material.drawn(config.pruning_images, config.seed))]
        errors = prune(whole, network, pixels, config.seed)
        arrays = {f"{i:03}": values for i, values in enumerate(network.get_weights())}
        partial = kept.with_suffix(".partial.npz")
        np.savez(partial, names=list(errors), errors=list(errors.values()), **arrays)
        partial.replace(kept)
    with np.load(kept) as values:
        network.set_weights([values[name] for name in sorted(set(values.files) - {"names", "errors"})])
        return dict(zip(values["names"].tolist(), values["errors"].tolist(), strict=True))
