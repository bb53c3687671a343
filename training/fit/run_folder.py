"""A run's output folder: which run it belongs to, and how far the run has come.

Splits depend on the images and the seed, so an output folder belongs to one run. If another run used its caches and
checkpoints, its weights would have learned from images that now count as unseen, and all figures would be too good.
"""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.config import Config
    from training.data.material import Material

FILE = "run.json"
CHECKPOINTS, STATE, LEARNED = "checkpoints", "state.json", "learned.npz"
"""A folder with the checkpoints of the training loop; in it the loop's state as JSON, and what is left at the end."""


def identity(
    material: Material,
    weights: str,
    config: Config,
    without: Sequence[str],
    taught_by: Sequence[Path],
    start: Path | None = None,
) -> dict[str, Any]:
    """What must not change between two calls with the same folder. Stages may: a run may be given more views later."""
    return {
        "images": material.digest,
        "seed": config.seed,
        "variant": config.variant,
        "without": sorted(without),
        "weights": source_of(weights),
        "taught_by": [learned_digest(run) for run in taught_by],
        "start": start and learned_digest(start),
        "options": json.loads(json.dumps([config.architecture, config.size, config.augmentation, config.batch])),
    }


def source_of(weights: str) -> str:
    """SHA-256 of a file of weights; `imagenet` and `none` as they are."""
    file = Path(weights)
    return _digest(file) if file.is_file() else weights


def learned_digest(run: Path) -> str:
    """SHA-256 of what a finished run learned.

    Raises:
        TrainingError: it is not finished.
    """
    file = run / CHECKPOINTS / LEARNED
    if not file.is_file():
        raise TrainingError(f"{run} holds no finished training run.")
    return _digest(file)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def claim(out: Path, own: dict[str, Any]) -> None:
    """Records in `out` that it belongs to the run with the identity `own`.

    Raises:
        TrainingError: it belongs to another run.
    """
    file = out / FILE
    if not file.exists():
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(own, indent=1) + "\n", encoding="utf-8")
        return
    held = json.loads(file.read_text(encoding="utf-8"))
    if other := [name for name, value in own.items() if held.get(name) != value]:
        raise TrainingError(f"{out} holds a run with other {' and '.join(other)}: give another OUT, or delete it.")


def status(out: Path) -> str:
    """Progress of the run in `out`: views, loss, the latest figures, and the expected end.

    Raises:
        TrainingError: `out` has no checkpoint.
    """
    file = out / CHECKPOINTS / STATE
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        written = file.stat().st_mtime
    except OSError:
        raise TrainingError(f"{out} holds no training run with a checkpoint.") from None
    seen, views, seconds = state["seen"], state["views"], state["seconds"]
    left = timedelta(seconds=round(seconds / max(seen, 1) * (views - seen)))
    age = round((time.time() - written) / 60)
    lines = [f"{seen:,} of {views:,} views in {timedelta(seconds=round(seconds))}; checkpoint {age} minutes old"]
    if state["losses"]:
        lines.append(f"loss of the last {len(state['losses'])} steps: {np.mean(state['losses'][-200:]):.3f}")
    if state["history"]:
        look = state["history"][-1]
        figures = ", ".join(f"{n} {v:.3f}" for n, v in look.items() if isinstance(v, float) and n != "loss")
        lines.append(f"calibration images after {look['views']:,} views: {figures}")
    if seen >= views:
        lines.append("training is done")
    else:
        end = datetime.fromtimestamp(written, UTC) + left
        lines.append(f"about {left} left: ends at {end:%H:%M} UTC if the run is still going on")
    return "\n".join(lines)
