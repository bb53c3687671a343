"""Weights of a finished bundle back into Keras, to go on training where another run ended.

The network file holds them rounded to 7 bits for each channel, which is less than one step of training moves them: a
run that starts here loses the optimiser's moments and nothing that counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import onnx
from onnx import numpy_helper

from training.errors import TrainingError
from training.network import block_of
from training.quantisation import dequantised

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[Any]]

BATCH = 16


def load_from_bundle(model: keras.Model, network: Path, *, above: int = 0) -> None:
    """Copies the weights in the ONNX file `network` into `model`, a VGG16 under the class-map head.

    Blocks up to `above` keep what they have: they were never trained, and the file holds them rounded.

    Raises:
        TrainingError: the file is of another architecture.
    """
    graph = onnx.load(network).graph
    tensors = _floats(graph)
    convolutions = {_layer(node.name): node for node in graph.node if node.op_type == "Conv"}
    for layer in model.layers:
        if block_of(layer) <= above:
            continue
        if isinstance(layer, keras.layers.Conv2D):
            node = convolutions.get(layer.name)
            if node is None:
                raise TrainingError(f"{network} has no layer {layer.name}: it is of another architecture.")
            kernel = tensors[node.input[1]].transpose(2, 3, 1, 0)  # ONNX: out, in, rows, columns
            # A bias of nothing but zeros is left out of the file.
            bias = tensors[node.input[2]] if len(node.input) > 2 else np.zeros(kernel.shape[-1], np.float32)
            _set(layer, [kernel, bias], network)
        elif isinstance(layer, keras.layers.BatchNormalization):
            _set_normalisation(layer, graph, tensors, network)


def _floats(graph: onnx.GraphProto) -> Tensors:
    """Every stored tensor by the name under which it is used: bytes behind a DequantizeLinear as floats."""
    tensors: Tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in tensors:
            tensors[node.output[0]] = dequantised(node, tensors)
    return tensors


def _set_normalisation(
    layer: keras.layers.BatchNormalization, graph: onnx.GraphProto, tensors: Tensors, network: Path
) -> None:
    """The file keeps one factor and one summand of each channel, of which many means and variances are possible.

    The mean is taken as 0 and the variance as 1; `settle_on` finds the real ones.
    """
    own = {node.op_type: node for node in graph.node if _layer(node.name) == layer.name}
    if not {"Mul", "Add"} <= own.keys():
        raise TrainingError(f"{network} has no layer {layer.name}: it is of another architecture.")
    factor, summand = (
        next(tensors[name] for name in own[kind].input if name in tensors).ravel() for kind in ("Mul", "Add")
    )
    channels = len(factor)
    gamma = factor * np.sqrt(1 + layer.epsilon, dtype=np.float32)
    _set(layer, [gamma, summand, np.zeros(channels, np.float32), np.ones(channels, np.float32)], network)


def settle_on(model: keras.Model, pixels: NDArray[np.uint8]) -> None:
    """Gives every batch normalisation the statistics of what reaches it from `pixels` (n, size, size, 3).

    What the network computes stays the same; training, which normalises by the batch, then starts from it.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            below = keras.Model(model.input, layer.input)
            batches = (pixels[i : i + BATCH].astype(np.float32) for i in range(0, len(pixels), BATCH))
            values = [np.asarray(below(batch), np.float32) for batch in batches]
            cells = np.concatenate([value.reshape(-1, value.shape[-1]) for value in values])
            _settle(layer, cells.mean(axis=0), cells.var(axis=0))


def _settle(layer: keras.layers.BatchNormalization, mean: NDArray[np.float32], variance: NDArray[np.float32]) -> None:
    gamma, beta, old_mean, old_variance = layer.get_weights()
    factor = gamma / np.sqrt(old_variance + layer.epsilon)
    summand = beta - factor * old_mean
    layer.set_weights([factor * np.sqrt(variance + layer.epsilon), summand + factor * mean, mean, variance])


def _layer(node: str) -> str:
    """`network_1/block1_conv1_1/BiasAdd` is of the layer `block1_conv1`."""
    parts = node.split("/")
    return parts[1].rsplit("_", 1)[0] if len(parts) > 1 else ""


def _set(layer: keras.layers.Layer, weights: list[NDArray[Any]], network: Path) -> None:
    try:
        layer.set_weights(weights)
    except ValueError:
        raise TrainingError(f"{network}: {layer.name} is of another size than this configuration's.") from None
