"""How far a training run has come, from the checkpoint in its folder; it may be running or not."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from training.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path

CHECKPOINTS = "checkpoints"
STATE = "state.json"


def status(out: Path) -> str:
    """Views so far, loss, the last look at calibration images, and when it would end at the pace so far.

    Raises:
        TrainingError: `out` holds no run that has come to its first checkpoint.
    """
    file = out / CHECKPOINTS / STATE
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        written = file.stat().st_mtime
    except OSError:
        raise TrainingError(f"{out} holds no training run that has come to its first checkpoint.") from None
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
        lines.append("all views are learned from")
    else:
        end = datetime.fromtimestamp(written, UTC) + left
        lines.append(f"about {left} left: would end at {end:%H:%M} UTC if it has run since")
    return "\n".join(lines)
