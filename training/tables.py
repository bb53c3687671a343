"""Metrics as tables: CSV for programs and for the repository, text for the person who ran the command."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from training.metrics import HEADLINES

if TYPE_CHECKING:
    from pathlib import Path


def write_tables(out: Path, metrics: dict[str, Any]) -> None:
    """Writes `headlines.csv` (data, figure, value, low, high) and `per_class.csv` to `out`."""
    with (out / "headlines.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["data", "images", "lesions", "figure", "value", "low_95", "high_95"])
        for data, values in metrics.items():
            for name in HEADLINES:
                row = [values[name], *(values[f"{name}_ci"] or ["", ""])]
                cells = ["" if cell is None or cell == "" else f"{cell:.4f}" for cell in row]
                writer.writerow([data, values["n"], values["lesions"], name, *cells])
            for name in ("referred", "rejected"):
                writer.writerow([data, values["n"], values["lesions"], name, f"{values[name]:.4f}", "", ""])
    with (out / "per_class.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["data", "label", "images", "recall", "precision", "f1", "auc"])
        for data, values in metrics.items():
            for code, own in values["per_class"].items():
                cells = ["" if own[k] is None else f"{own[k]:.4f}" for k in ("recall", "precision", "f1", "auc")]
                writer.writerow([data, code, own["n"], *cells])


def print_table(metrics: dict[str, Any]) -> None:
    """One line per figure, one column per data folder, with 95 % intervals."""
    names = list(metrics)
    heads = [f"{name} (n={values['n']:,})" for name, values in metrics.items()]
    print(f"{'':26}" + "".join(f"{head:>28}" for head in heads))
    for figure in (*HEADLINES, "referred", "rejected"):
        print(f"{figure:26}" + "".join(f"{with_interval(metrics[name], figure):>28}" for name in names))


def with_interval(values: dict[str, Any], figure: str) -> str:
    """`0.712 (0.680-0.745)`, or without an interval where there is none, or `-` where there is no figure."""
    if values[figure] is None:
        return "-"
    interval = values.get(f"{figure}_ci")
    return f"{values[figure]:.3f}" + (f" ({interval[0]:.3f}-{interval[1]:.3f})" if interval else "")
