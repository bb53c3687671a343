"""What a training view costs in the direct way and in Winograd's, on this processor, in one run.

    python -m benchmarks.training_step [--out FILE]

Random weights and pixels: time does not depend on them. The two ways alternate, so that a change in the machine's speed
meets both; times are medians of batches, for one view.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.side_by_side.machine import facts

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 16
ROUNDS = 5
SIZES = (128, 192, 224)
WAYS = {"direct": False, "winograd": True}


def main() -> int:
    """Prints a line for each size, and writes them all to FILE."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    rows = []
    for size in SIZES:
        rows.append(row(size))
        print("  ".join(f"{name} {value:g}" for name, value in rows[-1].items()), flush=True)
    if options.out:
        options.out.write_text(json.dumps({"machine": facts(), "rows": rows}, indent=2) + "\n", encoding="utf-8")
    return 0


def row(size: int) -> dict[str, float]:
    """Milliseconds a view through the frozen blocks and through a step of the others, in both ways."""
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), dtype=np.uint8)
    ways = {name: _way(size, pixels, winograd=winograd) for name, winograd in WAYS.items()}
    taken: dict[str, list[float]] = {f"{part} {name}": [] for name in ways for part in ("frozen", "step")}
    for _ in range(ROUNDS):
        for name, parts in ways.items():
            for part, run in parts.items():
                started = time.perf_counter()
                run()
                taken[f"{part} {name}"].append((time.perf_counter() - started) / BATCH * 1e3)
    medians = {name: round(statistics.median(values), 1) for name, values in taken.items()}
    whole = {name: medians[f"frozen {name}"] + medians[f"step {name}"] for name in ways}
    return {"pixels": size, **medians, "times as fast": round(whole["direct"] / whole["winograd"], 2)}


def _way(size: int, pixels: np.ndarray[Any, Any], *, winograd: bool) -> dict[str, Callable[[], Any]]:
    """The two parts of a training view, compiled and run once."""
    from training.config import Config  # noqa: PLC0415 (TensorFlow loads only once options fit)
    from training.dataset import LABELS  # noqa: PLC0415
    from training.fit import learner_of  # noqa: PLC0415
    from training.frozen import FloatTrunk  # noqa: PLC0415
    from training.network import build, cut  # noqa: PLC0415

    config = Config()
    below, above = cut(build(size, len(LABELS), **config.architecture, winograd=winograd), config.frozen_blocks)
    trunk = FloatTrunk(below, compiled=winograd)
    step = learner_of(above, config.phases[-1], config)
    features, targets = trunk.features(pixels), np.eye(len(LABELS), dtype=np.float32)[np.arange(BATCH) % len(LABELS)]
    step.train_on_batch(features, targets)
    return {"frozen": lambda: trunk.features(pixels), "step": lambda: step.train_on_batch(features, targets)}


if __name__ == "__main__":
    sys.exit(main())
