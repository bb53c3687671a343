"""Exports Keras networks to ONNX files that take pixels as bytes."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper

if TYPE_CHECKING:
    import keras

PIXELS = "pixels"
BATCH_AXIS = "n"


def export_onnx(model: keras.Model, file: Path) -> None:
    """Writes `model` with bytes (n, size, size, 3) named `pixels` as input, and its outputs under their keys.

    tf2onnx converts the network, but renames its outputs; they get their names back here. A cast from bytes to floats
    is put in front: bytes are a quarter of the memory to move.
    """
    import keras  # noqa: PLC0415 (this module is also imported where Keras is not installed)

    outputs = dict(model.output) if isinstance(model.output, dict) else {"output": model.output}
    names = sorted(outputs)
    plain = keras.Model(model.input, [outputs[name] for name in names], name="network")
    plain(np.zeros((1, *model.input_shape[1:]), dtype=np.float32))  # Keras exports only networks that have been called
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("tf2onnx").setLevel(logging.ERROR)
        raw = Path(folder) / "raw.onnx"
        plain.export(raw, format="onnx", verbose=False)
        network = onnx.load(raw)
    _rename_outputs(network.graph, names)
    _take_bytes(network.graph)
    _number_afresh(network.graph)
    onnx.checker.check_model(network)
    onnx.save(network, file)


def _rename_outputs(graph: onnx.GraphProto, names: list[str]) -> None:
    for output, name in zip(graph.output, names, strict=True):
        _rename(graph, output.name, name)
        output.name = name
        output.type.tensor_type.shape.dim[0].dim_param = BATCH_AXIS


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.output[:] = [new if tensor == old else tensor for tensor in node.output]
        node.input[:] = [new if tensor == old else tensor for tensor in node.input]


def _take_bytes(graph: onnx.GraphProto) -> None:
    (floats,) = graph.input
    shape = [BATCH_AXIS, *(d.dim_value for d in floats.type.tensor_type.shape.dim[1:])]
    _rename(graph, floats.name, "floats")
    graph.node.insert(0, helper.make_node("Cast", [PIXELS], ["floats"], to=TensorProto.FLOAT, name="bytes_to_floats"))
    graph.input.remove(floats)
    graph.input.append(helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, shape))


def _number_afresh(graph: onnx.GraphProto) -> None:
    """Renumbers names: tf2onnx counts through the life of a process, but the same network must give the same file."""
    fresh: dict[str, str] = {}
    bases: Counter[str] = Counter()

    def renamed(name: str) -> str:
        if name and "__" in name and name not in fresh:
            base = re.sub(r"__\d+", "", name)
            bases[base] += 1
            fresh[name] = f"{base}__{bases[base]}"
        return fresh.get(name, name)

    for node in graph.node:
        node.name = renamed(node.name)
        node.input[:] = [renamed(tensor) for tensor in node.input]
        node.output[:] = [renamed(tensor) for tensor in node.output]
    for tensor in graph.initializer:
        tensor.name = renamed(tensor.name)
    tensors = sorted(graph.initializer, key=lambda tensor: tensor.name)
    del graph.initializer[:], graph.value_info[:]
    graph.doc_string = ""
    graph.initializer.extend(tensors)


def nodes_of(file: Path, marks: tuple[str, ...]) -> list[str]:
    """Names of the Conv and Relu nodes whose names contain one of `marks`."""
    nodes = onnx.load(file).graph.node
    return [n.name for n in nodes if n.op_type in ("Conv", "Relu") and any(mark in n.name for mark in marks)]
