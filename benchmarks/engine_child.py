"""One engine in a fresh process, with nothing else in it: its start, its memory, its answers.

    python -m benchmarks.engine_child ENGINE NETWORK PIXELS.npy STARTED

`STARTED` is `time.monotonic()` of just before. Prints one JSON line; `maps` are class maps averaged to logits.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.serving_engines import ENGINES


def main() -> None:
    engine, network, pixels, started = sys.argv[1:]
    squares = np.load(pixels)
    run = ENGINES[engine](Path(network), 1)
    first = run(squares[:1])
    seconds = time.monotonic() - float(started)
    logits = [np.mean(maps, axis=(1, 2)).tolist() for maps in (first, *(run(square[None]) for square in squares[1:]))]
    # Not getrusage's: that one starts from the parent's memory.
    peak = int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) * 1024 / 1e6
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "logits": logits}))


if __name__ == "__main__":
    main()
