"""A worker's start taken apart: every part imported and run after the other, in a process of its own.

In the real start ours overlaps (the model is parsed while boto3 is imported), so that the parts add up to more than
it takes.
"""

from __future__ import annotations

import os
import time
from typing import Any


class _Laps:
    """Milliseconds since the lap before."""

    def __init__(self, interpreter: float) -> None:
        self.parts = {"interpreter": interpreter * 1000}
        self._began = time.perf_counter()

    def done(self, part: str) -> None:
        now = time.perf_counter()
        self.parts[part] = self.parts.get(part, 0.0) + (now - self._began) * 1000
        self._began = now


def parts(kind: str, interpreter: float) -> dict[str, float]:
    """Milliseconds by part; `interpreter` seconds had passed when the first line ran."""
    laps = _Laps(interpreter)
    (_ours if kind == "ours" else _keras)(laps)
    return laps.parts


def _ours(laps: _Laps) -> None:
    import numpy as np  # noqa: PLC0415

    laps.done("numpy")
    import onnxruntime  # noqa: F401, PLC0415

    laps.done("runtime")
    import model_layer.decoding  # noqa: F401, PLC0415

    laps.done("pillow")
    import boto3  # noqa: PLC0415

    laps.done("boto3")
    import aws_lambda_powertools  # noqa: F401, PLC0415

    laps.done("powertools")
    import handler.worker  # noqa: F401, PLC0415
    from handler.configuration import Settings  # noqa: PLC0415
    from model_layer.bundle import Bundle  # noqa: PLC0415
    from model_layer.network import Network  # noqa: PLC0415

    laps.done("own code")
    bundle = Bundle.read(Settings.from_environment().model_bundle)
    network = Network(bundle)
    laps.done("network")
    network.run(np.zeros((1, bundle.input_size, bundle.input_size, 3), np.uint8))
    laps.done("first inference")
    boto3.client("s3")
    boto3.client("dynamodb")
    laps.done("boto3")


def _keras(laps: _Laps) -> None:
    import numpy as np  # noqa: PLC0415

    laps.done("numpy")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras  # noqa: PLC0415

    laps.done("runtime")
    import PIL.Image  # noqa: F401, PLC0415

    laps.done("pillow")
    import boto3  # noqa: PLC0415

    laps.done("boto3")
    model: Any = keras.saving.load_model(os.environ["KERAS_MODEL"])
    laps.done("network")
    model.predict(np.zeros((1, *model.input_shape[1:]), np.float32), verbose=0)
    laps.done("first inference")
    boto3.client("s3")
    boto3.resource("dynamodb").Table(os.environ["PREDICTIONS_TABLE"])
    laps.done("boto3")
