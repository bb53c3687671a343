"""A small network of convolutions with their Relus, as VGG16 is made of."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OUTPUT = "relu2"


def convolutions() -> bytes:
    """Pixels (n, 16, 16, 3) through three convolutions to `OUTPUT` (n, 16, 16, 16)."""
    rng = np.random.default_rng(0)
    nodes, tensors, x = [helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT)], [], "planes"
    nodes.append(helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]))
    for i, (inputs, outputs) in enumerate([(3, 16), (16, 16), (16, 16)]):
        tensors.append(numpy_helper.from_array(rng.normal(0, 0.1, (outputs, inputs, 3, 3)).astype(np.float32), f"w{i}"))
        tensors.append(numpy_helper.from_array(rng.normal(0, 0.1, outputs).astype(np.float32), f"b{i}"))
        conv = helper.make_node("Conv", [x, f"w{i}", f"b{i}"], [f"conv{i}"], f"conv_{i}", pads=[1, 1, 1, 1])
        nodes += [conv, helper.make_node("Relu", [f"conv{i}"], [f"relu{i}"], f"relu_{i}")]
        x = f"relu{i}"
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 16, 16, 3])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["n", 16, 16, 16])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    return model.SerializeToString()
