"""The network in its runtime: pixels in, class maps and unlikeness out.

Each image is a run of its own on one core, and as many run at a time as there are cores. A run over several images, or
of one image on several cores, takes more processor time an image (threads wait for each other after every layer) and
holds the activations of all its images at once: docs/performance.md has the figures.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from model_layer.bundle import Bundle, BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

INPUT = "pixels"
CLASS_MAPS = "class_maps"
FEATURES = "features"
UNLIKENESS = "unlikeness"
"""An output that a network may lack."""


class Network:
    """An ONNX Runtime session over a bundle's network. `run` may be called from several threads."""

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """Parses the network for `threads` cores (default: all that this process may use).

        Raises:
            BundleError: the file is no ONNX network, or not one with this manifest's input and outputs.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(bundle.network, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 (the runtime's own exceptions share no base of their own)
            raise BundleError(f"The network of bundle {bundle.name} cannot be parsed: {error}.") from None
        # It keeps the file's content to start over with other providers; there are none, and it is 16 MB.
        self._session._model_bytes = None  # noqa: SLF001
        self._wanted = self._check(bundle)
        self._cores = ThreadPoolExecutor(threads or len(os.sched_getaffinity(0)), "infer")

    def run(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Maps (n, size, size, 3) sRGB pixels to class maps (n, rows, columns, labels) and unlikeness (n,).

        A class map's average over its rows and columns is that label's logit. Unlikeness grows with the distance from
        the training data; None when the network does not tell.
        """
        images = np.split(pixels, len(pixels))
        outputs = [self._run(images[0])] if len(images) == 1 else list(self._cores.map(self._run, images))
        maps, *unlikeness = (np.concatenate(values) for values in zip(*outputs, strict=True))
        return maps, unlikeness[0] if unlikeness else None

    def _run(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = self._session.run(self._wanted, {INPUT: pixels})
        return outputs

    def _check(self, bundle: Bundle) -> list[str]:
        """The outputs to ask for, if inputs and outputs are what the manifest promises."""
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
        if bundle.unlikeness is not None and UNLIKENESS not in outputs:
            raise BundleError(
                f"The manifest of bundle {bundle.name} limits {UNLIKENESS}, which its network does not give."
            )
        return [CLASS_MAPS] if bundle.unlikeness is None else [CLASS_MAPS, UNLIKENESS]
