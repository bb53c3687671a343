"""What fuzzing begins with: the test corpus, sound and malformed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from hostile.corpus import ENCODERS, malformed, sound

if TYPE_CHECKING:
    from pathlib import Path

EVERY = 7
"""So many malformed files are left out for each that is taken: fuzzing makes more of them by itself."""


def write_seeds(folder: Path, most_bytes: int) -> int:
    """Writes the seeds of up to `most_bytes` into `folder`, named by their content; returns how many."""
    files = [sound(kind) for kind in ENCODERS]
    files += [data for number, (_, _, data) in enumerate(malformed()) if number % EVERY == 0]
    for data in files:
        if len(data) <= most_bytes:
            (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    return len(list(folder.iterdir()))
