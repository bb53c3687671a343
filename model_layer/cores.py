"""How many cores there are to compute on."""

from __future__ import annotations

import os


def available_cores() -> int:
    """The cores that this process may use; all of the machine's where the system has no affinity (macOS)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
