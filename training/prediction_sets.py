"""How often the prediction set holds the truth, overall and for each class, and how large it is.

A split-conformal set promises its coverage over all images together, and nothing for a class of its own: a rare class
can be left out often without the promise breaking. So each class is looked at, and those with at least `ENOUGH` lesions
are held to `CLASS_FLOOR`.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np

from training.bootstrap import estimate, lesion_weights, shares
from training.dataset import CODES

if TYPE_CHECKING:
    from pathlib import Path

    from training.metrics import Answers

CLASS_FLOOR = 0.90
"""No class with `ENOUGH` lesions should be covered less often."""
ENOUGH = 30


def prediction_sets(answers: Answers) -> dict[str, Any]:
    """`overall` and, under `per_class`, each class that occurs: coverage and mean size, each with `_ci`, and counts.

    `held_to_floor` tells whether a class has `ENOUGH` lesions, `misses_floor` whether it then falls short.
    """
    weights = lesion_weights(answers.lesions)
    covered = answers.in_set[np.arange(len(answers.truth)), answers.truth]
    sizes = answers.in_set.sum(axis=1)
    everything = np.ones(len(covered), dtype=bool)
    members = {"": everything} | {CODES[k]: answers.truth == k for k in np.unique(answers.truth)}
    groups = {}
    for name, among in members.items():
        lesions = len(np.unique(answers.lesions[among]))
        coverage, coverage_ci = estimate(shares(weights, covered, among), lesions)
        size, size_ci = estimate(shares(weights, sizes, among))
        held = lesions >= ENOUGH
        groups[name] = {
            "images": int(among.sum()),
            "lesions": lesions,
            "coverage": coverage,
            "coverage_ci": coverage_ci,
            "size": size,
            "size_ci": size_ci,
        }
        if name:
            groups[name] |= {"held_to_floor": held, "misses_floor": held and (coverage or 0.0) < CLASS_FLOOR}
    return {"overall": groups.pop(""), "class_floor": CLASS_FLOOR, "per_class": groups}


def write_prediction_sets(file: Path, sets: dict[str, dict[str, Any]]) -> None:
    """A row for each data folder and each of its classes."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        head = ["data", "label", "images", "lesions", "coverage", "low_95", "high_95", "mean_size", "low_95", "high_95"]
        writer.writerow([*head, "against_floor"])
        for data, own in sets.items():
            for label, group in {"(all)": own["overall"], **own["per_class"]}.items():
                figures = [*_cells(group, "coverage"), *_cells(group, "size")]
                writer.writerow([data, label, group["images"], group["lesions"], *figures, _verdict(group)])


def _cells(group: dict[str, Any], name: str) -> list[str]:
    return ["" if v is None else f"{v:.4f}" for v in (group[name], *(group[f"{name}_ci"] or (None, None)))]


def _verdict(group: dict[str, Any]) -> str:
    if "held_to_floor" not in group:
        return ""
    if not group["held_to_floor"]:
        return f"under {ENOUGH} lesions"
    return f"under {CLASS_FLOOR:.2f}" if group["misses_floor"] else "holds"
