"""Measurements of the worker's parts: the network against its ceiling and other engines, decoder, installed size."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from packaging.requirements import Requirement

from benchmarks.decoding import SIZE, in_full
from benchmarks.layers import convolutions, measurable, operations, peak
from benchmarks.serving_engines import ENGINES, MODULES
from benchmarks.side_by_side.rows import Row, at_most, less_is_better
from model_layer import Bundle, decode
from model_layer.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

IMAGES = 8
OURS = "ours"
WORKER_SET = Path(__file__).resolve().parents[2] / "requirements" / "worker.in"
KERAS_WORKER = ("tensorflow-cpu", "keras", "pillow", "numpy", "boto3")


def inference(bundle: Path, files: Mapping[str, Path], cores: int, rounds: int) -> tuple[list[Row], dict[str, float]]:
    """The rows, and every contestant's median milliseconds an image; `files`: network file by engine.

    Every installed engine runs `IMAGES` images in two ways: one image at a time on all cores, and as many at once as
    there are cores, each on one. Its better way counts. The first round is not counted.
    """
    calls: dict[str, Callable[[], Any]] = {OURS: _ours(bundle, cores)}
    for engine, file in files.items():
        if importlib.util.find_spec(MODULES[engine]) and file.exists():
            calls[f"{engine}, an image on {cores} cores"] = _in_turn(ENGINES[engine](file, cores), IMAGES)
            if cores > 1:
                runs = [_in_turn(ENGINES[engine](file, 1), IMAGES // cores) for _ in range(cores)]
                calls[f"{engine}, {cores} images on a core each"] = _at_once(runs)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    peaks: list[float] = []
    for number in range(rounds + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            taken[name] += [(time.perf_counter() - began) * 1000 / IMAGES] if number else []
        if number and measurable():
            peaks.append(peak(cores))
    medians = {name: round(median(values), 2) for name, values in taken.items()}
    rows = [_against_peak(taken[OURS], peaks, next(bundle.glob("*.onnx")))] if peaks else []
    rows += [_against_engines(taken, medians)] if len(medians) > 1 else []
    return rows, medians | ({"int8 peak, GOP/s": round(median(peaks) / 1e9)} if peaks else {})


def network_cpu_ms(bundle: Path, cores: int) -> float:
    """Processor milliseconds of one image in the network, as the worker runs it."""
    run = _ours(bundle, cores)
    run()
    began = time.process_time()
    run()
    return (time.process_time() - began) * 1000 / IMAGES


def _ours(bundle: Path, cores: int) -> Callable[[], Any]:
    network, images = Network(Bundle.read(bundle), cores), np.zeros((IMAGES, SIZE, SIZE, 3), np.uint8)
    return lambda: network.run(images)


def _in_turn(run: Callable[[Any], Any], count: int) -> Callable[[], Any]:
    image = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    return lambda: [run(image) for _ in range(count)]


def _at_once(calls: list[Callable[[], Any]]) -> Callable[[], Any]:
    threads = ThreadPoolExecutor(len(calls))
    return lambda: list(threads.map(lambda call: call(), calls))


def _against_peak(ours: list[float], peaks: list[float], network: Path) -> Row:
    of_an_image = sum(operations(*shape) for _, *shape in convolutions(network))
    rates = [of_an_image / (ms / 1000) for ms in ours]
    shares = [rate / ceiling for rate, ceiling in zip(rates, peaks, strict=True)]
    return Row(
        what="inference, as a share of the measured int8 peak",
        ours=median(rates) / 1e9,
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
    ratios = [own / other for own, other in zip(taken[OURS], taken[fastest], strict=True)]
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


def decoding(photographs: list[bytes], pairs: int) -> list[Row]:
    """12-megapixel JPEGs to the network's input, ours and Pillow's in full; the first pair is not counted."""
    ours, full, differences = [], [], []
    for number in range(pairs + 1):
        data = photographs[number % len(photographs)]
        began = time.process_time()
        own = decode(data, SIZE).pixels
        middle = time.process_time()
        whole = in_full(data)
        ended = time.process_time()
        if number:
            ours.append((middle - began) * 1000)
            full.append((ended - middle) * 1000)
            differences.append(float(np.abs(own.astype(np.int16) - whole).mean()))
    return [
        less_is_better("decoding a 12-megapixel JPEG", ours, full, "ms", times=4),
        at_most("its mean difference from the full decode, of 255", median(differences), "levels", 1),
    ]


def decoding_cpu_ms(files: list[bytes]) -> float:
    """Processor milliseconds of decoding one image of a typical batch."""
    began = time.process_time()
    for data in files:
        decode(data, SIZE)
    return (time.process_time() - began) * 1000 / len(files)


def installed() -> Row:
    """Installed size of both workers' dependencies, from pip's own records of this environment."""
    names = [re.split(r"[ <>=#;]", line)[0] for line in WORKER_SET.read_text(encoding="utf-8").splitlines()]
    ours, keras = (_megabytes(closure(wanted)) for wanted in ([n for n in names if n], list(KERAS_WORKER)))
    return less_is_better("installed size of the worker's dependencies", [ours], [keras], "MB", times=5)


def closure(names: list[str]) -> set[str]:
    """`names` with everything that they require, without extras."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name not in found:
            found.add(name)
            required = map(Requirement, importlib.metadata.requires(name) or ())
            waiting += [one.name for one in required if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def _megabytes(names: set[str]) -> float:
    """10^6 bytes of files, without bytecode, which depends on what has been run."""
    files = [file for name in names for file in importlib.metadata.files(name) or () if file.suffix != ".pyc"]
    return sum(path.stat().st_size for file in files if (path := Path(str(file.locate()))).is_file()) / 1e6
