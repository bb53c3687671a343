"""What can be trusted, as tables and plots: subgroups, changed images, explanations, sets, calibration, abstention."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from training.plots import draw_estimates
from training.prediction_sets import CLASS_FLOOR, write_prediction_sets
from training.reliability import write_reliability
from training.risk_coverage import write_risk_coverage
from training.subgroups import FIGURES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Rows = list[list[str | int]]


def write_trust(out: Path, metrics: dict[str, Any], curves: dict[str, Any]) -> None:
    """Writes these tables and plots to `out`, from the objects of `metrics.json` and the curves."""
    write_risk_coverage(out, curves)
    write_reliability(out / "calibration.csv", {data: own["calibration"] for data, own in metrics.items()})
    write_prediction_sets(out / "prediction_sets.csv", {data: own["prediction_sets"] for data, own in metrics.items()})
    for data, own in metrics.items():
        sets = own["prediction_sets"]
        rows = [(f"{k} ({g['lesions']})", g["coverage"], g["coverage_ci"]) for k, g in sets["per_class"].items()]
        title, file = f"{data}: coverage of each class (lesions)", out / f"prediction_sets-{data}.png"
        draw_estimates(rows, file, title, "prediction sets that hold the truth", CLASS_FLOOR)
    _write_subgroups(out, metrics)
    _write_robustness(out, metrics)
    _write_explanation(out, metrics)


def _write_subgroups(out: Path, metrics: dict[str, Any]) -> None:
    """`subgroups.csv`, and `subgroups-<data>.png` of the accuracy of each group."""
    counts = ("images", "lesions", "malignant_lesions", "classes")
    rows: Rows = []
    for data, attribute, group, own in groups_of(metrics):
        cells = [cell for figure in FIGURES for cell in estimated(own, figure)]
        rows.append([data, attribute, group, *(own[k] for k in counts), *cells, own["note"]])
    head = [cell for figure in FIGURES for cell in (figure, "low_95", "high_95")]
    _write(out / "subgroups.csv", ["data", "attribute", "group", *counts, *head, "note"], rows)
    for data in {data: None for data, *_ in groups_of(metrics)}:
        shown = [
            (f"{attribute}: {group} ({own['lesions']})", own["accuracy"], own["accuracy_ci"])
            for owner, attribute, group, own in groups_of(metrics)
            if owner == data
        ]
        title, file = f"{data}: accuracy of each group (lesions)", out / f"subgroups-{data}.png"
        draw_estimates(shown, file, title, "accuracy", metrics[data]["accuracy"])


def _write_robustness(out: Path, metrics: dict[str, Any]) -> None:
    """`robustness.csv`, and `robustness-<data>.png` of the balanced accuracy under each change."""
    tables = {data: own["robustness"] for data, own in metrics.items() if "robustness" in own}
    rows: Rows = []
    for data, table in tables.items():
        for change, own in table["changes"].items():
            cells = [*estimated(own, "balanced_accuracy"), *estimated(own, "difference"), f"{own['same_label']:.4f}"]
            rows.append([data, table["images"], table["lesions"], change, *cells])
        shown = [(name, c["balanced_accuracy"], c["balanced_accuracy_ci"]) for name, c in table["changes"].items()]
        title, file = f"{data}: {table['lesions']} lesions, evenly of each class", out / f"robustness-{data}.png"
        draw_estimates(shown, file, title, "balanced accuracy", shown[0][1])
    if rows:
        head = ["balanced_accuracy", "low_95", "high_95", "difference", "low_95", "high_95", "same_label"]
        _write(out / "robustness.csv", ["data", "images", "lesions", "change", *head], rows)


def _write_explanation(out: Path, metrics: dict[str, Any]) -> None:
    """`explanation.csv`, and `explanation.png` of the masking check and its control."""
    rows: Rows = []
    shown = []
    for data, own in ((data, own["explanation"]) for data, own in metrics.items() if "explanation" in own):
        figures = {name: estimated(own, name) for name in ("hottest_matters_more", "control")}
        for name, stage in own["shuffled"].items():
            for figure in ("rank_correlation", "alike"):
                figures[f"{figure} with shuffled weights: {name}"] = estimated(stage, figure)
        rows += [[data, own["images"], own["lesions"], name, *cells] for name, cells in figures.items()]
        for name, words in (("hottest_matters_more", "heat map"), ("control", "control: last convolution shuffled")):
            shown.append((f"{data}, {words}", own[name], own[f"{name}_ci"]))
    if rows:
        _write(out / "explanation.csv", ["data", "images", "lesions", "figure", "value", "low_95", "high_95"], rows)
        title = "Masking the hottest fifth lowers the label more than masking the coldest"
        draw_estimates(shown, out / "explanation.png", title, "share of images", 0.8)


def groups_of(metrics: dict[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(data, attribute, group, figures) of every subgroup."""
    for data, own in metrics.items():
        for attribute, groups in own.get("subgroups", {}).items():
            for group, figures in groups.items():
                yield data, attribute, group, figures


def estimated(own: dict[str, Any], figure: str) -> list[str]:
    """Value, low, high as cells, empty where there is none."""
    return ["" if v is None else f"{v:.4f}" for v in (own[figure], *(own[f"{figure}_ci"] or (None, None)))]


def _write(file: Path, head: list[str], rows: Rows) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)
