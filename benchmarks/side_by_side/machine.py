"""What the figures were taken on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = ("onnxruntime", "openvino", "ai-edge-litert", "tensorflow-cpu", "keras", "numpy", "pillow", "boto3")
INTERESTING = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8")


def facts() -> dict[str, Any]:
    """Processor, cores, memory, load and versions."""
    told = _cpuinfo()
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": told.get("model name", platform.processor() or platform.machine()),
        "vector_units": vector_units(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": _commit(),
        "load_average": load_average(),
    }


def vector_units() -> list[str]:
    """Those of interest that the processor has, by Linux's names."""
    flags = _cpuinfo().get("flags", "").split()
    return [flag for flag in INTERESTING if flag in flags]


def load_average() -> float:
    """Programs that wanted a core in the last minute, ours included: above the number of cores, distrust seconds."""
    return round(os.getloadavg()[0], 2)


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
