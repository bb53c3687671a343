"""A process that sees only AVX2, the least that Lambda promises on x86, and computes at this processor's own speed.

    environment = hiding()      for a process to be started; None where this system cannot do it
    hide_from_here_on()         starts this program again, so that all of it and its children see only AVX2

A small C library, compiled on the spot and preloaded, has the CPUID instruction answered without AVX-512, 8-bit
multiply-add and AMX (arch_prctl(2), ARCH_SET_CPUID). So libraries choose the kernels that they have for AVX2. It needs
Linux on x86-64, a processor with CPUID faulting (`cpuid_fault` in /proc/cpuinfo), and a C compiler. An older processor
also has slower cores, which this does not show.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from model_layer.errors import UserError

SOURCE = Path(__file__).with_suffix(".c")
LIBRARY = SOURCE.parents[1] / "build" / "hidden_units.so"


class HidingError(UserError):
    """This system cannot hide vector units."""

    def __init__(self) -> None:
        super().__init__("Only Linux on a processor with CPUID faulting, with a C compiler, can hide vector units.")


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
    made = library.with_suffix(f".{os.getpid()}")  # another process may be loading `library`
    command = [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(made), str(SOURCE)]
    subprocess.run(command, check=True)  # noqa: S603 (our own source)
    made.replace(library)
    return {"LD_PRELOAD": str(library)}


def in_force() -> bool:
    """Whether this process was started with its units hidden."""
    return str(LIBRARY) in os.environ.get("LD_PRELOAD", "").split(":")


def hide_from_here_on() -> None:
    """Starts this program again with its units hidden, unless they are. Raises HidingError where that is impossible."""
    if in_force():
        return
    hidden = hiding()
    if hidden is None:
        raise HidingError
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **hidden})  # noqa: S606 (ourselves)  # nosec B606
