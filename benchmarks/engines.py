"""Which engine should run the network? Speed, memory, start and answers of each, on the bundle that ships.

    python -m benchmarks.engines --bundle models/vgg16-skin [--data DIR...] [--litert build/bench/litert] [--masked 2]

Float is the bundle's own network with its activations unrounded (`benchmarks.float_twin`), so that both share their
weights; answers are compared with it. LiteRT's files have random weights (`make bench` leaves them), so that it has no
answers to compare. `--data` takes labelled folders for accuracy on the images that took no part in training.
`--masked` repeats that many images under an emulator of an AVX2-only processor, as `benchmarks.processors` does.
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

from benchmarks.float_twin import write_float_twin
from benchmarks.processors import emulator
from benchmarks.serving_engines import ENGINES, MODULES
from benchmarks.side_by_side import machine
from model_layer import decode
from model_layer.bundle import Bundle
from model_layer.decision import calibrated, logits_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
THREADS = (1, 2)


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        result = compare(options, Path(folder))
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One object for each engine and arithmetic."""
    bundle = Bundle.read(options.bundle)
    shipped, twin = next(options.bundle.glob("*.onnx")), folder / "float.onnx"
    write_float_twin(shipped, twin)
    squares, truth = _squares(options, bundle.input_size)
    pixels = folder / "pixels.npy"
    np.save(pixels, squares[: max(1, options.masked)])
    networks = {
        (engine, arithmetic): file
        for engine in ENGINES
        for arithmetic, file in (("int8", shipped), ("float32", twin))
        if importlib.util.find_spec(MODULES[engine])
    }
    for arithmetic in ("int8", "float32"):
        networks["LiteRT", arithmetic] = options.litert / f"{arithmetic}.tflite"
    networks = {key: file for key, file in networks.items() if file.exists()}
    times = _milliseconds(networks, squares, options.timed)
    reference = _probabilities("ONNX Runtime", twin, squares, bundle.points[0].temperature)
    rows = []
    for (engine, arithmetic), file in networks.items():
        row: dict[str, Any] = {"engine": engine, "arithmetic": arithmetic}
        row |= {f"ms_{threads}_threads": round(times[engine, arithmetic, threads], 1) for threads in THREADS}
        fresh = _fresh(engine, file, pixels, [])
        row |= {"start_seconds": round(fresh["seconds"], 2), "peak_mb": round(fresh["peak_mb"])}
        if engine != "LiteRT":
            row |= _answers(_probabilities(engine, file, squares, bundle.points[0].temperature), reference, truth)
            if options.masked and arithmetic == "int8":
                row |= _masked(engine, file, pixels, fresh)
        rows.append(row)
    return {"images": len(squares), "bundle": bundle.version, "machine": machine.facts(), "rows": rows}


def _squares(options: argparse.Namespace, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """Images that took no part in training, with their labels; rendered ones, without, where no data is given."""
    if not options.data:
        from demo.lesions import dermoscopy, phone  # noqa: PLC0415

        drawn = [(phone if n % 3 == 0 else dermoscopy)(n) for n in range(options.images)]
        resized = [np.asarray(image.crop((0, 0, 450, 450)).resize((size, size)), np.uint8) for image in drawn]
        return np.stack(resized), None
    from training.dataset import read_folders  # noqa: PLC0415
    from training.splits import VALIDATION, read_splits  # noqa: PLC0415

    splits = read_splits(options.bundle / "splits.csv")
    images = [i for i in read_folders(options.data) if splits.get((i.source, i.image_id)) == VALIDATION]
    chosen = np.sort(np.random.default_rng(0).permutation(len(images))[: options.images])
    squares = np.stack([decode(images[i].path.read_bytes(), size).pixels for i in chosen])
    return squares, np.array([images[i].label for i in chosen])


def _milliseconds(
    networks: dict[tuple[str, str], Path], squares: NDArray[np.uint8], timed: int
) -> dict[tuple[str, str, int], float]:
    """Median milliseconds of one image, decoding not included; engines take turns image by image."""
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
    found = {
        "same_label_as_float": round(float(np.mean(own.argmax(axis=1) == reference.argmax(axis=1))), 4),
        "mean_probability_change": round(float(np.abs(own - reference).mean()), 5),
        "largest_probability_change": round(float(np.abs(own - reference).max()), 4),
    }
    if truth is not None:
        from training.metrics import balanced_accuracy  # noqa: PLC0415

        found["accuracy"] = round(float(np.mean(own.argmax(axis=1) == truth)), 4)
        found["balanced_accuracy"] = round(balanced_accuracy(truth, own.argmax(axis=1)), 4)
    return found


def _masked(engine: str, file: Path, pixels: Path, native: dict[str, Any]) -> dict[str, Any]:
    """The same images where the process sees an AVX2-only processor: the largest change of a logit."""
    masking = emulator()
    if masking is None:
        return {}
    try:
        masked = _fresh(engine, file, pixels, masking)
    except subprocess.CalledProcessError as error:
        return {"avx2_only": f"{masking[0]} could not run it (exit {error.returncode})"}
    change = float(np.abs(np.array(masked["logits"]) - np.array(native["logits"])).max())
    return {"avx2_only_logit_change": round(change, 5), "avx2_only_by": " ".join(masking)}


def _fresh(engine: str, file: Path, pixels: Path, prefix: list[str]) -> dict[str, Any]:
    """A fresh process: seconds to its first answer, its peak memory, its logits."""
    arguments = [engine, str(file), str(pixels), repr(time.monotonic())]
    command = [*prefix, sys.executable, "-m", "benchmarks.engine_child", *arguments]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answer


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "vgg16-skin")
    parser.add_argument("--data", type=Path, nargs="*", default=[])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--timed", type=int, default=20, help="runs of each that are timed")
    parser.add_argument("--litert", type=Path, default=ROOT / "build" / "bench" / "litert")
    parser.add_argument("--masked", type=int, default=0)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
