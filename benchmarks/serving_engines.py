"""The engines that could run the shipped network, each as a function of one image.

    python -m benchmarks.serving_engines ENGINE NETWORK PIXELS.npy STARTED

runs one engine in a fresh process with nothing else in it, and prints the seconds since `STARTED` (`time.monotonic()`)
and the peak memory as JSON. All engines read the same ONNX file except LiteRT, whose format is made from Keras
(`benchmarks.keras_models`).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

INPUT, CLASS_MAPS = "pixels", "class_maps"  # as in model_layer.network, which would import ONNX Runtime


def onnx_runtime(network: Path, threads: int) -> Run:
    """As `model_layer.network` sets it up, on `threads` cores for one image."""
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(network.read_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda pixels: np.asarray(session.run([CLASS_MAPS], {INPUT: pixels})[0])


def openvino(network: Path, threads: int) -> Run:
    """Float where it is not 8 bits; its default on some processors is bfloat16, which is slower and coarser."""
    import openvino as ov  # noqa: PLC0415 (installed only for the bench)

    core = ov.Core()
    model = core.read_model(network)
    (_, height, width, channels) = model.input(0).partial_shape
    model.reshape([1, height.get_length(), width.get_length(), channels.get_length()])
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        request.infer({INPUT: pixels})
        return np.array(request.get_tensor(CLASS_MAPS).data)

    return run


def litert(network: Path, threads: int) -> Run:
    """`network` is a .tflite file; the class maps are its output of four dimensions."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    interpreter: Any = Interpreter(str(network), num_threads=threads)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    maps = next(tensor for tensor in interpreter.get_output_details() if len(tensor["shape"]) == 4)

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        interpreter.set_tensor(entry["index"], pixels.astype(entry["dtype"]))
        interpreter.invoke()
        return np.array(interpreter.get_tensor(maps["index"]))

    return run


ENGINES = {"ONNX Runtime": onnx_runtime, "OpenVINO": openvino, "LiteRT": litert}
MODULES = {"ONNX Runtime": "onnxruntime", "OpenVINO": "openvino", "LiteRT": "ai_edge_litert"}
"""What must be installed for each."""


def main() -> None:
    engine, network, pixels, started = sys.argv[1:]
    ENGINES[engine](Path(network), 1)(np.load(pixels)[:1])
    seconds = time.monotonic() - float(started)
    from benchmarks.machine import memory_mb  # noqa: PLC0415 (not part of what was timed)

    print(json.dumps({"seconds": seconds, "peak_mb": memory_mb()["peak"]}))


if __name__ == "__main__":
    main()
