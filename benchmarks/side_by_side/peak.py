"""The processor's own ceiling: a loop of nothing but multiply-add instructions in registers.

It loads nothing from memory, so no network can be faster. On x86 with AVX-512: VPDPBUSD for 8-bit integers (64
multiplications and additions each), VFMADD231PS for float (16 each), twelve independent ones to hide their latency.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.side_by_side.machine import vector_units

if TYPE_CHECKING:
    from collections.abc import Callable

_BOTH_OPERANDS_ZERO = "62010d40eff662010540efff"  # vpxord zmm30, zmm31
_TWELVE = tuple(f"62{row}0540{{op}}{column:02x}" for row in ("92", "12") for column in range(0xC6, 0x106, 8))[:12]
_COUNT_DOWN = "48ffcf75b3c5f877c3"  # dec rdi; jnz; vzeroupper; ret
_VPDPBUSD, _VFMADD231PS = "50", "b8"
INSTRUCTIONS = 12
OPERATIONS = {_VPDPBUSD: 128, _VFMADD231PS: 32}
"""Of one instruction: a multiplication and an addition are two."""
LOOPS = 200_000
"""Of a burst, which takes under a millisecond: short enough to fall between other programs."""
BURSTS = 20


@dataclass(frozen=True)
class Peak:
    """Operations a second."""

    int8: float
    float32: float


def measurable() -> bool:
    """Whether this processor has the instructions, and this system runs machine code of ours."""
    return platform.machine() == "x86_64" and {"avx512f", "avx512_vnni"} <= set(vector_units())


def peak(cores: int) -> Peak:
    """One measurement, on `cores` cores at a time; some 20 ms."""
    return Peak(int8=_rate(_VPDPBUSD, cores), float32=_rate(_VFMADD231PS, cores))


def _rate(operation: str, cores: int) -> float:
    code = bytes.fromhex(_BOTH_OPERANDS_ZERO + "".join(_TWELVE).format(op=operation) + _COUNT_DOWN)
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        page.write(code)
        first = ctypes.c_char.from_buffer(page)
        address = ctypes.addressof(first)
        loop = ctypes.CFUNCTYPE(None, ctypes.c_long)(address)  # lets go of the interpreter's lock while it runs
        with ThreadPoolExecutor(cores) as threads:
            best = list(threads.map(_fastest_burst, [loop] * cores))
        del loop, first  # the page is in use while they live
    return sum(LOOPS * INSTRUCTIONS * OPERATIONS[operation] / seconds for seconds in best)


def _fastest_burst(loop: Callable[[int], None]) -> float:
    """Seconds. A ceiling is what the fastest shows; the others met other programs."""
    seconds = []
    for _ in range(BURSTS + 1):  # the first wakes the vector units up
        began = time.perf_counter()
        loop(LOOPS)
        seconds.append(time.perf_counter() - began)
    return min(seconds)
