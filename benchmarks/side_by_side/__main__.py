"""Measures everything in one run, prints one table, and writes it with machine facts.

    python -m benchmarks.side_by_side --out build/bench [--quick] [--thorough] [--commit]

`--quick` takes as few samples as show that it runs; `--thorough` adds 5,000 images through the network itself (four
minutes); `--commit` writes to benchmarks/results/ as well and refreshes the tables of docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.layers import layers
from benchmarks.side_by_side import machine, report
from benchmarks.side_by_side.cloud import environment
from benchmarks.side_by_side.cold_start import cold_start
from benchmarks.side_by_side.decoding import decoding, milliseconds_of_a_batch
from benchmarks.side_by_side.documents import refresh
from benchmarks.side_by_side.dollars import PRICED_ON, bill
from benchmarks.side_by_side.inference import inference, processor_milliseconds
from benchmarks.side_by_side.installed import installed
from benchmarks.side_by_side.load import MANY, load
from benchmarks.side_by_side.throughput import Setting, on_one_core, throughput
from benchmarks.side_by_side.uploads import draw
from infra.embedded_aws import embedded_aws
from infra.stack import deploy
from model_layer import Bundle
from model_layer.errors import run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    return run_command("bench", lambda: _bench(options))


def _bench(options: argparse.Namespace) -> int:
    Bundle.read(options.bundle)  # now, and not after minutes of drawing and starting
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    pairs, rounds = (1, 1) if options.quick else (5, 3)
    result = measure(out, options.bundle.resolve(), pairs, rounds, quick=options.quick, thorough=options.thorough)
    report.write(result, out)
    if options.commit:
        report.write(result, RESULTS)
        profile = layers(next(options.bundle.glob("*.onnx")))
        (RESULTS / "layers.json").write_text(json.dumps(profile, indent=2) + "\n", encoding="utf-8")
        refresh()
    print(f"\n{report.rows_table(result['rows'])}\n\nDollars for a million images (prices of {PRICED_ON}):\n")
    print(report.dollars_table(result["dollars"]))
    print(f"\n{report.machine_line(result['machine'])}\n\n{out / report.JSON_FILE}")
    return 0


def measure(out: Path, bundle: Path, pairs: int, rounds: int, *, quick: bool, thorough: bool) -> dict[str, Any]:
    """All rows; `pairs` cold starts and `rounds` of the rest."""
    facts = machine.facts()
    cores = min(2, facts["cores"])  # Lambda's 3,538 MB; with more, both workers are held to two
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    log = out / "workers.log"
    log.unlink(missing_ok=True)
    _say("Drawing uploads, building the Keras worker's model")
    files = draw(out / "uploads")
    keras_model = _made(out / "keras-model.keras", "benchmarks.side_by_side.keras_model")
    litert = _made(out / "litert" / "int8.tflite", "benchmarks.litert_network", str(keras_model), str(out / "litert"))
    rows = []
    with embedded_aws() as endpoint:
        stack = deploy(endpoint)
        given = environment(stack, keras_model) | {"MODEL_BUNDLE": str(bundle)}
        setting = Setting(stack, given, files[:6] if quick else files, log, cores, 12 if quick else 200)
        _say("Cold starts")
        cold, parts = cold_start(stack, given, files[1], log, pairs)
        rows.append(cold)
        _say("Throughput and memory")
        measured = throughput(setting, rounds)
        rows += measured.rows
        _say("One core")
        for kind, seconds in on_one_core(setting, max(1, rounds - 2)).items():
            measured.seconds_per_image[kind, 1] = seconds
        _say("Load")
        rows += load(setting, many=400 if quick else MANY, thorough=thorough)
    _say("Inference")
    onnx = next(bundle.glob("*.onnx"))
    engine_rows, engines = inference(
        bundle, {"ONNX Runtime": onnx, "OpenVINO": onnx, "LiteRT": litert}, cores, 2 if quick else 7
    )
    rows += engine_rows
    _say("Decoding")
    rows += decoding([file.read_bytes() for file in files if "phone" in file.name][:4], 2 if quick else 12)
    decoded = milliseconds_of_a_batch([file.read_bytes() for file in files])
    rows.append(installed())
    whole, network = measured.cpu_ms_per_image["ours"], processor_milliseconds(bundle, cores)
    return {
        "rows": [row.plain() for row in rows],
        "dollars": bill(measured.seconds_per_image),
        "cold_start_ms": parts,
        "engines_ms_per_image": engines,
        "profile_ms": {
            "the network": round(network, 1),
            "decoding": round(decoded, 1),
            "requests, records, logs, waiting for each other": round(whole - network - decoded, 1),
            "all, of ours": round(whole, 1),
            "all, of the Keras worker": round(measured.cpu_ms_per_image["keras"], 1),
        },
        "machine": {**facts, "load_average_at_end": machine.load_average(), "minutes": _minutes()},
    }


def _made(file: Path, module: str, *arguments: str) -> Path:
    """`file`, made by `module` in a process of its own, so that this one stays free of TensorFlow."""
    if not file.exists():
        command = [sys.executable, "-m", module, *(arguments or (str(file),))]
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        run = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)  # noqa: S603
        if run.returncode:
            sys.exit(f"{module} failed: {run.stderr[-2000:]}")
    return file


_STARTED = time.monotonic()


def _minutes() -> float:
    return round((time.monotonic() - _STARTED) / 60, 1)


def _say(step: str) -> None:
    print(f"{time.monotonic() - _STARTED:5.0f} s  {step}", flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.side_by_side", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "vgg16-skin")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--thorough", action="store_true")
    parser.add_argument("--commit", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
