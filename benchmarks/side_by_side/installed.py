"""What a worker's dependencies take when installed: the files of every package that they need, by pip's own records."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

from packaging.requirements import Requirement

from benchmarks.side_by_side.rows import Row, less_is_better

ROOT = Path(__file__).resolve().parents[2]
WORKER_SET = ROOT / "requirements" / "worker.in"
KERAS_WORKER = ("tensorflow-cpu", "keras", "pillow", "numpy", "boto3")


def installed() -> Row:
    """Ours against the Keras worker's, both in this environment."""
    names = [re.split(r"[ <>=#;]", line)[0] for line in WORKER_SET.read_text(encoding="utf-8").splitlines()]
    ours, keras = (_megabytes(closure(wanted)) for wanted in ([n for n in names if n], list(KERAS_WORKER)))
    return less_is_better("installed size of the worker's dependencies", [ours], [keras], "MB", times=5)


def closure(names: list[str]) -> set[str]:
    """`names` with all that they need, extras left out."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        for line in importlib.metadata.requires(name) or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def _megabytes(names: set[str]) -> float:
    """10^6 bytes of files; bytecode is left out, which depends on what has been run."""
    files = [file for name in names for file in importlib.metadata.files(name) or () if file.suffix != ".pyc"]
    return sum(path.stat().st_size for file in files if (path := Path(str(file.locate()))).is_file()) / 1e6
