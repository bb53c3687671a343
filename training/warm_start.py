"""Weights of a finished bundle back into Keras, to go on training where another run ended.

The network file holds them rounded to 7 bits for each channel: by two or three parts in ten thousand, which a handful
of training steps move them too. A run that starts here loses that and the optimiser's moments.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import onnx
from onnx import numpy_helper

from training.backbones import VGG16
from training.errors import TrainingError
from training.fit import State
from training.network import block_of
from training.quantisation import dequantised
from training.splits import read_splits

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config

    Tensors = dict[str, NDArray[Any]]

BATCH = 16


@dataclass(frozen=True)
class Start:
    """Another run's bundle, to go on from."""

    bundle: Path
    phases: int
    """How many of the configuration's phases, the last ones, are still to be done."""

    @property
    def machine(self) -> str:
        """What trained the earlier phases, in words."""
        return str(self._manifest()["training"].get("machine", "a machine that was not recorded"))

    @property
    def version(self) -> str:
        """Of the bundle."""
        return str(self._manifest()["version"])

    def splits(self) -> dict[tuple[str, str], str]:
        """The split of each image that the bundle knows, by source and image_id.

        Raises:
            TrainingError: it came without them.
        """
        splits = read_splits(self.bundle / "splits.csv")
        if not splits:
            raise TrainingError(f"{self.bundle} came without splits.csv: what it has learned from is not known.")
        return splits

    def state(self, config: Config) -> State:
        """Where training stands when the earlier phases are done, with the history that the bundle tells.

        Raises:
            TrainingError: the bundle tells none, was trained on other splits, or is of another backbone.
        """
        if config.backbone != VGG16:
            raise TrainingError(f"Only VGG16's weights come back from a bundle, not those of {config.backbone}.")
        try:
            past = self._manifest()["training"]
            seed, history, seconds = past["configuration"]["seed"], past["history"], past["seconds"]
        except (OSError, KeyError, ValueError) as error:
            raise TrainingError(f"{self.bundle} is no bundle that a training run made: {error!r}.") from None
        if seed != config.seed:
            raise TrainingError(
                f"{self.bundle} was trained with seed {seed}, and its splits are others than those of seed "
                f"{config.seed}: images that it learned from would be taken for unseen. Give --seed {seed}."
            )
        if not 0 < self.phases <= len(config.phases):
            raise TrainingError(f"There are {len(config.phases)} phases: --last {self.phases} is not among them.")
        done = len(config.phases) - self.phases
        step = len(history) * math.ceil(config.epoch / config.batch)  # views go on where the other run's ended
        return State(phase=done, step=step, seconds=seconds, history=list(history))

    def _manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((self.bundle / "manifest.json").read_text(encoding="utf-8"))
        return manifest


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
