"""The engines that could run the shipped network, each as a function of one image.

All take the same ONNX file, but LiteRT, whose own format is made from Keras (`benchmarks.litert_network`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

INPUT, CLASS_MAPS = "pixels", "class_maps"  # as in model_layer.network, which would bring ONNX Runtime along


def onnx_runtime(network: Path, threads: int) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """As `model_layer.network` sets it up, on `threads` cores for one image."""
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(network.read_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda pixels: np.asarray(session.run([CLASS_MAPS], {INPUT: pixels})[0])


def openvino(network: Path, threads: int) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """In float where it is not in 8 bits: by itself it would pick bfloat16 on some processors, slower and coarser."""
    import openvino as ov  # noqa: PLC0415 (of the bench's set alone)

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


def litert(network: Path, threads: int) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
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
