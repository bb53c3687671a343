"""Measures everything in one run, prints one table, and writes it with machine facts.

    python -m benchmarks.side_by_side --out build/bench [--quick] [--thorough] [--hide] [--commit]

`--quick` takes only enough samples to show that it runs; `--thorough` adds 5,000 images through the network itself,
four minutes; `--hide` hides every vector unit beyond AVX2 from both workers and all engines
(`benchmarks.hidden_units`); `--commit` also writes benchmarks/results/ (with `--hide`, its folder avx2-only) and
refreshes the tables of docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine
from benchmarks.baseline import KERAS, LITERT, make_models
from benchmarks.hidden_units import HidingError, hide_from_here_on
from benchmarks.layers import layers
from benchmarks.side_by_side import documents
from benchmarks.side_by_side.dollars import bill
from benchmarks.side_by_side.models import decoding, decoding_cpu_ms, inference, installed, network_cpu_ms
from benchmarks.side_by_side.process import KINDS, worker
from benchmarks.side_by_side.uploads import draw
from benchmarks.side_by_side.workers import MANY, Setting, cold_start, load, throughput
from infra.embedded_aws import embedded_aws
from infra.prices import PRICED_ON
from infra.stack import deploy
from infra.worker_loop import function_environment
from model_layer import Bundle
from model_layer.errors import run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    return run_command("bench", lambda: _bench(options))


def _bench(options: argparse.Namespace) -> int:
    Bundle.read(options.bundle)  # before minutes of drawing and starting
    if options.hide:
        hide_from_here_on()
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    pairs, rounds = (1, 1) if options.quick else (5, 3)
    result = measure(out, options.bundle.resolve(), pairs, rounds, quick=options.quick, thorough=options.thorough)
    documents.write(result, out)
    if options.commit:
        documents.write(result, documents.AVX2_ONLY if options.hide else documents.RESULT.parent)
        if not options.hide:
            profile = json.dumps(layers(next(options.bundle.glob("*.onnx"))), indent=2)
            (documents.RESULT.parent / "layers.json").write_text(profile + "\n", encoding="utf-8")
        documents.refresh()
    print(f"\n{documents.rows_table(result['rows'])}\n\nDollars for a million images (prices of {PRICED_ON}):\n")
    print(documents.dollars_table(result["dollars"]))
    print(f"\n{documents.machine_line(result['machine'])}\n\n{out / 'bench.json'}")
    return 0


def measure(out: Path, bundle: Path, pairs: int, rounds: int, *, quick: bool, thorough: bool) -> dict[str, Any]:
    """All rows; `pairs` cold starts and `rounds` of the rest."""
    facts = machine.facts()
    cores = min(2, facts["cores"])  # Lambda's 3,538 MB; with more, both workers are held to two
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    else:
        print("This system cannot pin a process to cores: every row is of all cores.")
    log = out / "workers.log"
    log.unlink(missing_ok=True)
    _say("Drawing uploads, building the Keras worker's model")
    files = draw(out / "uploads")
    onnx = next(bundle.glob("*.onnx"))
    make_models(out, onnx)
    rows = []
    with embedded_aws() as endpoint:
        stack = deploy(endpoint)
        environment = function_environment(stack) | {
            "KERAS_MODEL": str(out / KERAS),
            "MODEL_BUNDLE": str(bundle),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "POWERTOOLS_LOG_LEVEL": "INFO",
        }
        setting = Setting(stack, environment, files[:6] if quick else files, log, cores, 12 if quick else 200)
        if facts.get("hidden"):
            _require_hidden(setting)
        _say("Cold starts")
        cold, parts = cold_start(setting, pairs)
        rows.append(cold)
        _say("Throughput and memory")
        measured = throughput(setting, rounds)
        rows += measured.rows
        _say("Load")
        rows += load(setting, many=400 if quick else MANY, thorough=thorough)
    _say("Inference")
    networks = {"ONNX Runtime": onnx, "OpenVINO": onnx, "LiteRT": out / LITERT / "int8.tflite"}
    engine_rows, engines = inference(bundle, networks, cores, 2 if quick else 7)
    rows += engine_rows
    _say("Decoding")
    contents = {file.name: file.read_bytes() for file in files}
    rows += decoding([data for name, data in contents.items() if "phone" in name][:4], 2 if quick else 12)
    decoded = decoding_cpu_ms(list(contents.values()))
    rows.append(installed())
    whole, network = measured.cpu_ms_per_image["ours"], network_cpu_ms(bundle, cores)
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
        "machine": {**facts, "load_average_at_end": machine.load_average(), "minutes": round(_seconds() / 60, 1)},
    }


def _require_hidden(setting: Setting) -> None:
    """Raises HidingError unless the CPUID of both workers' processes shows AVX2 and no AVX-512."""
    for kind in KINDS:
        with worker(kind, setting.environment, setting.log) as fresh:
            fresh.answer()
            if fresh.ask(vector_units=True) != {"AVX2": True, "AVX512F": False}:
                raise HidingError


_STARTED = time.monotonic()


def _seconds() -> float:
    return time.monotonic() - _STARTED


def _say(step: str) -> None:
    print(f"{_seconds():5.0f} s  {step}", flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.side_by_side", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "vgg16-skin")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--thorough", action="store_true")
    parser.add_argument("--hide", action="store_true", help="hide every vector unit beyond AVX2")
    parser.add_argument("--commit", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
