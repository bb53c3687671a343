"""Where the network's time goes, layer by layer, beside the processor's own ceiling.

    python -m benchmarks.layers [--bundle models/vgg16-skin] [--out benchmarks/results/layers.json]

Layers: ONNX Runtime's own profile of single images on one core; each step's fastest run, since slower ones met other
programs. The ceiling: a loop of 8-bit multiply-add instructions in registers. It reads nothing from memory, so no
network can be faster. On x86 with AVX-512 that is VPDPBUSD, with 64 multiplications and additions; twelve independent
ones hide its latency.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import platform
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime

from benchmarks import machine
from benchmarks.output import give
from model_layer.network import INPUT

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
RUNS = 20

_BOTH_OPERANDS_ZERO = "62010d40eff662010540efff"  # vpxord zmm30, zmm31
_VPDPBUSD = [f"62{row}054050{column:02x}" for row in ("92", "12") for column in range(0xC6, 0x106, 8)][:12]
_COUNT_DOWN = "48ffcf75b3c5f877c3"  # dec rdi; jnz; vzeroupper; ret
OPERATIONS_A_LOOP = 12 * 128
"""A multiplication and an addition are two operations."""
LOOPS = 200_000
"""Of a burst, which takes under a millisecond: short enough to run between other programs."""
BURSTS = 20


def convolutions(network: Path) -> list[tuple[str, int, int, int]]:
    """Layer, side of its output, channels in and channels out of each 3 x 3 convolution of a VGG16 file."""
    graph = onnx.load(network).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes |= {
        n.output[0]: shapes[n.input[0]] for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in shapes
    }
    found = []
    for node in graph.node:
        layer = re.search(r"block(\d)_conv\d", node.name)
        if node.op_type == "Conv" and layer:
            channels, before, _, _ = shapes[node.input[1]]
            found.append((layer[0], 224 >> (int(layer[1]) - 1), before, channels))
    return found


def operations(side: int, before: int, channels: int) -> float:
    """Multiplications and additions of one image in one layer."""
    return 2.0 * side * side * 9 * before * channels


def layers(network: Path) -> dict[str, Any]:
    """Milliseconds of each convolution, and of all other steps together."""
    fastest = _profile(network)
    ceiling = peak(1) if measurable() else None
    rows: list[dict[str, Any]] = []
    shapes = convolutions(network)
    for layer, side, before, channels in shapes:
        (ms,) = [ms for (kind, name), ms in fastest.items() if kind == "QLinearConv" and layer in name]
        rate = operations(side, before, channels) / (ms / 1000)
        share = round(rate / ceiling, 3) if ceiling else None
        rows.append({"step": layer, "ms": round(ms, 2), "gops": round(rate / 1e9), "share_of_peak": share})
    whole = sum(fastest.values())
    rest = whole - sum(row["ms"] for row in rows)
    floor = sum(operations(*layer[1:]) for layer in shapes) / ceiling * 1000 if ceiling else None
    return {
        "rows": rows,
        "other_steps_ms": round(rest, 2),
        "whole_ms": round(whole, 2),
        "floor_ms": round(floor, 2) if floor else None,
        "machine": machine.facts(),
    }


def _profile(network: Path) -> dict[tuple[str, str], float]:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = f"{folder}/profile"
        session = onnxruntime.InferenceSession(network.read_bytes(), options, providers=["CPUExecutionProvider"])
        for _ in range(RUNS):
            session.run(None, {INPUT: pixels})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    fastest: dict[tuple[str, str], float] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            key = event["args"]["op_name"], re.sub(r"_kernel_time$", "", event["name"])
            fastest[key] = min(fastest.get(key, float("inf")), event["dur"] / 1000)
    return fastest


def measurable() -> bool:
    """Whether this processor has the instruction, and this system lets us run machine code."""
    return platform.machine() == "x86_64" and {"avx512f", "avx512_vnni"} <= set(machine.vector_units())


def peak(cores: int) -> float:
    """8-bit operations a second, on `cores` cores at once; measured in some 10 ms."""
    code = bytes.fromhex(_BOTH_OPERANDS_ZERO + "".join(_VPDPBUSD) + _COUNT_DOWN)
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        page.write(code)
        first = ctypes.c_char.from_buffer(page)
        loop = ctypes.CFUNCTYPE(None, ctypes.c_long)(ctypes.addressof(first))  # releases the interpreter's lock
        with ThreadPoolExecutor(cores) as threads:
            best = list(threads.map(_fastest_burst, [loop] * cores))
        del loop, first  # the page is in use while they live
    return sum(LOOPS * OPERATIONS_A_LOOP / seconds for seconds in best)


def _fastest_burst(loop: Callable[[int], None]) -> float:
    """Seconds of the fastest burst; the others met other programs."""
    seconds = []
    for _ in range(BURSTS + 1):  # the first wakes the vector units up
        began = time.perf_counter()
        loop(LOOPS)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "vgg16-skin")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = layers(next(options.bundle.glob("*.onnx")))
    give(result, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
