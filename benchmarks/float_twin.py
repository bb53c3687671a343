"""The shipped network without the rounding of its activations: float arithmetic on the same weights.

What float would cost, and how far 8-bit activations change the answers, can so be measured from the bundle alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import numpy_helper

from training.network.quantisation import dequantised

if TYPE_CHECKING:
    from pathlib import Path


def write_float_twin(network: Path, target: Path) -> None:
    """Takes every QuantizeLinear with its DequantizeLinear out of `network`, and stores weights as floats."""
    model = onnx.load(network)
    graph = model.graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    rounded = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    starts_at_0 = {
        node.input[0] for node in graph.node if node.op_type == "QuantizeLinear" and not tensors[node.input[2]].any()
    }
    instead: dict[str, str] = {}
    kept = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            source = node.input[0]
            if source in tensors:
                graph.initializer.append(numpy_helper.from_array(dequantised(node, tensors), node.output[0]))
            else:
                instead[node.output[0]] = rounded[source]
        elif node.op_type != "QuantizeLinear":
            node.input[:] = [instead.get(name, name) for name in node.input]
            kept.append(node)
    kept.extend(
        onnx.helper.make_node("Identity", [instead[output.name]], [output.name])
        for output in graph.output
        if output.name in instead
    )
    del graph.node[:]
    graph.node.extend(_with_relus(kept, starts_at_0))
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    onnx.checker.check_model(model)
    onnx.save(model, target)


def _with_relus(nodes: list[onnx.NodeProto], starts_at_0: set[str]) -> list[onnx.NodeProto]:
    """Where a convolution's range starts at 0, the rounding was its Relu as well; it comes back as a node."""
    result = []
    for node in nodes:
        result.append(node)
        if node.op_type == "Conv" and node.output[0] in starts_at_0:
            name = node.output[0]
            node.output[0] = f"{name}_before_relu"
            result.append(onnx.helper.make_node("Relu", [node.output[0]], [name], name=f"{node.name}_relu"))
    return result
