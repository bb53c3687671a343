"""What pruning VGG16's channels saves: seconds of one vCPU for an image, beside a usual Keras worker.

    python -m benchmarks.pruning [--out FILE]

Whole workers, as in `benchmarks.cost.seconds`: one core, typical uploads in batches of 32, the emulator's time left
out. Seconds are the processor time of all of a worker's threads; on the clock, which Lambda bills, Keras takes longer,
because `model.predict` also waits. All are measured twice: with every vector unit beyond AVX2 hidden, and as this
machine is. Widths that do not ship have random weights, and so has Keras (`benchmarks.other_width`,
`benchmarks.baseline`). Takes six minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine
from benchmarks.baseline import KERAS, ModelsError, make_models
from benchmarks.cost.seconds import an_image
from benchmarks.hidden_units import HidingError, hiding
from benchmarks.layers import convolutions, operations
from benchmarks.output import give
from benchmarks.side_by_side.uploads import draw
from infra.embedded_aws import embedded_aws
from infra.stack import deploy
from infra.worker_loop import function_environment
from model_layer.errors import run_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra.stack import Stack

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "models" / "vgg16-skin"
OTHERS = {"full": 1.0, "0.7": 0.5**0.5}
"""Shares of the published channels. At 0.7, half of the operations are left; the shipped half leaves a quarter."""
ROUNDS = 2


def measure(folder: Path) -> dict[str, Any]:
    """Rows for each set of vector units; models and uploads are kept in `folder`."""
    hidden = hiding()
    if hidden is None:
        raise HidingError
    files = draw(folder / "uploads")
    make_models(folder, next(SHIPPED.glob("*.onnx")))
    folders = {width: _made(folder / f"width-{width}", share) for width, share in OTHERS.items()} | {"half": folder}
    facts, began = machine.facts(), time.monotonic()
    with embedded_aws() as endpoint:
        stack = deploy(endpoint)
        rows = [
            {"units": name} | row
            for name, units in (("avx2", hidden), ("all", {}))
            for row in _rows(stack, files, folder / "worker.log", folders, units)
        ]
    facts |= {"load_average_at_end": machine.load_average(), "minutes": round((time.monotonic() - began) / 60, 1)}
    return {"rounds": ROUNDS, "rows": rows, "machine": facts}


def _rows(
    stack: Stack, files: Sequence[Path], log: Path, folders: Mapping[str, Path], units: Mapping[str, str]
) -> list[dict[str, Any]]:
    environment = function_environment(stack) | {"TF_CPP_MIN_LOG_LEVEL": "3", **units}
    rows = []
    for width, folder in folders.items():
        bundle = folder / "bundle" if width in OTHERS else SHIPPED
        giga = sum(operations(*shape) for _, *shape in convolutions(next(bundle.glob("*.onnx")))) / 1e9
        common = {"width": width, "giga_operations": round(giga, 2)}
        keras = environment | {"KERAS_MODEL": str(folder / KERAS)}
        cpu, clock = an_image(stack, keras, files, log, ROUNDS, kind="keras")
        rows.append({"worker": "keras", **common, "seconds": round(cpu, 4), "on_the_clock": round(clock, 4)})
        ours = environment | {"MODEL_BUNDLE": str(bundle)}
        cpu, clock = an_image(stack, ours, files, log, ROUNDS)
        rest, _ = an_image(stack, ours, files, log, ROUNDS, constant=True)
        seconds = {"seconds": round(cpu, 4), "on_the_clock": round(clock, 4), "network": round(cpu - rest, 4)}
        rows.append({"worker": "ours", **common, **seconds})
    return rows


def _made(folder: Path, share: float) -> Path:
    """`folder`, with a bundle of `share` of the channels in it."""
    if not (folder / "bundle" / "manifest.json").exists():
        command = [sys.executable, "-m", "benchmarks.other_width", str(folder), str(share)]
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        run = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)  # noqa: S603
        if run.returncode:
            raise ModelsError(f"benchmarks.other_width failed: {run.stderr[-2000:]}")
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build" / "bench", help="where models and uploads are kept"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    return run_command("benchmarks.pruning", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    give(measure(options.folder.resolve()), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
