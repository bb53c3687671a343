"""A process that sees only AVX2, the least that Lambda promises on x86, and computes at this processor's own speed.

    environment = hiding()      None where this system cannot do it

A small C library, compiled on the spot and preloaded, has the CPUID instruction answered without AVX-512, 8-bit
multiply-add and AMX (arch_prctl(2), ARCH_SET_CPUID). So libraries choose the kernels that they have for AVX2. It needs
Linux on x86-64, a processor with CPUID faulting (`cpuid_fault` in /proc/cpuinfo), and a C compiler. An older processor
also has slower cores, which this does not show.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
LIBRARY = SOURCE.parents[1] / "build" / "hidden_units.so"


def hiding(library: Path = LIBRARY) -> dict[str, str] | None:
    """The environment variables that hide the units; compiles `library`."""
    compiler = shutil.which("cc")
    flags = Path("/proc/cpuinfo")
    able = (
        platform.system() == "Linux" and platform.machine() == "x86_64" and "cpuid_fault" in flags.read_text().split()
    )
    if not (able and compiler):
        return None
    library.parent.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    subprocess.run(command, check=True)  # noqa: S603 (our own source)
    return {"LD_PRELOAD": str(library)}
