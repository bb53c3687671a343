"""A worker's start taken apart: every part imported and run after the other, in a process of its own.

Our real start overlaps (the model is parsed while boto3 is imported), so its parts add up to more than it takes.
"""

from __future__ import annotations

import time
from typing import Any

PARTS = {
    "ours": [
        ("numpy", "import numpy as np"),
        ("runtime", "import onnxruntime"),
        ("pillow", "import model_layer.decoding"),
        ("boto3", "import boto3"),
        ("powertools", "import aws_lambda_powertools"),
        ("own code", "import handler.worker; from model_layer import Bundle; from model_layer.network import Network"),
        ("own code", "from handler.configuration import Settings"),
        ("network", "bundle = Bundle.read(Settings.from_environment().model_bundle); network = Network(bundle)"),
        ("first inference", "network.run(np.zeros((1, bundle.input_size, bundle.input_size, 3), np.uint8))"),
        ("boto3", "boto3.client('s3'); boto3.client('dynamodb')"),
    ],
    "keras": [
        ("numpy", "import numpy as np"),
        ("runtime", "import keras"),
        ("pillow", "import PIL.Image"),
        ("boto3", "import boto3"),
        ("network", "import os; model = keras.saving.load_model(os.environ['KERAS_MODEL'])"),
        ("first inference", "model.predict(np.zeros((1, *model.input_shape[1:]), np.float32), verbose=0)"),
        ("boto3", "boto3.client('s3'); boto3.resource('dynamodb').Table(os.environ['PREDICTIONS_TABLE'])"),
    ],
}


def parts(kind: str, interpreter: float) -> dict[str, float]:
    """Milliseconds by part; `interpreter` seconds had passed when the first line ran."""
    taken, names = {"interpreter": interpreter * 1000}, dict[str, Any]()
    for part, code in PARTS[kind]:
        began = time.perf_counter()
        exec(code, names)  # noqa: S102 (the lines above)  # nosec B102
        taken[part] = taken.get(part, 0.0) + (time.perf_counter() - began) * 1000
    return taken
