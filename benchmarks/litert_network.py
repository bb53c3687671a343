"""The network as LiteRT files, float and 8 bits: for the comparison of engines alone.

    python -m benchmarks.litert_network KERAS_MODEL FOLDER

LiteRT reads no ONNX, and the trained Keras weights are not in git: these have the architecture and random weights, so
they tell of speed, not of answers.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = {"float32": "float32.tflite", "int8": "int8.tflite"}


def main() -> None:
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    model = keras.saving.load_model(source)
    shape = (1, *model.input_shape[1:])
    traced = tf.function(lambda pixels: model(pixels, training=False)["class_maps"])
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function(tf.TensorSpec(shape, tf.float32)))

    def examples() -> Iterator[list[Any]]:
        rng = np.random.default_rng(0)
        for _ in range(4):
            yield [rng.integers(0, 256, shape).astype(np.float32)]

    for name, file in FILES.items():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
        if name == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = examples
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.uint8
        (folder / file).write_bytes(converter.convert())


if __name__ == "__main__":
    main()
