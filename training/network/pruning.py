"""Prunes VGG16's channels so that the slim network starts close to the published weights.

It goes layer by layer, starting at the pixels (He et al. 2017, Luo et al. 2017). Each convolution keeps the channels
that matter most in the next one. Its kernel is refitted by least squares: from the remaining channels below, it has to
reproduce the outputs that the whole network computes from all channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from training.network.architecture import BLOCKS, HEAD
from training.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 8
POSITIONS = 300
"""Per layer and image, sampled to fit the kernel."""
RIDGE = 1e-3
"""Ridge penalty, in units of the inputs' mean variance: channels that hardly vary get small weights."""
LAYERS = tuple(f"{block}_conv{i}" for block, convolutions in BLOCKS for i in range(1, convolutions + 1))


def prune(whole: keras.Model, slim: keras.Model, pixels: NDArray[np.uint8], seed: int) -> dict[str, float]:
    """Sets the weights of `slim` so that it approximates `whole`; both come from `architecture.build`.

    Layers are fitted on the images `pixels` (n, size, size, 3). The head is copied without the removed channels.
    Returns each layer's relative error on held-out positions: root mean square error over root mean square output,
    before the ReLU.
    """
    rng = np.random.default_rng(seed)
    kept, errors = {"pixels": np.arange(3)}, {}
    prepared = whole.get_layer("minus_imagenet_mean")
    ours = theirs = _through(prepared, pixels)  # input of the next layer, in the slim and in the whole network
    with Progress("pruning", len(LAYERS)) as progress:
        for name, above in zip(LAYERS, (*LAYERS[1:], None), strict=True):
            full, fitted = whole.get_layer(name), slim.get_layer(name)
            outputs = _through(full, theirs)
            kept[name] = _weightiest(outputs, above and whole.get_layer(above), fitted.filters)
            seen, targets = _samples(ours, theirs, full, kept[name], rng)
            kernel, bias, errors[name] = _least_squares(seen, targets)
            fitted.set_weights([kernel.reshape(3, 3, ours.shape[-1], fitted.filters), bias])
            ours, theirs = _through(fitted, ours), outputs
            if above and above[:6] != name[:6]:
                ours, theirs = _pooled(ours), _pooled(theirs)
            progress.advance(note=f"{name}, error {errors[name]:.3f}")
    _take_head(whole, slim, kept)
    return errors


def _through(layer: keras.layers.Layer, values: NDArray[Any]) -> NDArray[np.float32]:
    """Applies one layer to (n, rows, columns, channels) in small batches."""
    parts = [np.asarray(layer(values[i : i + BATCH].astype(np.float32))) for i in range(0, len(values), BATCH)]
    return np.concatenate(parts)


def _pooled(values: NDArray[np.float32]) -> NDArray[np.float32]:
    n, rows, columns, channels = values.shape
    return np.asarray(values.reshape(n, rows // 2, 2, columns // 2, 2, channels).max(axis=(2, 4)))


def _weightiest(outputs: NDArray[np.float32], above: keras.layers.Layer | None, channels: int) -> NDArray[np.int64]:
    """Indices, ascending, of the `channels` channels of `outputs` that matter most in the layer above."""
    if above is None:
        weight = outputs.std(axis=(0, 1, 2))  # the head normalises channels first
    else:
        kernel = above.get_weights()[0]  # (3, 3, channels, channels above)
        weight = np.abs(kernel).sum(axis=(0, 1, 3)) * outputs.mean(axis=(0, 1, 2))
    return np.sort(np.argsort(-weight, kind="stable")[:channels])


def _samples(
    ours: NDArray[np.float32],
    theirs: NDArray[np.float32],
    full: keras.layers.Layer,
    kept: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(samples, values) each: a layer's inputs in the slim network, its outputs before the ReLU in the whole one."""
    kernel, bias = full.get_weights()
    side = ours.shape[1]
    seen, targets = [], []
    for slim, whole in zip(ours, theirs, strict=True):
        places = rng.integers(0, side, (2, min(POSITIONS, side * side)))
        seen.append(_patches(slim, *places))
        targets.append(_patches(whole, *places) @ kernel[..., kept].reshape(-1, len(kept)) + bias[kept])
    return np.concatenate(seen), np.concatenate(targets)


def _patches(values: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
    """(places, 9 * channels): the 3 x 3 neighbourhood of each place, with zeros beyond the edge."""
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)))
    parts = [padded[rows + i, columns + j] for i in range(3) for j in range(3)]
    return np.stack(parts, axis=1).reshape(len(rows), -1)


def _least_squares(
    inputs: NDArray[np.float32], target: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Kernel (inputs, outputs), bias, and the relative error on a held-out fifth of the rows."""
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
