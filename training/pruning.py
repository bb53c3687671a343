"""VGG16 with fewer channels, so that it starts nearly where the published weights are.

Layer by layer from the pixels up (He et al. 2017, Luo et al. 2017): of each convolution those channels stay that weigh
most in the next one, and its kernel is fitted anew by least squares, so that it computes from the channels that are
left below it what the whole network computes from all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from training.network import BLOCKS, HEAD
from training.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

POSITIONS = 300
"""Of each layer and image, at which the kernel is fitted."""
RIDGE = 1e-3
"""Of the mean variance of the inputs; added to each one's own, so that channels that hardly vary get small weights."""
LAYERS = tuple(f"{block}_conv{i}" for block, convolutions in BLOCKS for i in range(1, convolutions + 1))


def prune(whole: keras.Model, slim: keras.Model, pixels: NDArray[np.uint8], seed: int) -> dict[str, float]:
    """Sets the weights of `slim` so that it computes about what `whole` does; both are of `training.network.build`.

    `pixels` (n, size, size, 3) are the images on which layers are fitted. The head is taken over as it is, less the
    channels that are gone. Returns each layer's relative error on held-back positions: the root of the squared error
    over that of the squared output, before the ReLU.
    """
    rng = np.random.default_rng(seed)
    kept_below = np.arange(3)
    kept: dict[str, NDArray[np.int64]] = {}
    errors = {}
    with Progress("pruning", len(LAYERS)) as progress:
        for number, name in enumerate(LAYERS):
            kernel, bias = whole.get_layer(name).get_weights()
            channels = slim.get_layer(name).filters
            kept[name] = _weightiest(whole, number, pixels, channels)
            ours, theirs = _patches(slim, whole, name, pixels, rng)
            target = theirs @ kernel[..., kept[name]].reshape(-1, channels) + bias[kept[name]]
            fitted, offset, errors[name] = _least_squares(ours, target)
            slim.get_layer(name).set_weights([fitted.reshape(3, 3, len(kept_below), channels), offset])
            kept_below = kept[name]
            progress.advance(note=f"{name}, error {errors[name]:.3f}")
    _take_head(whole, slim, kept)
    return errors


def _weightiest(whole: keras.Model, number: int, pixels: NDArray[np.uint8], channels: int) -> NDArray[np.int64]:
    """The `channels` output channels of layer `number` that matter most above it, in their order."""
    outputs = _run(keras.Model(whole.input, whole.get_layer(LAYERS[number]).output), pixels[:16])
    if number + 1 < len(LAYERS):
        kernel = whole.get_layer(LAYERS[number + 1]).get_weights()[0]  # (3, 3, channels, next channels)
        weight = np.abs(kernel).sum(axis=(0, 1, 3)) * outputs.mean(axis=(0, 1, 2))
    else:
        weight = outputs.std(axis=(0, 1, 2))  # the head brings every channel to one scale first
    return np.sort(np.argsort(-weight, kind="stable")[:channels])


def _patches(
    slim: keras.Model, whole: keras.Model, name: str, pixels: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(rows, 9 * channels) each: what the layer `name` sees in either network, at the same places."""
    below = [keras.Model(model.input, model.get_layer(name).input) for model in (slim, whole)]
    seen: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = ([], [])
    for image in pixels:
        maps = [np.pad(_run(model, image[None])[0], ((1, 1), (1, 1), (0, 0))) for model in below]
        side = maps[0].shape[0] - 2
        rows, columns = rng.integers(0, side, (2, min(POSITIONS, side * side)))
        for own, values in zip(seen, maps, strict=True):
            parts = [values[rows + i, columns + j] for i in range(3) for j in range(3)]
            own.append(np.stack(parts, axis=1).reshape(len(rows), -1))
    return np.concatenate(seen[0]), np.concatenate(seen[1])


def _run(model: keras.Model, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(model(pixels.astype(np.float32)), np.float32)


def _least_squares(
    inputs: NDArray[np.float32], target: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Kernel (inputs, outputs), bias and the relative error on the fifth of the rows that was held back."""
    held = np.arange(len(inputs)) % 5 == 0
    x, y = inputs[~held].astype(np.float64), target[~held].astype(np.float64)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    x, y = x - mean_x, y - mean_y
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += RIDGE * np.trace(gram) / len(gram)
    kernel = np.linalg.solve(gram, x.T @ y)
    bias = mean_y - mean_x @ kernel
    missed = inputs[held] @ kernel + bias - target[held]
    error = float(np.sqrt(np.sum(missed**2) / np.sum(target[held] ** 2)))
    return kernel.astype(np.float32), bias.astype(np.float32), error


def _take_head(whole: keras.Model, slim: keras.Model, kept: dict[str, NDArray[np.int64]]) -> None:
    both = np.concatenate([kept["block5_conv3"], whole.get_layer("block5_conv3").filters + kept["block4_conv3"]])
    for layer in whole.layers:
        if not layer.name.startswith(HEAD) and layer.name != "class_maps":
            continue
        weights = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            weights = [values[both] for values in weights]
        elif layer.name == f"{HEAD}_evidence":
            weights = [weights[0][:, :, both], weights[1]]
        slim.get_layer(layer.name).set_weights(weights)
