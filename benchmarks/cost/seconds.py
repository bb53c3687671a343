"""How many seconds of one vCPU an image takes, from fetching to writing, and how long a worker takes to start.

    python -m benchmarks.cost.seconds --out benchmarks/results/cost/NAME.json [--hide] [--bundle DIR]

The whole worker, as Lambda runs it, on one core, with batches of 32 typical uploads (a third 12-megapixel phone JPEGs)
and the emulator's time left out. Seconds are the processor time of all of its threads: it has nothing to wait for, so a
vCPU of its own would take as long, and other programs on the machine hardly change the figure. `--hide` hides every
vector unit beyond AVX2 (benchmarks/hidden_units.py). Takes a minute, most of it drawing the uploads once.
"""

from __future__ import annotations

import argparse
import resource
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import machine
from benchmarks.hidden_units import HidingError, hiding
from benchmarks.layers import convolutions, operations
from benchmarks.output import give
from benchmarks.side_by_side.process import worker
from benchmarks.side_by_side.uploads import draw, pretended, upload
from infra.embedded_aws import embedded_aws
from infra.stack import deploy
from infra.worker_loop import function_environment
from model_layer import Bundle
from model_layer.errors import run_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra.stack import Stack

ROOT = Path(__file__).resolve().parents[2]


def measure(bundle: Path, folder: Path, rounds: int, *, hide: bool) -> dict[str, Any]:
    """Medians of `rounds`; uploads and the log are kept in `folder`."""
    files = draw(folder / "uploads")
    with embedded_aws() as endpoint:
        hidden = hiding() if hide else {}
        if hidden is None:
            raise HidingError
        stack = deploy(endpoint)
        environment = function_environment(stack) | {"MODEL_BUNDLE": str(bundle)} | hidden
        log = folder / "worker.log"
        starts = [_cold_start(stack, environment, files[1], log, number) for number in range(rounds + 1)][1:]
        whole, wall = an_image(stack, environment, files, log, rounds)
        rest, _ = an_image(stack, environment, files, log, rounds, constant=True)
    facts = machine.facts()
    if hide:
        facts |= {"vector_units": ["avx2"], "hidden": [unit for unit in facts["vector_units"] if unit != "avx2"]}
    layers = convolutions(next(bundle.glob("*.onnx")))
    return {
        "bundle": Bundle.read(bundle).version,
        "giga_operations": round(sum(operations(*shape) for _, *shape in layers) / 1e9, 2),
        "seconds": round(whole, 4),
        "of_it_the_network": round(whole - rest, 4),
        "on_the_clock": round(wall, 4),
        "cold_start": round(median(starts), 2),
        "upload_bytes": round(sum(file.stat().st_size for file in files) / len(files)),
        "rounds": rounds,
        "machine": {**facts, "load_average_at_end": machine.load_average()},
    }


def _cold_start(stack: Stack, environment: Mapping[str, str], file: Path, log: Path, number: int) -> float:
    """From nothing to the first record, with files in the page cache."""
    event = upload(stack, [file], f"cold-{number}")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with worker("ours", environment, log, cores=1) as fresh:
        fresh.answer()
        fresh.handle([event])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)  # the worker has ended, and no other child of this process
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def an_image(
    stack: Stack,
    environment: Mapping[str, str],
    files: Sequence[Path],
    log: Path,
    rounds: int,
    *,
    kind: str = "ours",
    constant: bool = False,
) -> tuple[float, float]:
    """Seconds of the processor and of the clock for an image, of the worker `kind` (`ours` or `keras`) on one core.

    `constant` leaves the network's own run out.
    """
    with worker(kind, environment, log, cores=1) as one:
        one.answer()
        one.ask(fakes=str(files[0].parent))
        if constant:
            one.ask(constant_network=True)
        samples = [one.handle([pretended(stack.bucket, files, f"round-{n}")]) for n in range(rounds + 1)][1:]
    return median(s.cpu_seconds / s.images for s in samples), median(s.seconds / s.images for s in samples)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "vgg16-skin")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench", help="where drawn uploads are kept")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hide", action="store_true", help="hide every vector unit beyond AVX2")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    return run_command("benchmarks.cost.seconds", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    Bundle.read(options.bundle)
    result = measure(options.bundle.resolve(), options.folder.resolve(), options.rounds, hide=options.hide)
    give(result, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
