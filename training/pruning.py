"""VGG16 with fewer channels, so that it starts nearly where the published weights are.

Layer by layer from the pixels up (He et al. 2017, Luo et al. 2017): of each convolution those channels stay that weigh
most in the next one, and its kernel is fitted anew by least squares, so that it computes from the channels that are
left below it what the whole network computes from all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from training.network import BLOCKS, HEAD
from training.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 8
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
    kept, errors = {"pixels": np.arange(3)}, {}
    prepared = whole.get_layer("minus_imagenet_mean")
    ours = theirs = _through(prepared, pixels)  # what either network's next layer takes
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
    """(n, rows, columns, channels) through one layer, a few at a time."""
    parts = [np.asarray(layer(values[i : i + BATCH].astype(np.float32))) for i in range(0, len(values), BATCH)]
    return np.concatenate(parts)


def _pooled(values: NDArray[np.float32]) -> NDArray[np.float32]:
    n, rows, columns, channels = values.shape
    return np.asarray(values.reshape(n, rows // 2, 2, columns // 2, 2, channels).max(axis=(2, 4)))


def _weightiest(outputs: NDArray[np.float32], above: keras.layers.Layer | None, channels: int) -> NDArray[np.int64]:
    """The `channels` channels of `outputs` that matter most in the layer above, in their order."""
    if above is None:
        weight = outputs.std(axis=(0, 1, 2))  # the head brings every channel to one scale first
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
    """What a layer sees in the slim network, and gives in the whole one before the ReLU: (samples, values) each."""
    kernel, bias = full.get_weights()
    side = ours.shape[1]
    seen, targets = [], []
    for slim, whole in zip(ours, theirs, strict=True):
        places = rng.integers(0, side, (2, min(POSITIONS, side * side)))
        seen.append(_patches(slim, *places))
        targets.append(_patches(whole, *places) @ kernel[..., kept].reshape(-1, len(kept)) + bias[kept])
    return np.concatenate(seen), np.concatenate(targets)


def _patches(values: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
    """(places, 9 * channels): the 3 x 3 surroundings of each place, zeros beyond the edge."""
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)))
    parts = [padded[rows + i, columns + j] for i in range(3) for j in range(3)]
    return np.stack(parts, axis=1).reshape(len(rows), -1)


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
