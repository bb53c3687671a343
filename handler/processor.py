"""Which processor the worker runs on, as far as the network's speed depends on it.

Lambda does not say which one a worker gets. Without 8-bit multiply-add an image takes up to six times as long
(docs/cost.md), so a bill or a queue that grows may be the processor and nothing else.
"""

from __future__ import annotations

from pathlib import Path

FEATURES = {
    "avx2": "avx2",
    "avx512f": "avx512",
    "avx_vnni": "vnni",
    "avx512_vnni": "vnni",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
}
"""Linux's name of a flag, and ours: `vnni` and Arm's `dotprod` and `i8mm` multiply and add 8-bit numbers at once."""


def processor(told: Path = Path("/proc/cpuinfo")) -> str:
    """What this processor can, such as `avx2+avx512+vnni`; `basic` without any of it, `unknown` where nothing tells."""
    try:
        lines = told.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):  # of x86 and of Arm
            flags = set(value.split())
            return "+".join(dict.fromkeys(ours for theirs, ours in FEATURES.items() if theirs in flags)) or "basic"
    return "unknown"
