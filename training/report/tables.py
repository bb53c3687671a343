"""Writes metrics as CSV tables and plots, and prints the headlines for the person who runs the command."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from training.evaluation.confidence import CLASS_FLOOR, ENOUGH, curve_points
from training.evaluation.explanation import TARGET
from training.evaluation.metrics import HEADLINES
from training.evaluation.subgroups import FIGURES
from training.report.plots import draw_estimates, draw_risk_coverage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


def write_tables(out: Path, metrics: dict[str, Any], curves: dict[str, Any]) -> None:
    """Writes all tables and the plots beside them to `out`, from the objects of `metrics.json` and the curves.

    `curves` maps each data folder to its `risk_coverage`.
    """
    _write_headlines(out, metrics)
    _write_classes(out, metrics)
    write_risk_coverage(out, curves)
    _write_calibration(out, metrics)
    write_prediction_sets(out / "prediction_sets.csv", {data: own["prediction_sets"] for data, own in metrics.items()})
    for data, own in metrics.items():
        sets = own["prediction_sets"]
        rows = [(f"{k} ({g['lesions']})", g["coverage"], g["coverage_ci"]) for k, g in sets["per_class"].items()]
        title, file = f"{data}: coverage of each class (lesions)", out / f"prediction_sets-{data}.png"
        draw_estimates(rows, file, title, "prediction sets that hold the truth", CLASS_FLOOR)
    _write_subgroups(out, metrics)
    _write_robustness(out, metrics)
    _write_explanation(out, metrics)


def _write_headlines(out: Path, metrics: dict[str, Any]) -> None:
    rows = [
        [data, own["n"], own["lesions"], name, *estimated(own, name)]
        for data, own in metrics.items()
        for name in (*HEADLINES, "referred", "rejected")
    ]
    write_csv(out / "headlines.csv", ["data", "images", "lesions", "figure", "value", "low_95", "high_95"], rows)


def _write_classes(out: Path, metrics: dict[str, Any]) -> None:
    figures = ("recall", "precision", "f1", "auc")
    rows = [
        [data, code, own["n"], *(cell(own[figure]) for figure in figures)]
        for data, values in metrics.items()
        for code, own in values["per_class"].items()
    ]
    write_csv(out / "per_class.csv", ["data", "label", "images", *figures], rows)


def write_risk_coverage(out: Path, curves: dict[str, dict[str, Any]]) -> None:
    """`risk_coverage.csv` and `risk_coverage.png`: the curve of each data folder."""
    rows = [
        [name, f"{coverage:.2f}", *(f"{v:.4f}" for v in (confidence, accuracy, *(ci or (float("nan"), float("nan")))))]
        for name, curve in curves.items()
        for coverage, confidence, accuracy, ci in curve_points(curve)
    ]
    head = ["data", "coverage", "least_confidence", "accuracy", "low_95", "high_95"]
    write_csv(out / "risk_coverage.csv", head, rows)
    draw_risk_coverage(curves, out)


def _write_calibration(out: Path, metrics: dict[str, Any]) -> None:
    """`calibration.csv`: the error before and after scaling, and the error that true confidences would show."""
    rows = []
    for data, own in ((data, own["calibration"]) for data, own in metrics.items()):
        rows += [
            [data, "before", cell(1.0), *estimated(own, "ece_before")],
            [data, "after", cell(own["temperature"]), *estimated(own, "ece_after")],
            [data, "true confidences", "", *estimated(own, "ece_by_chance")],
        ]
    write_csv(out / "calibration.csv", ["data", "temperature_scaling", "temperature", "ece", "low_95", "high_95"], rows)


def write_prediction_sets(file: Path, sets: dict[str, dict[str, Any]]) -> None:
    """A row for each data folder and each of its classes."""
    rows = [
        [
            data,
            label,
            own["images"],
            own["lesions"],
            *estimated(own, "coverage"),
            *estimated(own, "size"),
            _verdict(own),
        ]
        for data, groups in sets.items()
        for label, own in {"(all)": groups["overall"], **groups["per_class"]}.items()
    ]
    head = ["data", "label", "images", "lesions", "coverage", "low_95", "high_95", "mean_size", "low_95", "high_95"]
    write_csv(file, [*head, "against_floor"], rows)


def _verdict(group: dict[str, Any]) -> str:
    if "held_to_floor" not in group:
        return ""
    if not group["held_to_floor"]:
        return f"under {ENOUGH} lesions"
    return f"under {CLASS_FLOOR:.2f}" if group["misses_floor"] else "holds"


def _write_subgroups(out: Path, metrics: dict[str, Any]) -> None:
    """`subgroups.csv`, and `subgroups-<data>.png` of the accuracy of each group."""
    counts = ("images", "lesions", "malignant_lesions", "classes")
    rows = []
    for data, attribute, group, own in groups_of(metrics):
        cells = [cell for figure in FIGURES for cell in estimated(own, figure)]
        rows.append([data, attribute, group, *(own[k] for k in counts), *cells, own["note"]])
    head = [cell for figure in FIGURES for cell in (figure, "low_95", "high_95")]
    write_csv(out / "subgroups.csv", ["data", "attribute", "group", *counts, *head, "note"], rows)
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
    rows = []
    for data, table in tables.items():
        for change, own in table["changes"].items():
            cells = [*estimated(own, "balanced_accuracy"), *estimated(own, "difference"), f"{own['same_label']:.4f}"]
            rows.append([data, table["images"], table["lesions"], change, *cells])
        shown = [(name, c["balanced_accuracy"], c["balanced_accuracy_ci"]) for name, c in table["changes"].items()]
        title, file = f"{data}: {table['lesions']} lesions, evenly of each class", out / f"robustness-{data}.png"
        draw_estimates(shown, file, title, "balanced accuracy", shown[0][1])
    if rows:
        head = ["balanced_accuracy", "low_95", "high_95", "difference", "low_95", "high_95", "same_label"]
        write_csv(out / "robustness.csv", ["data", "images", "lesions", "change", *head], rows)


def _write_explanation(out: Path, metrics: dict[str, Any]) -> None:
    """`explanation.csv`, and `explanation.png` of the masking check and its control."""
    rows = []
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
        write_csv(out / "explanation.csv", ["data", "images", "lesions", "figure", "value", "low_95", "high_95"], rows)
        title = "Masking the hottest fifth lowers the label more than masking the coldest"
        draw_estimates(shown, out / "explanation.png", title, "share of images", TARGET)


def groups_of(metrics: dict[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(data, attribute, group, figures) of every subgroup."""
    for data, own in metrics.items():
        for attribute, groups in own.get("subgroups", {}).items():
            for group, figures in groups.items():
                yield data, attribute, group, figures


