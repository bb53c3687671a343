"""Runs a network file over decoded squares, as the worker would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from model_layer.decision import logits_of
from model_layer.network import CLASS_MAPS, INPUT
from training.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BATCH = 8


def served_logits(file: Path, squares: NDArray[np.uint8], rows: NDArray[np.int64], what: str) -> NDArray[np.float64]:
    """(len(rows), labels) logits of `squares[rows]` by the network in `file`."""
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    logits = []
    with Progress(what, len(rows)) as progress:
        for start in range(0, len(rows), BATCH):
            batch = squares[rows[start : start + BATCH]]
            (maps,) = session.run([CLASS_MAPS], {INPUT: batch})
            logits.append(logits_of(maps))
            progress.advance(len(batch))
    return np.concatenate(logits)
