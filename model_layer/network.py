"""Runs the network in ONNX Runtime: pixels in; class maps, unlikeness and kind of image out.

Each image is a run of its own on one core, with as many runs at once as there are cores. A run over several images, or
of one image on several cores, takes more processor time per image (threads wait for each other after every layer) and
holds the activations of all its images at once; docs/performance.md has the figures.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from model_layer.bundle import Bundle, BundleError
from model_layer.cores import available_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

INPUT = "pixels"
CLASS_MAPS = "class_maps"
FEATURES = "features"
UNLIKENESS, KIND = "unlikeness", "kind"
"""Optional outputs."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """The network's outputs for n images."""

    class_maps: NDArray[np.float32]
    """(n, rows, columns, labels); a map's average over its rows and columns is that label's logit."""
    unlikeness: NDArray[np.float32] | None = None
    """(n,) grows with the distance from the training data; None when the bundle does not use it."""
    kinds: NDArray[np.float32] | None = None
    """(n, kinds) probabilities of the bundle's kinds of image; None when it has none."""


class Network:
    """An ONNX Runtime session over a bundle's network. `run` may be called from several threads."""

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        """Parses the network for `threads` cores (default: all that this process may use).

        Raises:
            BundleError: the file is not an ONNX network, or its input and outputs differ from the manifest's.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(bundle.network, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 (the runtime's own exceptions share no base of their own)
            raise BundleError(f"The network of bundle {bundle.name} cannot be parsed: {error}.") from None
        # The session keeps the file's content, megabytes, to restart with other providers; there are none.
        self._session._model_bytes = None  # noqa: SLF001
        self._wanted = self._check(bundle)
        self._cores = ThreadPoolExecutor(threads or available_cores(), "infer")

    def run(self, pixels: NDArray[np.uint8]) -> Outputs:
        """The network's outputs for (n, size, size, 3) sRGB pixels."""
        images = np.split(pixels, len(pixels))
        outputs = [self._run(images[0])] if len(images) == 1 else list(self._cores.map(self._run, images))
        values = [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
        return Outputs(**dict(zip(self._wanted, values, strict=True)))

    def _run(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = self._session.run(list(self._wanted.values()), {INPUT: pixels})
        return outputs

    def _check(self, bundle: Bundle) -> dict[str, str]:
        """The outputs to ask for, by the fields of `Outputs`. Raises BundleError where the manifest differs."""
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
        limited = any(point.unlikeness is not None for point in bundle.points)
        if limited and UNLIKENESS not in outputs:
            raise BundleError(
                f"The manifest of bundle {bundle.name} limits {UNLIKENESS}, which its network does not give."
            )
        if bundle.kinds and (KIND not in outputs or outputs[KIND].shape[-1] != len(bundle.kinds)):
            raise BundleError(
                f"The manifest of bundle {bundle.name} has the kinds {', '.join(bundle.kinds)}, which its network does "
                "not tell apart."
            )
        return {
            "class_maps": CLASS_MAPS,
            **({"unlikeness": UNLIKENESS} if limited else {}),
            **({"kinds": KIND} if bundle.kinds else {}),
        }
