"""The service beside a plain FastAPI and Keras one, on this machine's loopback, in one run.

    python -m benchmarks.service [--out FILE] [--seconds 8] [--rounds 3]

The network is the same: the shipped one, for Keras with random weights. Both run all the time, each in a process of its
own; rounds of the two alternate, so that a busy machine is busy for both. A round's clients send the same photograph as
a form, one request after the other. Prints a table, and writes `machine` and `rows` in the form of `bench.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from PIL import Image

from benchmarks import machine
from benchmarks.baseline import KERAS, make_models
from benchmarks.side_by_side.documents import machine_line

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "build" / "bench"
CLIENTS = (1, 8)
START_SECONDS = 120.0
SAMPLE_SECONDS = 0.2


@dataclass(slots=True)
class Measured:
    """One service under one number of clients."""

    seconds: list[float] = field(default_factory=list)
    """Of each request."""
    rates: list[float] = field(default_factory=list)
    """Images a second, of each round."""

    @property
    def rate(self) -> float:
        """The median round's."""
        return statistics.median(self.rates)

    def quantile(self, share: float) -> float:
        """Milliseconds within which that share of the requests was answered."""
        return float(np.quantile(self.seconds, share)) * 1000


@dataclass(slots=True)
class Process:
    """A service that listens."""

    pid: int
    url: str
    peak: float = 0.0
    """Megabytes of resident memory, at most, as sampled."""


@contextlib.contextmanager
def process(path: str, *command: str) -> Iterator[Process]:
    """Runs `command` with a free port put in for PORT, until it is ready; its memory is sampled until the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = [part.replace("PORT", str(port)) for part in command]
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "MALLOC_ARENA_MAX": "1",
        "KERAS_MODEL": str(MODELS / KERAS),
    }
    started = subprocess.Popen(  # noqa: S603
        [sys.executable, *given], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    ended = threading.Event()
    served = Process(started.pid, f"http://127.0.0.1:{port}")
    sampler = threading.Thread(target=_sample, args=(served, ended), daemon=True)
    try:
        _wait_until_ready(served.url, started)
        served.url += path
        sampler.start()
        yield served
    finally:
        ended.set()
        started.terminate()
        started.wait(30)


def _wait_until_ready(url: str, started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and started.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise SystemExit(f"A service did not start (exit {started.poll()}).")


def _sample(served: Process, ended: threading.Event) -> None:
    while not ended.wait(SAMPLE_SECONDS):
        done = subprocess.run(  # noqa: S603
            ["ps", "-o", "rss=", "-p", str(served.pid)],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
        with contextlib.suppress(ValueError):
            served.peak = max(served.peak, int(done.stdout) / 1024)


def photograph() -> bytes:
    """A JPEG of 3 megapixels, as a phone or a dermatoscope sends it after cropping."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(60, 230, (12, 16, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((2048, 1536), Image.Resampling.BICUBIC), np.int16)
    grain = rng.normal(0, 4, smooth.shape).astype(np.int16)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def round_of(url: str, image: bytes, clients: int, seconds: float, measured: Measured) -> None:
    """`clients` send `image` to `url` for so long; every answer must be a success."""
    until = time.monotonic() + seconds

    def one_client(_: int) -> list[float]:
        taken = []
        with httpx.Client(timeout=120, trust_env=False) as client:
            while time.monotonic() < until:
                started = time.perf_counter()
                client.post(url, files={"file": ("a.jpg", image, "image/jpeg")}).raise_for_status()
                taken.append(time.perf_counter() - started)
        return taken

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        taken = [one for each in threads.map(one_client, range(clients)) for one in each]
    measured.seconds += taken
    measured.rates.append(len(taken) / (time.perf_counter() - started))


def rows(ours: dict[int, Measured], plain: dict[int, Measured], memory: tuple[float, float]) -> list[dict[str, Any]]:
    """As in bench.json; ratios are how much better ours is."""
    made = []
    for clients in CLIENTS:
        mine, other = ours[clients], plain[clients]
        who = f"{clients} client{'s' if clients > 1 else ''}"
        made.append(_row(f"throughput, {who}", mine.rate, other.rate, "images/s", mine.rate / other.rate, 3))
        for name, share, target in (("p50", 0.5, None), ("p95", 0.95, 3 if clients > 1 else None)):
            one, another = mine.quantile(share), other.quantile(share)
            made.append(_row(f"{name}, {who}", one, another, "ms", another / one, target))
    made.append(_row("peak memory", *memory, "MB", memory[1] / memory[0], 4))
    return made


def _row(what: str, ours: float, plain: float, unit: str, ratio: float, target: float | None) -> dict[str, Any]:
    holds = None if target is None else ratio >= target
    numbers = {"ours": round(ours, 1), "baseline": round(plain, 1), "unit": unit, "ratio": round(ratio, 2)}
    return {"what": what, **numbers, "target": target, "holds": holds}


def main() -> None:
    """Measures, prints, and writes `--out`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, help="file for machine and rows, as JSON")
    parser.add_argument("--seconds", type=float, default=8.0, help="of one round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="for each service and number of clients")
    options = parser.parse_args()
    MODELS.mkdir(parents=True, exist_ok=True)
    make_models(MODELS, next((ROOT / "models" / "vgg16-skin").glob("*.onnx")))
    facts, started = machine.facts(), time.monotonic()
    image = photograph()
    ours = {clients: Measured() for clients in CLIENTS}
    plain = {clients: Measured() for clients in CLIENTS}
    quiet = ("--log-level", "error", "--no-access-log")
    with (
        process("/v1/classify", "-m", "api", "--port", "PORT", "--no-key") as mine,
        process("/predict", "-m", "uvicorn", "benchmarks.keras_service:app", "--port", "PORT", *quiet) as other,
    ):
        for served in (mine, other):
            round_of(served.url, image, 1, 1.0, Measured())  # the first answers take longer, on both sides
        for _ in range(options.rounds):
            for clients in CLIENTS:
                round_of(mine.url, image, clients, options.seconds, ours[clients])
                round_of(other.url, image, clients, options.seconds, plain[clients])
        made = rows(ours, plain, (mine.peak, other.peak))
    facts |= {
        "load_average_at_end": machine.load_average(),
        "minutes": round((time.monotonic() - started) / 60, 1),
    }
    print(f"{len(image) / 1e6:.1f} MB JPEG of 3 megapixels. {machine_line(facts)}")
    for row in made:
        target = "" if row["target"] is None else f"  target {row['target']}x: {'holds' if row['holds'] else 'MISSED'}"
        print(f"{row['what']:<24}{row['ours']:>9}{row['baseline']:>10} {row['unit']:<9}{row['ratio']:>6}x{target}")
    if options.out:
        result = {"machine": facts, "rows": made}
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
