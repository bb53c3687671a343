"""The bench's tables: for a person, and for docs/performance.md.

    python -m benchmarks.side_by_side.documents

rewrites the document from benchmarks/results/. A table is between `<!-- bench:NAME -->` and `<!-- end -->`; a test
fails when it differs from the results.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.side_by_side.dollars import MEMORY_OF_CORES, dollars_per_million

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "performance.md"
RESULT = ROOT / "benchmarks" / "results" / "bench.json"
AVX2_ONLY = RESULT.parent / "avx2-only"
"""Results of a processor without 8-bit multiply-add; their names begin with `avx2-`."""
_PLACE = re.compile(r"<!-- bench:(?P<name>[a-z0-9-]+) -->\n.*?<!-- end -->", re.DOTALL)


def write(result: Mapping[str, Any], folder: Path) -> None:
    """`bench.json` and `bench.md` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    (folder / "bench.json").write_text(text, encoding="utf-8")
    (folder / "bench.md").write_text("\n\n".join(sections(result).values()) + "\n", encoding="utf-8")


def refresh() -> None:
    """Rewrites the document."""
    DOCUMENT.write_text(refreshed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


def refreshed(text: str, result: Path = RESULT) -> str:
    """`text` with every table as `result` and the other results have it; a table without results is unchanged."""
    tables: dict[str, str] = {}
    for prefix, bench in (("", result), ("avx2-", AVX2_ONLY / "bench.json")):
        tables |= {prefix + name: table for name, table in sections(_read(bench)).items()}
        folder = AVX2_ONLY if prefix else RESULT.parent
        for name, table in OTHER_TABLES.items():
            if (file := folder / f"{name}.json").exists():
                tables[prefix + name] = table(_read(file))

    def filled(place: re.Match[str]) -> str:
        name = place["name"]
        return f"<!-- bench:{name} -->\n{tables[name]}\n<!-- end -->" if name in tables else place[0]

    return _PLACE.sub(filled, text)


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def sections(result: Mapping[str, Any]) -> dict[str, str]:
    """Each table in Markdown, by the name of its place in the document."""
    return {
        "machine": machine_line(result["machine"]),
        "table": rows_table(result["rows"]),
        "dollars": dollars_table(result["dollars"]),
        "cold-start": parts_table(result["cold_start_ms"]),
        "inference": inference_table(result["engines_ms_per_image"]),
        "profile": parts_table({"ms": result["profile_ms"]}, "processor time an image"),
        "load": load_table(result["dollars"]),
    }


def markdown(head: Sequence[str], alignment: str, rows: Iterable[Sequence[str]]) -> str:
    """Markdown; `alignment` has a letter for each column, l or r."""
    line = "".join("---:|" if side == "r" else "---|" for side in alignment)
    return "\n".join([f"| {' | '.join(head)} |", f"|{line}", *(f"| {' | '.join(row)} |" for row in rows)])


def rows_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """What, ours, baseline, ratio with spread, target, holds."""
    cells = []
    for row in rows:
        spread = f" ({number(row['spread'][0])} to {number(row['spread'][1])})" if row["pairs"] > 1 else ""
        cells.append(
            [
                row["what"] + (f"; {row['note']}" if row["note"] else ""),
                f"{number(row['ours'])} {row['unit']}",
                f"{number(row['baseline'])} {row['unit']}" if row["baseline"] is not None else "",
                f"{number(row['ratio'])}{spread}" if row["ratio"] is not None else "",
                row["target"],
                "yes" if row["holds"] else "**no**",
            ]
        )
    return markdown(["what", "ours", "baseline", "ratio (lowest to highest)", "target", "holds"], "lrrrll", cells)


def dollars_table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Dollars for a million images, by memory size."""
    rows = [
        [
            f"{line['memory_mb']:,} MB ({line['cores']} vCPU)",
            *(f"{line[f'{kind}_seconds']:.3f}" for kind in ("ours", "baseline")),
            *(f"${line[f'{kind}_dollars']:.2f}" for kind in ("ours", "baseline")),
        ]
        for line in lines
    ]
    return markdown(["memory", "ours, s/image", "Keras worker, s/image", "ours", "Keras worker"], "lrrrr", rows)


def parts_table(parts: Mapping[str, Mapping[str, float]], heading: str = "part, ms") -> str:
    """Parts as rows; one column for each kind."""
    names = dict.fromkeys(name for kind in parts.values() for name in kind)
    rows = [[name, *(number(kind[name]) if name in kind else "" for kind in parts.values())] for name in names]
    if len(parts) > 1:
        rows.append(["all parts, one after the other", *(number(sum(kind.values())) for kind in parts.values())])
    return markdown([heading, *parts], "l" + "r" * len(parts), rows)


def inference_table(medians: Mapping[str, float]) -> str:
    """Milliseconds an image, fastest first; peaks are not contestants."""
    contestants = sorted((ms, name) for name, ms in medians.items() if "peak" not in name)
    return markdown(
        ["8-bit network on all cores", "ms an image"], "lr", [[name, number(ms)] for ms, name in contestants]
    )


def load_table(lines: Sequence[Mapping[str, Any]]) -> str:
    """The needs of more load at the smallest memory size: images a second, workers busy on average, dollars a day."""
    smallest = min(lines, key=lambda line: int(line["memory_mb"]))
    rows = []
    for images in (10_000, 100_000, 1_000_000, 10_000_000):
        rate, dollars = images / 86_400, images / 1e6 * smallest["ours_dollars"]
        rows.append([f"{images:,}", number(rate), number(rate * smallest["ours_seconds"]), f"${dollars:.2f}"])
    return markdown(["images a day", "a second, on average", "workers busy", "Lambda, a day"], "rrrr", rows)


def engines_table(result: Mapping[str, Any]) -> str:
    """The rows of `benchmarks.engines`."""
    columns = {
        "ms_1_threads": "ms, 1 thread",
        "ms_2_threads": "ms, 2 threads",
        "start_seconds": "start, s",
        "peak_mb": "peak MB",
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "same_label_as_float": "same label as float",
        "mean_probability_change": "mean change of a probability",
    }
    shown = {key: title for key, title in columns.items() if any(key in row for row in result["rows"])}
    rows = [
        [f"{row['engine']}, {row['arithmetic']}", *(f"{row[key]:g}" if key in row else "" for key in shown)]
        for row in result["rows"]
    ]
    return markdown(["engine", *shown.values()], "l" + "r" * len(shown), rows)


def layers_table(result: Mapping[str, Any]) -> str:
    """The rows of `benchmarks.layers`."""
    lines = ["| step | ms | GOP/s | of the core's peak |", "|---|---:|---:|---:|"]
    for row in result["rows"]:
        share = "" if row["share_of_peak"] is None else f"{100 * row['share_of_peak']:.0f} %"
        lines.append(f"| {row['step']} | {row['ms']:g} | {row['gops']} | {share} |")
    lines.append(f"| all other steps | {result['other_steps_ms']:g} | | |")
    lines.append(f"| the whole network | {result['whole_ms']:g} | | |")
    if result["floor_ms"]:
        lines.append(f"| the same at the core's peak | {result['floor_ms']:g} | | 100 % |")
    return "\n".join(lines)


def service_table(result: Mapping[str, Any]) -> str:
    """What `benchmarks.service` wrote: its rows, and the machine, which its first results did not note."""
    lines = ["| what | ours | baseline | ratio | target | holds |", "|---|---:|---:|---:|---|---|"]
    for row in result["rows"]:
        ours, baseline = (f"{number(row[name])} {row['unit']}" for name in ("ours", "baseline"))
        target = "" if row["target"] is None else f"at least {row['target']} times better"
        holds = {None: "", True: "yes", False: "**no**"}[row["holds"]]
        lines.append(f"| {row['what']} | {ours} | {baseline} | {number(row['ratio'])} | {target} | {holds} |")
    return "\n".join([*lines, *(["", machine_line(result["machine"])] if result["machine"] else [])])


def pruning_table(result: Mapping[str, Any]) -> str:
    """What `benchmarks.pruning` wrote: workers by vector units, with Lambda's dollars at one vCPU, and the machine."""
    rows = []
    for row in result["rows"]:
        dollars = dollars_per_million(row["seconds"], MEMORY_OF_CORES[1])
        rows.append(
            [
                {"avx2": "AVX2 only", "all": "all that it has"}[row["units"]],
                {"keras": "Keras, float", "ours": "ours, 8 bits"}[row["worker"]],
                f"{row['width']}, {row['giga_operations']:.1f}",
                f"{row['network']:.3f}" if "network" in row else "",
                f"{row['seconds']:.3f}",
                f"${dollars:.2f}",
            ]
        )
    head = ["vector units", "worker", "width, 10^9 operations", "the network, s", "an image, s", "a million images"]
    return "\n".join([markdown(head, "lllrrr", rows), "", machine_line(result["machine"])])


def machine_line(machine: Mapping[str, Any]) -> str:
    """The machine and its state, in a few sentences."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    hidden = f"; hidden: {', '.join(machine['hidden'])}" if "hidden" in machine else ""
    return (
        f"{machine['cores']} cores of {machine['processor']} ({', '.join(machine['vector_units'])}{hidden}), "
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


OTHER_TABLES = {
    "engines": engines_table,
    "layers": layers_table,
    "service": service_table,
    "pruning": pruning_table,
}
"""Made from the results of other programs, by the result's name."""


if __name__ == "__main__":
    refresh()
