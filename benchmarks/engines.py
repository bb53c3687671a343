"""Which engine should run the network, and what do 8 bits cost? Speed, memory, start and answers of each.

    python -m benchmarks.engines [--data DIR...] [--float build/train/model.float.onnx] [--hide] [--out FILE]

Answers are compared with float arithmetic: `--float` takes the network that `make train` leaves; the default is the
bundle's own with its activations unrounded, so that both share their weights. `--data` takes labelled folders, for
accuracy on the images that took no part in training; the default is rendered images. LiteRT's files have random weights
(`benchmarks.baseline`), so it has a speed and no answers. Times are medians; networks take turns, image by image.
`--hide` hides every vector unit beyond AVX2 from all of them (`benchmarks.hidden_units`).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks import machine
from benchmarks.baseline import LITERT, make_models
from benchmarks.hidden_units import hide_from_here_on
from benchmarks.output import give
from benchmarks.serving_engines import ENGINES, MODULES
from model_layer import Bundle, decode
from model_layer.decision import calibrated, logits_of
from model_layer.errors import run_command
from training.data.dataset import read_folders
from training.data.splits import VALIDATION, read_splits
from training.evaluation.metrics import balanced_accuracy, expected_calibration_error
from training.network.quantisation import dequantised

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
THREADS = (1, 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "vgg16-skin")
    parser.add_argument("--float", type=Path, dest="float_network", help="default: made from the bundle")
    parser.add_argument("--data", type=Path, nargs="*", default=[])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--timed", type=int, default=20, help="runs of each that are timed")
    parser.add_argument("--models", type=Path, default=ROOT / "build" / "bench", help="where LiteRT's files are kept")
    parser.add_argument("--hide", action="store_true", help="hide every vector unit beyond AVX2")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    return run_command("benchmarks.engines", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if options.hide:
        hide_from_here_on()
    with tempfile.TemporaryDirectory() as folder:
        result = compare(options, Path(folder))
    give(result, options.out)
    return 0


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One row for each engine and arithmetic."""
    bundle = Bundle.read(options.bundle)
    shipped, floats = next(options.bundle.glob("*.onnx")), options.float_network or folder / "float.onnx"
    if not options.float_network:
        write_float_twin(shipped, floats)
    squares, truth = _squares(options, bundle.input_size)
    make_models(options.models, shipped)
    np.save(folder / "pixels.npy", squares[:1])
    networks = {
        (engine, arithmetic): options.models / LITERT / f"{arithmetic}.tflite" if engine == "LiteRT" else file
        for engine in ENGINES
        for arithmetic, file in (("int8", shipped), ("float32", floats))
        if importlib.util.find_spec(MODULES[engine])
    }
    networks = {key: file for key, file in networks.items() if file.exists()}
    times = _milliseconds(networks, squares, options.timed)
    temperature = bundle.points[0].temperature
    reference = _probabilities("ONNX Runtime", floats, squares, temperature)
    rows = []
    for (engine, arithmetic), file in networks.items():
        row: dict[str, Any] = {"engine": engine, "arithmetic": arithmetic}
        row["megabytes"] = round(file.stat().st_size / 1e6, 1)
        row |= {f"ms_{threads}_threads": round(times[engine, arithmetic, threads], 1) for threads in THREADS}
        fresh = _fresh(engine, file, folder / "pixels.npy")
        row |= {"start_seconds": round(fresh["seconds"], 2), "peak_mb": round(fresh["peak_mb"])}
        if engine != "LiteRT":
            row |= _answers(_probabilities(engine, file, squares, temperature), reference, truth)
        rows.append(row)
    return {"images": len(squares), "bundle": bundle.version, "machine": machine.facts(), "rows": rows}


