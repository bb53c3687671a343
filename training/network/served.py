"""Runs a network file on decoded squares, as the worker does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from model_layer.decision import logits_of
from model_layer.network import CLASS_MAPS, FEATURES, INPUT, KIND, UNLIKENESS
from training.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BATCH = 8


@dataclass(frozen=True)
class Served:
    """The outputs of a network file for n images."""

    logits: NDArray[np.float64]
    """(n, labels)"""
    features: NDArray[np.float32]
    """(n, channels)"""
    unlikeness: NDArray[np.float32] | None
    """(n,); None if the network has no such output."""
    kinds: NDArray[np.int64] | None = None
    """(n,) the kind that each image is taken for, as a position in the bundle; None if there is no such output."""


def serve(
    file: Path, squares: NDArray[np.uint8], rows: NDArray[np.int64], what: str, cache: Path | None = None
) -> Served:
    """Runs the network in `file` on `squares[rows]`; with a `cache` folder, results are kept there and reused."""
    if cache is None:
        return _run(file, squares, rows, what)
    key = hashlib.sha256(file.read_bytes())
    for row in rows:
        key.update(squares[row].tobytes())
    kept = cache / f"served-{key.hexdigest()[:16]}.npz"
    if not kept.exists():
        served = _run(file, squares, rows, what)
        partial = kept.with_suffix(".partial.npz")
        np.savez(partial, **{name: value for name, value in vars(served).items() if value is not None})
        partial.replace(kept)
    with np.load(kept) as values:
        return Served(values["logits"], values["features"], values.get("unlikeness"), values.get("kinds"))


def _run(file: Path, squares: NDArray[np.uint8], rows: NDArray[np.int64], what: str) -> Served:
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    given = {output.name for output in session.get_outputs()}
    wanted = [CLASS_MAPS, FEATURES, *(name for name in (UNLIKENESS, KIND) if name in given)]
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in wanted}
    with Progress(what, len(rows)) as progress:
        for start in range(0, len(rows), BATCH):
            batch = squares[rows[start : start + BATCH]]
            for name, values in zip(wanted, session.run(wanted, {INPUT: batch}), strict=True):
                found[name].append(logits_of(values) if name == CLASS_MAPS else values)
            progress.advance(len(batch))
    outputs = {name: np.concatenate(parts) for name, parts in found.items()}
    kinds = outputs[KIND].argmax(axis=1) if KIND in outputs else None
    return Served(outputs[CLASS_MAPS], outputs[FEATURES], outputs.get(UNLIKENESS), kinds)
