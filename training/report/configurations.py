"""`configurations.csv`: a row for each configuration that was trained, with its figures on both held-out splits.

`models/configurations.csv` has all of them, failures included, so that nobody has to repeat one to see how it does.
Rows are written by training, never by hand.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from training.config import VGG16_CHANNELS

if TYPE_CHECKING:
    from pathlib import Path

    from training.config import Config

FIGURES = ("n", "accuracy", "balanced_accuracy", "macro_auc")


def row(
    name: str, commit: str, seed: int, minutes: float, splits: dict[str, dict[str, dict[str, Any]]]
) -> dict[str, Any]:
    """The cells of one configuration; `splits` maps each held-out split to the figures of each data folder."""
    cells: dict[str, Any] = {"configuration": name, "commit": commit, "seed": seed, "minutes": round(minutes, 1)}
    for split, folders in splits.items():
        for folder, values in folders.items():
            cells |= {f"{split} {folder} {figure}": _rounded(values[figure]) for figure in FIGURES}
    return cells


def configuration_name(config: Config, teachers: int = 0) -> str:
    """The configuration in one line."""
    share = sum(config.channels) / sum(VGG16_CHANNELS)
    pruned = f", pruned to {share:.0%} of its channels" if share < 1 else ""
    augmentation = "" if config.augmentation == 1 else f", augmentation {config.augmentation:g}"
    taught = f", taught by {teachers}" if teachers else ""
    return f"{config.backbone}{pruned}, all layers, {config.views:,} fresh views{augmentation}{taught}"


def add(file: Path, cells: dict[str, Any]) -> None:
    """Adds a row to `file`; it replaces an earlier row of the same configuration, commit and seed."""
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
    if value is None:  # a single class has no area under the curve
        return ""
    return value if isinstance(value, int) else round(value, 4)
