"""The network alone: against the processor's ceiling, against other engines, against Keras.

Every contestant runs the same number of images on all cores in each of its ways: one image on all of them, and as many
images at a time as there are cores, each on one. Its better way counts.
"""

from __future__ import annotations

import importlib.util
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.layers import convolutions, operations
from benchmarks.serving_engines import ENGINES, MODULES
from benchmarks.side_by_side.peak import measurable, peak
from benchmarks.side_by_side.rows import Row
from model_layer.bundle import Bundle
from model_layer.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

IMAGES = 8
OURS = "ours"


def contestants(files: Mapping[str, Path], cores: int) -> dict[str, Callable[[], Any]]:
    """Every installed engine in both ways, each a call that runs `IMAGES` images. `files`: network file by engine."""
    found: dict[str, Callable[[], Any]] = {}
    for engine, file in files.items():
        if importlib.util.find_spec(MODULES[engine]) is None or not file.exists():
            continue
        found[f"{engine}, an image on {cores} cores"] = _in_turn(ENGINES[engine](file, cores))
        if cores > 1:
            found[f"{engine}, {cores} images on a core each"] = _at_once(
                [ENGINES[engine](file, 1) for _ in range(cores)]
            )
    return found


def own(folder: Path, cores: int) -> Callable[[], Any]:
    """The worker's own way."""
    network = Network(Bundle.read(folder), cores)
    images = np.zeros((IMAGES, 224, 224, 3), np.uint8)
    return lambda: network.run(images)


def processor_milliseconds(bundle: Path, cores: int) -> float:
    """Processor time of one image, the worker's own way: what other programs hardly change."""
    run = own(bundle, cores)
    run()
    began = time.process_time()
    run()
    return (time.process_time() - began) * 1000 / IMAGES


def milliseconds(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds an image in each round; the first round is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if number:
                taken[name].append((time.perf_counter() - began) * 1000 / IMAGES)
    return taken


def inference(bundle: Path, files: Mapping[str, Path], cores: int, rounds: int) -> tuple[list[Row], dict[str, float]]:
    """The rows, and every contestant's median milliseconds an image."""
    ceilings: list[Any] = []
    calls: dict[str, Callable[[], Any]] = {OURS: own(bundle, cores), **contestants(files, cores)}
    if measurable():
        calls["peak"] = lambda: ceilings.append(peak(cores))
    taken = milliseconds(calls, rounds)
    medians = {name: round(median(values), 2) for name, values in taken.items() if name != "peak"}
    rows = [_against_engines(taken, medians)] if len(medians) > 1 else []
    if ceilings:
        rows.insert(0, _against_peak(taken[OURS], [ceiling.int8 for ceiling in ceilings[1:]], _operations(bundle)))
        medians["int8 peak, GOP/s"] = round(median(c.int8 for c in ceilings) / 1e9)
        medians["float peak, GFLOP/s"] = round(median(c.float32 for c in ceilings) / 1e9)
    return rows, medians


def _operations(bundle: Path) -> float:
    """Multiplications and additions of the network's convolutions on one image."""
    return sum(operations(*shape) for _, *shape in convolutions(next(bundle.glob("*.onnx"))))


def _against_peak(ours: list[float], peaks: list[float], of_an_image: float) -> Row:
    shares = [of_an_image / (ms / 1000) / ceiling for ms, ceiling in zip(ours, peaks, strict=True)]
    return Row(
        what="inference, as a share of the measured int8 peak",
        ours=median(of_an_image / (ms / 1000) for ms in ours) / 1e9,
        baseline=median(peaks) / 1e9,
        unit="GOP/s",
        ratio=median(shares),
        target="at least 65 %",
        holds=median(shares) >= 0.65,
        spread=(min(shares), max(shares)),
        pairs=len(shares),
        note="the baseline is the peak",
    )


def _against_engines(taken: Mapping[str, list[float]], medians: Mapping[str, float]) -> Row:
    fastest = min((name for name in medians if name != OURS), key=medians.__getitem__)
    ratios = [own_ / other for own_, other in zip(taken[OURS], taken[fastest], strict=True)]
    return Row(
        what="inference against the fastest engine",
        ours=medians[OURS],
        baseline=medians[fastest],
        unit="ms/image",
        ratio=median(ratios),
        target="at most 1.15 times its time",
        holds=median(ratios) <= 1.15,
        spread=(min(ratios), max(ratios)),
        pairs=len(ratios),
        note=f"the baseline is {fastest}",
    )


def _in_turn(run: Callable[[Any], Any], count: int = IMAGES) -> Callable[[], Any]:
    image = np.zeros((1, 224, 224, 3), np.uint8)
    return lambda: [run(image) for _ in range(count)]


def _at_once(runs: list[Callable[[Any], Any]]) -> Callable[[], Any]:
    calls = [_in_turn(run, IMAGES // len(runs)) for run in runs]
    threads = ThreadPoolExecutor(len(runs))
    return lambda: list(threads.map(lambda call: call(), calls))
