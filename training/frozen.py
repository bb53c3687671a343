"""What the frozen blocks make of augmented views, computed once and kept: training on two cores in an hour.

The trunk runs in the serving engine and in 8 bits, four times as fast as in float. That loses nothing and gains
something: the tail is trained on the very activations that it will meet in the shipped network.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from training.augmentation import augmentation
from training.export import PIXELS, export_onnx
from training.progress import Progress
from training.quantisation import quantise

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

BATCH = 32


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
        exported = file.with_suffix(".float.onnx")
        export_onnx(model, exported)
        quantise(exported, file, pixels, input_name=PIXELS)
        session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
        # After the last ReLU and pooling every value is a whole number of levels: the smallest step is the scale.
        values = np.unique(np.concatenate([session.run(None, {PIXELS: p[None]})[0].ravel() for p in pixels[:8]]))
        file.with_suffix(".json").write_text(json.dumps({"scale": float(np.diff(values).min())}))
        return cls(file)

    def levels(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(n, size, size, 3) pixels to (n, rows, columns, channels) levels; a level is `scale`."""
        (values,) = self._session.run(None, {PIXELS: pixels})
        levels: NDArray[np.uint8] = np.clip(np.rint(values / self.scale), 0, 255).astype(np.uint8)
        return levels


@dataclass(frozen=True)
class Views:
    """Frozen features of drawn views, memory-mapped."""

    levels: NDArray[np.uint8]
    """(draws, rows, columns, channels)"""
    scale: float
    """What one level is worth."""
    labels: NDArray[np.int64]
    """(draws,)"""


def views(
    trunk: Trunk,
    squares: NDArray[np.uint8],
    draws: NDArray[np.int64],
    labels: NDArray[np.int64],
    cache: Path,
    *,
    strength: float,
    seed: int,
    what: str,
) -> Views:
    """Features of `squares[draws]`, each augmented anew (`strength` 0: not at all), from `cache` where they are there.

    An interrupted run goes on where it stopped.
    """
    key = hashlib.sha256(f"{trunk.digest} {strength} {seed}".encode() + draws.tobytes()).hexdigest()[:16]
    file, done_file = cache / f"views-{key}.npy", cache / f"views-{key}.done"
    cache.mkdir(parents=True, exist_ok=True)
    done = int(done_file.read_text()) if file.exists() and done_file.exists() else 0
    if done < len(draws):
        shape = (len(draws), *trunk.levels(squares[:1]).shape[1:])
        levels = (
            np.lib.format.open_memmap(file, mode="r+")
            if done
            else np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
        )
        augment = augmentation(seed + done, strength)  # a continued run draws other views, as good as the first ones
        with Progress(what, len(draws)) as progress:
            progress.advance(done)
            for start in range(done, len(draws), BATCH):
                batch = squares[draws[start : start + BATCH]]
                if strength > 0:
                    augmented = np.asarray(augment(batch.astype(np.float32), training=True))
                    batch = np.clip(np.rint(augmented), 0, 255).astype(np.uint8)
                levels[start : start + len(batch)] = trunk.levels(batch)
                progress.advance(len(batch))
                if start // BATCH % 32 == 31:
                    levels.flush()
                    done_file.write_text(str(start + len(batch)))
            levels.flush()
            done_file.write_text(str(len(draws)))
    return Views(np.load(file, mmap_mode="r"), trunk.scale, labels[draws])
