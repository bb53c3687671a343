"""The bundle as it would be with more of VGG16's channels, in 8 bits, for its speed.

    python -m benchmarks.other_width FOLDER SHARE

leaves `FOLDER/bundle`, with the shipped manifest and random weights, and the same network for Keras beside it; it has
about SHARE (0 to 1) of the channels. Its answers mean nothing. `benchmarks.pruning` runs it, in a process of its own,
which keeps TensorFlow out of the others.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import keras
import numpy as np
import onnx

from benchmarks.baseline import KERAS
from model_layer import Bundle
from training.config import channels_of
from training.fit.finish import export
from training.network.architecture import build
from training.network.kinds import KindLayer
from training.network.unlikeness import append_nearest

SHIPPED = Path(__file__).resolve().parents[1] / "models" / "vgg16-skin"
RANGES = 8
"""Images of noise on which ranges of activations are measured."""


def main() -> None:
    folder, share = Path(sys.argv[1]), float(sys.argv[2])
    network = folder / "bundle" / "model.onnx"
    network.parent.mkdir(parents=True, exist_ok=True)
    shipped = Bundle.read(SHIPPED)
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = build(shipped.input_size, len(shipped.labels), channels=channels_of(share))
    model.save(folder / KERAS)
    export(model, network, rng.integers(0, 256, (RANGES, shipped.input_size, shipped.input_size, 3), dtype=np.uint8))
    (own,) = SHIPPED.glob("*.onnx")
    remembered = next(t.dims[1] for t in onnx.load(own).graph.initializer if t.name == "unlikeness_remembered")
    features = rng.random((remembered, model.output["features"].shape[-1]), dtype=np.float32)
    append_nearest(network, features)
    KindLayer(features, np.resize(np.array(shipped.kinds), remembered)).append(network)
    manifest = json.loads((SHIPPED / "manifest.json").read_text(encoding="utf-8"))
    manifest["version"] = f"{share:g}-of-the-width-random"
    manifest["network"] |= {"file": network.name, "sha256": hashlib.sha256(network.read_bytes()).hexdigest()}
    del manifest["known_answer"]
    (folder / "bundle" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


if __name__ == "__main__":
    main()
