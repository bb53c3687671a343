"""The table for a person, and the files for programs and docs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

JSON_FILE = "bench.json"
TABLE_FILE = "bench.md"
NO_SPREAD = ""


def write(result: Mapping[str, Any], folder: Path) -> None:
    """`bench.json` and `bench.md` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON_FILE).write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / TABLE_FILE).write_text("\n\n".join(sections(result).values()) + "\n", encoding="utf-8")


def sections(result: Mapping[str, Any]) -> dict[str, str]:
    """Each table in Markdown, under the name of its place in docs/performance.md."""
    return {
        "machine": machine_line(result["machine"]),
        "table": rows_table(result["rows"]),
        "dollars": dollars_table(result["dollars"]),
        "cold-start": parts_table(result["cold_start_ms"]),
        "inference": inference_table(result["engines_ms_per_image"]),
        "profile": parts_table({"ms": result["profile_ms"]}, "processor time an image"),
        "load": load_table(result["dollars"]),
    }


def rows_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """What, ours, baseline, ratio with spread, target, holds."""
    lines = ["| what | ours | baseline | ratio (lowest to highest) | target | holds |", "|---|---:|---:|---:|---|---|"]
    for row in rows:
        spread = f" ({number(row['spread'][0])} to {number(row['spread'][1])})" if row["pairs"] > 1 else NO_SPREAD
        ratio = f"{number(row['ratio'])}{spread}" if row["ratio"] is not None else ""
        baseline = f"{number(row['baseline'])} {row['unit']}" if row["baseline"] is not None else ""
        holds = {True: "yes", False: "**no**", None: ""}[row["holds"]]
        note = f"; {row['note']}" if row["note"] else ""
        ours = f"{number(row['ours'])} {row['unit']}"
        lines.append(f"| {row['what']}{note} | {ours} | {baseline} | {ratio} | {row['target']} | {holds} |")
    return "\n".join(lines)


def dollars_table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Dollars for a million images, by memory size."""
    table = ["| memory | ours, s/image | Keras worker, s/image | ours | Keras worker |", "|---|---:|---:|---:|---:|"]
    table += [
        f"| {line['memory_mb']:,} MB ({line['cores']} vCPU) | {line['ours_seconds']:.3f} | "
        f"{line['baseline_seconds']:.3f} | ${line['ours_dollars']:.2f} | ${line['baseline_dollars']:.2f} |"
        for line in lines
    ]
    return "\n".join(table)


def parts_table(parts: Mapping[str, Mapping[str, float]], heading: str = "part, ms") -> str:
    """Parts as rows; one column for each kind."""
    kinds = list(parts)
    names = list(dict.fromkeys(name for kind in kinds for name in parts[kind]))
    columns = [kind or "" for kind in kinds]
    lines = [f"| {heading} | {' | '.join(columns)} |", f"|---|{'---:|' * len(kinds)}"]
    for name in names:
        cells = [number(parts[kind][name]) if name in parts[kind] else "" for kind in kinds]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if len(kinds) > 1:
        totals = [number(sum(parts[kind].values())) for kind in kinds]
        lines.append(f"| all parts, one after the other | {' | '.join(totals)} |")
    return "\n".join(lines)


def inference_table(medians: Mapping[str, float]) -> str:
    """Milliseconds an image, fastest first; peaks are not contestants."""
    lines = ["| 8-bit network on all cores | ms an image |", "|---|---:|"]
    contestants = {name: ms for name, ms in medians.items() if "peak" not in name}
    lines += [f"| {name} | {number(ms)} |" for name, ms in sorted(contestants.items(), key=lambda item: item[1])]
    return "\n".join(lines)


def load_table(lines: Sequence[Mapping[str, Any]]) -> str:
    """What more load needs, at the smallest memory size: images a second, workers busy on average, dollars a day."""
    smallest = min(lines, key=lambda line: int(line["memory_mb"]))
    table = ["| images a day | a second, on average | workers busy | Lambda, a day |", "|---:|---:|---:|---:|"]
    for images in (10_000, 100_000, 1_000_000, 10_000_000):
        rate = images / 86_400
        dollars = images / 1e6 * smallest["ours_dollars"]
        table.append(f"| {images:,} | {number(rate)} | {number(rate * smallest['ours_seconds'])} | ${dollars:.2f} |")
    return "\n".join(table)


def engines_table(result: Mapping[str, Any]) -> str:
    """`benchmarks.engines`' rows."""
    columns = {
        "ms_1_threads": "ms, 1 thread",
        "ms_2_threads": "ms, 2 threads",
        "start_seconds": "start, s",
        "peak_mb": "peak MB",
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "same_label_as_float": "same label as float",
        "mean_probability_change": "mean change of a probability",
        "avx2_only_logit_change": "change of a logit on AVX2 only",
    }
    shown = {key: title for key, title in columns.items() if any(key in row for row in result["rows"])}
    lines = [f"| engine | {' | '.join(shown.values())} |", f"|---|{'---:|' * len(shown)}"]
    for row in result["rows"]:
        cells = [f"{row[key]:g}" if key in row else "" for key in shown]
        lines.append(f"| {row['engine']}, {row['arithmetic']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def layers_table(result: Mapping[str, Any]) -> str:
    """`benchmarks.layers`' rows."""
    lines = ["| step | ms | GOP/s | of the core's peak |", "|---|---:|---:|---:|"]
    lines += [
        f"| {row['step']} | {row['ms']:g} | {row['gops']} | {_percent(row['share_of_peak'])} |"
        for row in result["rows"]
    ]
    lines.append(f"| all other steps | {result['other_steps_ms']:g} | | |")
    lines.append(f"| the whole network | {result['whole_ms']:g} | | |")
    if result["floor_ms"]:
        lines.append(f"| the same at the core's peak | {result['floor_ms']:g} | | 100 % |")
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}".replace("%", " %")


def machine_line(machine: Mapping[str, Any]) -> str:
    """One sentence on the machine and its state."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"{machine['cores']} cores of {machine['processor']} ({', '.join(machine['vector_units'])}), "
        f"{machine['memory_gb']:g} GB, Python {machine['python']}, {packages}; {machine['when']}, commit "
        f"{machine['commit']}. Programs that wanted a core in the minute before: {machine['load_average']:g}; in the "
        f"last one: {machine['load_average_at_end']:g}, the bench's own included. The run took "
        f"{machine['minutes']:g} minutes."
    )


def number(value: float) -> str:
    """Three significant digits, without exponents."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
