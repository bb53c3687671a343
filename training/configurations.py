"""One table of every configuration that was tried, failures included: `models/configurations.csv`.

A row says what was trained and how it did on both held-out splits, so that nobody has to try it again to find out.
Rows are added by the commands that train, never by hand.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np

from model_layer.decision import calibrated
from training.config import VGG16_CHANNELS
from training.metrics import balanced_accuracy, macro_auc

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.config import Config
    from training.material import Material

FIGURES = ("n", "accuracy", "balanced_accuracy", "macro_auc")


def row(
    name: str, commit: str, seed: int, minutes: float, splits: dict[str, dict[str, dict[str, Any]]]
) -> dict[str, Any]:
    """One configuration's cells; `splits` holds the figures of each held-out split, by data folder."""
    cells: dict[str, Any] = {"configuration": name, "commit": commit, "seed": seed, "minutes": round(minutes, 1)}
    for split, folders in splits.items():
        for folder, values in folders.items():
            cells |= {f"{split} {folder} {figure}": _rounded(values[figure]) for figure in FIGURES}
    return cells


def configuration_name(config: Config) -> str:
    """What was trained, in a line."""
    share = sum(config.channels) / sum(VGG16_CHANNELS)
    pruned = f", pruned to {share:.0%} of its channels" if share < 1 else ""
    augmentation = "" if config.augmentation == 1 else f", augmentation {config.augmentation:g}"
    return f"{config.backbone}{pruned}, all layers, {config.views:,} fresh views{augmentation}"


def by_folder(logits: NDArray[np.float64], rows: NDArray[np.int64], material: Material) -> dict[str, dict[str, Any]]:
    """`figures` of (len(rows), labels) logits, for each data folder."""
    truth, sources = material.labels(rows), material.sources(rows)
    return {s: figures(logits[sources == s], truth[sources == s]) for s in np.unique(sources).tolist()}


def figures(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> dict[str, float | int | None]:
    """`FIGURES` of (n, labels) logits."""
    answers = logits.argmax(axis=1)
    return {
        "n": len(truth),
        "accuracy": float(np.mean(answers == truth)),
        "balanced_accuracy": balanced_accuracy(truth, answers),
        "macro_auc": macro_auc(truth, calibrated(logits, 1.0)),
    }


def add(file: Path, cells: dict[str, Any]) -> None:
    """Adds a row to `file`, or puts it in the place of the one of the same configuration, commit and seed."""
    rows: list[dict[str, Any]] = []
    if file.exists():
        with file.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    key = tuple(str(cells[name]) for name in ("configuration", "commit", "seed"))
    rows = [r for r in rows if (r["configuration"], r["commit"], r["seed"]) != key]
    rows.append(cells)
    columns = list(dict.fromkeys(name for r in rows for name in r))
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _rounded(value: float | None) -> float | int | str:
    if value is None:  # one class alone has no area under a curve
        return ""
    return value if isinstance(value, int) else round(value, 4)
