"""Facts about the machine that figures were measured on, and what a process uses of it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = ("onnxruntime", "openvino", "ai-edge-litert", "tensorflow-cpu", "keras", "numpy", "pillow", "boto3")
INTERESTING = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8")


def facts() -> dict[str, Any]:
    """Processor, cores, memory, load and versions."""
    from model_layer import available_cores  # noqa: PLC0415 (children import this module, and measure their imports)

    seen, there = vector_units(), _vector_units()
    hidden = {"hidden": [unit for unit in there if unit not in seen]} if seen != there else {}
    return hidden | {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _cpuinfo().get("model name", platform.processor() or platform.machine()),
        "vector_units": seen,
        "cores": available_cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": _commit(),
        "load_average": load_average(),
    }


def vector_units() -> list[str]:
    """Vector units among `INTERESTING` that this process sees, by Linux's names; empty on other systems."""
    from benchmarks.hidden_units import in_force  # noqa: PLC0415 (as above)

    return [unit for unit in _vector_units() if unit == "avx2" or not in_force()]


def _vector_units() -> list[str]:
    """What the processor has; Linux's list is the same where units are hidden."""
    flags = _cpuinfo().get("flags", "").split()
    return [flag for flag in INTERESTING if flag in flags]


def load_average() -> float:
    """Programs that wanted a core in the last minute, ours included; above the number of cores, distrust seconds."""
    return round(os.getloadavg()[0], 2)


def memory_mb() -> dict[str, float]:
    """This process's `resident` set and its `peak`, in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():  # not getrusage, whose peak on Linux begins with the parent's
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return {
            name: int(fields[key].split()[0]) * 1024 / 1e6 for name, key in (("resident", "VmRSS"), ("peak", "VmHWM"))
        }
    command = ["ps", "-o", "rss=", "-p", str(os.getpid())]
    run = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (fixed arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
    return {"resident": int(run.stdout) * 1024 / 1e6, "peak": peak / 1e6}


def _cpuinfo() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        run = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.strip()
