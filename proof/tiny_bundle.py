"""A real but tiny model bundle: 32 x 32 pixels in, eight labels out, under a millisecond an image.

Its weights are random, so its labels mean nothing. The real `Classifier` runs it in tests and in soaks, which are about
queues and tables, not about the network.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("nv", "mel", "bkl", "bcc", "akiec", "scc", "vasc", "df")
MALIGNANT = {"mel", "bcc", "akiec", "scc"}
SIZE = 32


def tiny_network(seed: int = 26) -> bytes:
    """Pixels (n, 32, 32, 3) -> class maps (n, 8, 8, 8) and features (n, 6): one convolution and a 1x1 head."""
    rng = np.random.default_rng(seed)
    weights = {
        "mean": np.array([150.0, 150.0, 150.0]),  # about the pictures' own, so that the labels vary
        "kernel": rng.normal(0, 0.01, (6, 3, 1, 1)) + rng.normal(0, 0.02, (6, 3, 3, 3)),
        "bias": rng.normal(0, 0.2, 6),
        "head": rng.normal(0, 2, (8, 6, 1, 1)),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["bytes"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["bytes", "mean"], ["floats"]),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel", "bias"], ["convolved"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["convolved"], ["active"]),
        helper.make_node("AveragePool", ["active"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["pooled", "head"], ["maps"]),
        helper.make_node("Transpose", ["maps"], ["class_maps"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["pooled", "axes"], ["features"], keepdims=0),
    ]
    tensors = [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()]
    tensors.append(numpy_helper.from_array(np.array([2, 3], dtype=np.int64), "axes"))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info("class_maps", TensorProto.FLOAT, ["n", 8, 8, 8]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 6]),
        ],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def tiny_manifest(network: bytes, *, confidence: float = 0.5) -> dict[str, Any]:
    digest = hashlib.sha256(network).hexdigest()
    return {
        "schema": 1,
        "name": "tiny",
        "version": f"0.0.1-{digest[:8]}",
        "network": {"file": "model.onnx", "sha256": digest},
        "labels": [{"code": c, "name": f"label {c}", "malignant": c in MALIGNANT} for c in LABELS],
        "input": {"size": SIZE, "resize": "centre square, antialiased bicubic"},
        "calibration": {"temperature": 1.5},
        "thresholds": {
            "confidence": {"value": confidence, "target": "half of all images"},
            "malignant": {"value": 0.4, "target": "none, a test"},
            "prediction_set": {"value": 0.9, "target": "none, a test"},
        },
    }


def write_tiny_bundle(folder: Path, *, confidence: float = 0.5) -> Path:
    """Writes the bundle. Images below `confidence` are referred: none at 0, all at 1."""
    folder.mkdir(parents=True, exist_ok=True)
    network = tiny_network()
    (folder / "model.onnx").write_bytes(network)
    (folder / "manifest.json").write_text(json.dumps(tiny_manifest(network, confidence=confidence)))
    return folder
