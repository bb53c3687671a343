"""Quantises float ONNX networks to 8-bit integers, with the same answers on every x86 processor.

Weights have 7 bits (`reduce_range`). Processors without VNNI instructions add pairs of 8-bit products in 16 bits, where
full-range weights overflow silently: a VGG16 with random weights then gives 53 of 64 answers as in float; with 7 bits
it is 61 of 64, with and without VNNI. Scales are per channel, because the ranges of VGG16's channels differ by orders
of magnitude.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray


def quantise(
    network: Path, target: Path, pixels: NDArray[np.uint8], *, input_name: str, keep_float: Sequence[str] = ()
) -> None:
    """Writes `network` to `target` in 8 bits; activation ranges are measured on `pixels` (n, size, size, 3).

    Nodes named in `keep_float` stay in float. Ranges go from the smallest to the largest value: percentiles cut off
    activations that matter in VGG16 (14 % error instead of 8 % in block 4).
    """
    logging.getLogger().setLevel(logging.ERROR)  # it recommends a pre-processing step that changes nothing here
    quantize_static(
        network,
        target,
        _OneByOne(pixels, input_name),
        quant_format=QuantFormat.QDQ,
        calibrate_method=CalibrationMethod.MinMax,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        # Not Concat: one 8-bit range for both blocks that the head joins would leave few levels for the smaller one.
        # Relu is included so that a convolution's range starts at 0 and no levels are spent on negative values.
        op_types_to_quantize=["Conv", "MaxPool", "Relu"],
        nodes_to_exclude=list(keep_float),
    )


def dequantised(node: onnx.NodeProto, tensors: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """The values that a DequantizeLinear `node` restores; `tensors` are the graph's initialisers by name."""
    levels, scale, zero = (tensors[name] for name in node.input)
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    shape = [-1 if i == axis and scale.ndim else 1 for i in range(levels.ndim)]
    centred = levels.astype(np.float32) - zero.astype(np.float32).reshape(shape)
    return np.asarray(centred * scale.reshape(shape), np.float32)


class _OneByOne(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, pixels: NDArray[np.uint8], input_name: str) -> None:
        self._batches: Iterator[dict[str, NDArray[np.uint8]]] = ({input_name: p[None]} for p in pixels)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self._batches, None)
