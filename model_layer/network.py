"""The network in its runtime: pixels in, class maps and pooled features out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import onnxruntime

from model_layer.bundle import Bundle, BundleError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INPUT = "pixels"
CLASS_MAPS = "class_maps"
FEATURES = "features"


class Network:
    """An ONNX Runtime session over a bundle's network. `run` may be called from several threads."""

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """Parses the network for `threads` cores (default: all that this process may use).

        Raises:
            BundleError: the file is no ONNX network, or not one with this manifest's input and outputs.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that spin while they wait would take the cores from the decoders.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(bundle.network, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 (the runtime's own exceptions share no base of their own)
            raise BundleError(f"The network of bundle {bundle.name} cannot be parsed: {error}.") from None
        self._check(bundle)

    def run(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Maps (n, size, size, 3) sRGB pixels to class maps (n, rows, columns, labels) and features (n, channels).

        A class map's average over its rows and columns is that label's logit.
        """
        maps, features = self._session.run([CLASS_MAPS, FEATURES], {INPUT: pixels})
        return maps, features

    def _check(self, bundle: Bundle) -> None:
        inputs = {tensor.name: tensor for tensor in self._session.get_inputs()}
        outputs = {tensor.name: tensor for tensor in self._session.get_outputs()}
        if set(inputs) != {INPUT} or not {CLASS_MAPS, FEATURES} <= set(outputs):
            raise BundleError(
                f"The network of bundle {bundle.name} must map {INPUT} to {CLASS_MAPS} and {FEATURES}, "
                f"but maps {sorted(inputs)} to {sorted(outputs)}."
            )
        if inputs[INPUT].type != "tensor(uint8)" or inputs[INPUT].shape[1:] != [
            bundle.input_size,
            bundle.input_size,
            3,
        ]:
            raise BundleError(
                f"The network of bundle {bundle.name} takes {inputs[INPUT].type} of shape {inputs[INPUT].shape}, "
                f"but its manifest states {bundle.input_size} x {bundle.input_size} pixels of bytes."
            )
        if outputs[CLASS_MAPS].shape[-1] != len(bundle.labels):
            raise BundleError(
                f"The network of bundle {bundle.name} has {outputs[CLASS_MAPS].shape[-1]} class maps, "
                f"but its manifest has {len(bundle.labels)} labels."
            )
