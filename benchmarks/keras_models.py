"""The network in other frameworks' formats: a Keras file for the baseline worker, and LiteRT files, float and 8 bits.

    python -m benchmarks.keras_models FOLDER WIDTHS

WIDTHS are the output channels of the thirteen convolutions, with commas between them. The trained Keras weights are not
in git, so these have random weights: they show speed and memory, not answers. `benchmarks.baseline` runs it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from benchmarks.baseline import KERAS, LITERT
from training.network.architecture import build

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE, LABELS = 224, 8


def main() -> None:
    folder, channels = Path(sys.argv[1]), [int(width) for width in sys.argv[2].split(",")]
    (folder / LITERT).mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    model = build(SIZE, LABELS, channels=channels)
    model.save(folder / KERAS)
    shape = (1, *model.input_shape[1:])
    traced = tf.function(lambda pixels: model(pixels, training=False)["class_maps"])
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function(tf.TensorSpec(shape, tf.float32)))

    def examples() -> Iterator[list[Any]]:
        rng = np.random.default_rng(0)
        for _ in range(4):
            yield [rng.integers(0, 256, shape).astype(np.float32)]

    for name in ("float32", "int8"):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
        if name == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = examples
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.uint8
        (folder / LITERT / f"{name}.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main()
