"""The frozen blocks in the serving engine and in 8 bits, four times as fast as in float: training on two cores.

That loses nothing and gains something: the tail is trained on the very activations that it will meet in the shipped
network.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from training.export import PIXELS, export_onnx
from training.progress import Progress
from training.quantisation import quantise

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

BATCH = 16


class Trunk:
    """Frozen blocks as an 8-bit network: (n, size, size, 3) bytes of pixels to feature levels 0..255."""

    def __init__(self, file: Path) -> None:
        """Opens the quantised network in `file`, and reads off it what one level of its output is worth."""
        self._session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
        self.digest = hashlib.sha256(file.read_bytes()).hexdigest()
        self.scale = float(json.loads(file.with_suffix(".json").read_text())["scale"])

    @classmethod
    def prepare(cls, model: keras.Model, pixels: NDArray[np.uint8], file: Path) -> Trunk:
        """Exports and quantises the frozen `model` to `file`, its ranges read off on `pixels`."""
        file.parent.mkdir(parents=True, exist_ok=True)
        exported, partial = file.with_suffix(".float.onnx"), file.with_suffix(".partial.onnx")
        export_onnx(model, exported)
        quantise(exported, partial, pixels, input_name=PIXELS)
        session = onnxruntime.InferenceSession(partial.read_bytes(), providers=["CPUExecutionProvider"])
        # After the last ReLU and pooling every value is a whole number of levels: the smallest step is the scale.
        values = np.unique(np.concatenate([session.run(None, {PIXELS: p[None]})[0].ravel() for p in pixels[:8]]))
        file.with_suffix(".json").write_text(json.dumps({"scale": float(np.diff(values).min())}))
        partial.replace(file)  # last: where the network is, its scale is too
        return cls(file)

    def levels(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(n, size, size, 3) pixels to (n, rows, columns, channels) levels; a level is `scale`."""
        (values,) = self._session.run(None, {PIXELS: pixels})
        levels: NDArray[np.uint8] = np.clip(np.rint(values / self.scale), 0, 255).astype(np.uint8)
        return levels

    def features(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the tail takes: levels in the network's own units."""
        return self.levels(pixels).astype(np.float32) * np.float32(self.scale)


class FloatTrunk:
    """Frozen blocks in float: faster than 8 bits where the processor does not multiply and add bytes."""

    def __init__(self, model: keras.Model, *, compiled: bool) -> None:
        """`compiled` is for Winograd's convolutions; in the usual way TensorFlow is faster without."""
        self._model = model
        model.compile(jit_compile=compiled)

    def features(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, size, size, 3) pixels to what the tail takes."""
        return np.asarray(self._model.predict_on_batch(pixels.astype(np.float32)), np.float32)


def held_levels(
    trunk: Trunk, squares: NDArray[np.uint8], rows: NDArray[np.int64], cache: Path, what: str
) -> NDArray[np.uint8]:
    """(len(rows), rows, columns, channels) levels of `squares[rows]`, memory-mapped from `cache`."""
    key = hashlib.sha256(trunk.digest.encode() + rows.tobytes()).hexdigest()[:16]
    file = cache / f"levels-{key}.npy"
    if not file.exists():
        partial = file.with_suffix(".partial.npy")
        shape = (len(rows), *trunk.levels(squares[:1]).shape[1:])
        levels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        with Progress(what, len(rows)) as progress:
            for start in range(0, len(rows), BATCH):
                some = rows[start : start + BATCH]
                levels[start : start + len(some)] = trunk.levels(squares[some])
                progress.advance(len(some))
        levels.flush()
        partial.replace(file)
    kept: NDArray[np.uint8] = np.load(file, mmap_mode="r")
    return kept
