"""Whose a run's folder is, so that caches and checkpoints are never taken for those of another run.

Splits hang on the images and the seed. Weights that learned under other splits have seen images that now count as
unseen, and every figure would flatter them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.errors import TrainingError

if TYPE_CHECKING:
    from training.config import Config
    from training.material import Material

FILE = "run.json"


def identity(material: Material, weights: str, config: Config) -> dict[str, Any]:
    """What may not change between two calls on one folder; stages may: a schedule may grow while it is trained."""
    file = Path(weights)
    return {
        "images": material.digest,
        "seed": config.seed,
        "weights": hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else weights,
        "options": json.loads(json.dumps([config.architecture, config.size, config.augmentation, config.batch])),
    }


def claim(out: Path, own: dict[str, Any]) -> None:
    """Makes `out` the folder of the run that `own` tells of; a folder of this very run stays as it is.

    Raises:
        TrainingError: it is another one's.
    """
    file = out / FILE
    if not file.exists():
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(own, indent=1) + "\n", encoding="utf-8")
        return
    held = json.loads(file.read_text(encoding="utf-8"))
    if other := [name for name, value in own.items() if held.get(name) != value]:
        raise TrainingError(f"{out} holds a run with other {' and '.join(other)}: give another OUT, or delete it.")
