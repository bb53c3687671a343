"""What a network was trained on."""

from __future__ import annotations

import importlib
import platform
from pathlib import Path

from model_layer import available_cores


def machine() -> str:
    """The machine's processor or accelerator, in words."""
    import keras  # noqa: PLC0415 (only training has it)

    cores = available_cores()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="ignore").splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    if keras.backend.backend() == "jax":
        device = importlib.import_module("jax").devices()[0]
        model = f"{device.device_kind} beside {model}"
    return f"{cores} cores of {model}"
