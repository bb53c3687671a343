"""The bundle's network for Keras and LiteRT: as wide, with random weights (`benchmarks.keras_models`).

Made in a process of its own, so that the bench stays free of TensorFlow.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.layers import convolutions
from model_layer.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
KERAS, LITERT, WIDTHS = "keras-model.keras", "litert", "keras-widths.txt"
"""Names in the folder."""


class ModelsError(UserError):
    """The models could not be made."""


def make_models(folder: Path, network: Path) -> None:
    """Makes them in `folder`, as wide as the ONNX file `network`; existing ones of the same widths are kept.

    Raises:
        ModelsError: TensorFlow is missing, or failed.
    """
    widths = ",".join(str(channels) for *_, channels in convolutions(network))
    made = folder / WIDTHS
    if made.exists() and made.read_text(encoding="utf-8") == widths:
        return
    command = [sys.executable, "-m", "benchmarks.keras_models", str(folder), widths]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)  # noqa: S603
    if run.returncode:
        raise ModelsError(f"benchmarks.keras_models failed: {run.stderr[-2000:]}")
    made.write_text(widths, encoding="utf-8")
