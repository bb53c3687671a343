"""The same network with some of its weights shuffled: what an explanation must not survive.

After Adebayo et al., "Sanity checks for saliency maps" (NeurIPS 2018): a map that looks the same when the weights say
nothing any more explains the image, not the model.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from model_layer.network import CLASS_MAPS


def convolutions(network: bytes) -> int:
    """How many convolutions the ONNX `network` has."""
    return len(_kernels(onnx.load_from_string(network)))


def randomised(network: bytes, last: int, seed: int) -> bytes:
    """`network` with the kernels of its `last` convolutions shuffled, from the output downwards.

    Shuffling keeps each kernel's values, so that an 8-bit network keeps its scales, and only their places change.
    """
    model = onnx.load_from_string(network)
    rng = np.random.default_rng(seed)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in _kernels(model)[-last:]:
        values = numpy_helper.to_array(tensors[name])
        shuffled = rng.permutation(values.ravel()).reshape(values.shape)
        tensors[name].CopyFrom(numpy_helper.from_array(shuffled, name))
    return bytes(model.SerializeToString())


def _kernels(model: onnx.ModelProto) -> list[str]:
    """The initialisers that are kernels of what makes the class maps, in order; through their dequantisers."""
    initialisers = {tensor.name for tensor in model.graph.initializer}
    maker = {output: node for node in model.graph.node for output in node.output}
    above: set[str] = set()  # every tensor that the class maps come from
    wanted = [CLASS_MAPS]
    while wanted:
        name = wanted.pop()
        if name not in above:
            above.add(name)
            wanted += maker[name].input if name in maker else []
    kernels = []
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvInteger", "QLinearConv") or not above.intersection(node.output):
            continue
        name = node.input[3 if node.op_type == "QLinearConv" else 1]
        while name not in initialisers and name in maker:
            name = maker[name].input[0]
        if name in initialisers:
            kernels.append(name)
    return kernels
