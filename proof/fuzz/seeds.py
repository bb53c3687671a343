"""What fuzzing begins with: the test corpus, sound and malformed, and what was made to take long."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from hostile.corpus import ENCODERS, malformed, sound
from hostile.fillers import FILES

if TYPE_CHECKING:
    from pathlib import Path

EVERY = 7
"""One malformed file of so many is taken: fuzzing makes more of them by itself."""
FILLED = 2000
"""Bytes of filler: short, so that there is room for more of it."""


def write_seeds(folder: Path, most_bytes: int) -> int:
    """Writes the seeds of up to `most_bytes` into `folder`, named by their content; returns how many."""
    files = [sound(kind) for kind in ENCODERS]
    files += [data for number, (_, _, data) in enumerate(malformed()) if number % EVERY == 0]
    files += [make(FILLED) for makers in FILES.values() for make in makers.values()]
    for data in files:
        if len(data) <= most_bytes:
            (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    return len(list(folder.iterdir()))