def _squares(options: argparse.Namespace, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """Images that took no part in training, with their labels; rendered ones without labels where there is no data."""
    if not options.data:
        from demo.lesions import dermoscopy, phone  # noqa: PLC0415

        drawn = [(phone if n % 3 == 0 else dermoscopy)(n) for n in range(options.images)]
        resized = [np.asarray(image.crop((0, 0, 450, 450)).resize((size, size)), np.uint8) for image in drawn]
        return np.stack(resized), None
    splits = read_splits(options.bundle / "splits.csv")
    images = [i for i in read_folders(options.data) if splits.get((i.source, i.image_id)) == VALIDATION]
    chosen = np.sort(np.random.default_rng(0).permutation(len(images))[: options.images])
    squares = np.stack([decode(images[i].path.read_bytes(), size).pixels for i in chosen])
    return squares, np.array([images[i].label for i in chosen])


def _milliseconds(
    networks: dict[tuple[str, str], Path], squares: NDArray[np.uint8], timed: int
) -> dict[tuple[str, str, int], float]:
    """Median milliseconds of one image without decoding; the first run of each is not counted."""
    runs = {(*key, t): ENGINES[key[0]](file, t) for key, file in networks.items() for t in THREADS}
    samples: dict[tuple[str, str, int], list[float]] = {key: [] for key in runs}
    for number in range(timed + 1):
        square = squares[number % len(squares)][None]
        for key, run in runs.items():
            began = time.perf_counter()
            run(square)
            samples[key] += [(time.perf_counter() - began) * 1000] if number else []
    return {key: median(values) for key, values in samples.items()}


def _probabilities(engine: str, file: Path, squares: NDArray[np.uint8], temperature: float) -> NDArray[np.float64]:
    run = ENGINES[engine](file, THREADS[-1])
    return calibrated(np.concatenate([logits_of(run(square[None])) for square in squares]), temperature)


def _answers(
    own: NDArray[np.float64], reference: NDArray[np.float64], truth: NDArray[np.int64] | None
) -> dict[str, float]:
    labels = own.argmax(axis=1)
    found = {
        "same_label_as_float": round(float(np.mean(labels == reference.argmax(axis=1))), 4),
        "mean_probability_change": round(float(np.abs(own - reference).mean()), 5),
        "largest_probability_change": round(float(np.abs(own - reference).max()), 4),
    }
    if truth is not None:
        found["accuracy"] = round(float(np.mean(labels == truth)), 4)
        found["balanced_accuracy"] = round(balanced_accuracy(truth, labels), 4)
        found["ece"] = round(expected_calibration_error(own, truth), 4)
    return found


def _fresh(engine: str, file: Path, pixels: Path) -> dict[str, Any]:
    """Seconds to the first answer and peak memory of a fresh process."""
    arguments = [engine, str(file), str(pixels), repr(time.monotonic())]
    command = [sys.executable, "-m", "benchmarks.serving_engines", *arguments]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answer


def write_float_twin(network: Path, target: Path) -> None:
    """The shipped network without the rounding of its activations: float arithmetic on the same weights.

    Every QuantizeLinear is removed with its DequantizeLinear, and weights are stored as floats.
    """
    model = onnx.load(network)
    graph = model.graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    rounded = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    starts_at_0 = {
        node.input[0] for node in graph.node if node.op_type == "QuantizeLinear" and not tensors[node.input[2]].any()
    }
    instead: dict[str, str] = {}
    kept = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            source = node.input[0]
            if source in tensors:
                graph.initializer.append(numpy_helper.from_array(dequantised(node, tensors), node.output[0]))
            else:
                instead[node.output[0]] = rounded[source]
        elif node.op_type != "QuantizeLinear":
            node.input[:] = [instead.get(name, name) for name in node.input]
            kept.append(node)
    kept.extend(
        onnx.helper.make_node("Identity", [instead[output.name]], [output.name])
        for output in graph.output
        if output.name in instead
    )
    del graph.node[:]
    graph.node.extend(_with_relus(kept, starts_at_0))
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    onnx.checker.check_model(model)
    onnx.save(model, target)


def _with_relus(nodes: list[onnx.NodeProto], starts_at_0: set[str]) -> list[onnx.NodeProto]:
    """Adds a Relu after each convolution whose range starts at 0, since its rounding was also its Relu."""
    result = []
    for node in nodes:
        result.append(node)
        if node.op_type == "Conv" and node.output[0] in starts_at_0:
            name = node.output[0]
            node.output[0] = f"{name}_before_relu"
            result.append(onnx.helper.make_node("Relu", [node.output[0]], [name], name=f"{node.name}_relu"))
    return result


if __name__ == "__main__":
    sys.exit(main())
