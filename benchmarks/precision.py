"""Float or 8 bits: speed, size and accuracy of both networks on the same images, in one run.

    python -m benchmarks.precision --float build/train/model.float.onnx --bundle models/vgg16-skin --data DIR...

The images are those that the bundle was neither trained nor calibrated on. Runs alternate between the networks, so
that a change in the machine's speed meets both; times are medians of single images, decoding not included.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from model_layer import decode
from model_layer.bundle import Bundle
from model_layer.decision import calibrated, logits_of
from model_layer.network import CLASS_MAPS, INPUT
from training.dataset import read_folders
from training.metrics import balanced_accuracy, expected_calibration_error
from training.splits import VALIDATION, read_splits

THREADS = (1, 2)
TIMED = 24
"""Images that are timed, after one that warms up."""


def session(network: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(network.read_bytes(), options, providers=["CPUExecutionProvider"])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--float", type=Path, required=True, dest="float_network")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    bundle = Bundle.read(options.bundle)
    splits = read_splits(options.bundle / "splits.csv")
    images = [i for i in read_folders(options.data) if splits.get((i.source, i.image_id)) == VALIDATION]
    chosen = np.sort(np.random.default_rng(0).permutation(len(images))[: options.images])
    images = [images[i] for i in chosen]
    squares = np.stack([decode(image.path.read_bytes(), bundle.input_size).pixels for image in images])
    truth = np.array([image.label for image in images])

    networks = {"float32": options.float_network, "int8": options.bundle / "model.onnx"}
    times = milliseconds(networks, squares)
    logits = {name: _logits(session(file, THREADS[-1]), squares) for name, file in networks.items()}
    rows = [_row(name, networks, times, logits, truth, bundle.points[0].temperature) for name in networks]
    result = {
        "images": len(images),
        "processor": platform.processor() or platform.machine(),
        "onnxruntime": onnxruntime.__version__,
        "rows": rows,
    }
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def milliseconds(networks: dict[str, Path], squares: np.ndarray) -> dict[tuple[str, int], float]:
    """Median milliseconds of one image, by network and threads."""
    sessions = {(name, t): session(file, t) for name, file in networks.items() for t in THREADS}
    samples: dict[tuple[str, int], list[float]] = {key: [] for key in sessions}
    for square in squares[: TIMED + 1]:
        for key, network in sessions.items():
            began = time.perf_counter()
            network.run([CLASS_MAPS], {INPUT: square[None]})
            samples[key].append((time.perf_counter() - began) * 1000)
    return {key: float(np.median(values[1:])) for key, values in samples.items()}


def _logits(network: onnxruntime.InferenceSession, squares: np.ndarray) -> np.ndarray:
    parts = [network.run([CLASS_MAPS], {INPUT: squares[i : i + 8]})[0] for i in range(0, len(squares), 8)]
    return np.concatenate([logits_of(maps) for maps in parts])


def _row(
    name: str,
    networks: dict[str, Path],
    times: dict[tuple[str, int], float],
    logits: dict[str, np.ndarray],
    truth: np.ndarray,
    temperature: float,
) -> dict[str, Any]:
    probabilities, reference = calibrated(logits[name], temperature), calibrated(logits["float32"], temperature)
    return {
        "network": name,
        "megabytes": round(networks[name].stat().st_size / 1e6, 1),
        **{f"ms_{threads}_threads": round(times[name, threads], 1) for threads in THREADS},
        "accuracy": round(float(np.mean(probabilities.argmax(axis=1) == truth)), 4),
        "balanced_accuracy": round(balanced_accuracy(truth, probabilities.argmax(axis=1)), 4),
        "ece": round(expected_calibration_error(probabilities, truth), 4),
        "same_label_as_float": round(float(np.mean(probabilities.argmax(axis=1) == reference.argmax(axis=1))), 4),
        "largest_probability_change": round(float(np.abs(probabilities - reference).max()), 4),
    }


if __name__ == "__main__":
    sys.exit(main())