def estimated(own: dict[str, Any], figure: str) -> list[str]:
    """Value, low and high as cells; empty if there is none."""
    return [cell(value) for value in (own[figure], *(own.get(f"{figure}_ci") or (None, None)))]


def cell(value: float | None) -> str:
    """Four decimals; empty for None."""
    return "" if value is None else f"{value:.4f}"


def write_csv(file: Path, head: Sequence[str], rows: Iterable[Sequence[str | int]]) -> None:
    """Writes a table to `file`."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


def print_table(metrics: dict[str, Any]) -> None:
    """One line per figure, one column per data folder, with 95 % intervals."""
    names = list(metrics)
    heads = [f"{name} (n={values['n']:,})" for name, values in metrics.items()]
    print(f"{'':26}" + "".join(f"{head:>28}" for head in heads))
    for figure in (*HEADLINES, "referred", "rejected"):
        print(f"{figure:26}" + "".join(f"{with_interval(metrics[name], figure):>28}" for name in names))


def with_interval(values: dict[str, Any], figure: str) -> str:
    """`0.712 (0.680-0.745)`, `0.712` if there is no interval, or `-` if there is no figure."""
    if values[figure] is None:
        return "-"
    interval = values.get(f"{figure}_ci")
    return f"{values[figure]:.3f}" + (f" ({interval[0]:.3f}-{interval[1]:.3f})" if interval else "")
