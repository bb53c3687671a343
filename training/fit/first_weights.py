"""The network before training: VGG16's published weights, pruned if it has fewer channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.config import VGG16, VGG16_CHANNELS
from training.data.dataset import LABELS
from training.errors import TrainingError
from training.network.architecture import build, load_pretrained
from training.network.pruning import prune

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
