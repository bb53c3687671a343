"""Records as rows in a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from model_layer import RejectionCode
from pictures.names import name_of, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WIDEST_NAME = 42  # terminal columns
LABEL_WIDTH = len("()") + max(map(len, RejectionCode))  # the longest code, as it is shown
NOTHING = "-"

COLOURS = {
    "classified": "cyan", "referred": "yellow", "rejected": "bright_black", "superseded": "magenta", "failed": "red",
}  # fmt: skip


class Table:
    """Prints rows as records arrive. rich leaves the colours out where `out` is no terminal, or NO_COLOR is set."""

    def __init__(self, names: Iterable[str], out: TextIO) -> None:
        """`names` are the names of all images to come; they decide the width of the first column."""
        self._console = Console(file=out, highlight=False, soft_wrap=True)
        self._name_width = min(max([len("image"), *(cell_len(one_line(name)) for name in names)]), WIDEST_NAME)

    def head(self) -> None:
        """Prints the column titles."""
        line = self._line("image", "status", "label", "confidence", "triage", "ms")
        self._console.print(line, "-" * line.cell_len, sep="\n")

    def rows(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Prints a row for each of `records`, sorted by name."""
        for record in sorted(records, key=name_of):
            confidence = record.get("confidence")
            self._console.print(
                self._line(
                    name_of(record),
                    str(record["status"]),
                    # Without a label, the code of the reason takes its place.
                    str(record.get("label") or "".join(f"({r['code']})" for r in record.get("reasons", ())[:1])),
                    NOTHING if confidence is None else f"{float(confidence):.1%}",
                    str(record.get("triage") or NOTHING),
                    f"{sum(float(ms) for ms in record.get('timings_ms', {}).values()):.0f}",
                )
            )

    def _line(self, name: str, status: str, label: str, confidence: str, triage: str, ms: str) -> Text:
        line = Text(f"{_fitted(name, self._name_width)}  ")
        line.append(status, COLOURS.get(status)).append(" " * (10 - len(status)))
        line.append(f"  {label:<{LABEL_WIDTH}}  {confidence:>10}  ")
        line.append(triage, "red" if triage == "urgent" else None).append(" " * (7 - len(triage)))
        return line.append(f"  {ms:>6}")


def summary(records: Sequence[Mapping[str, Any]], uploads: int, seconds: float) -> str:
    """The run in one line."""
    counts = Counter(str(record["status"]) for record in records)
    states = ", ".join(f"{counts[status]:,} {status}" for status in COLOURS if counts[status])
    many = "upload" if uploads == 1 else "uploads"
    return f"{uploads:,} {many}, {len(records):,} records in {seconds:.1f} s: {states}."


def _fitted(name: str, width: int) -> str:
    """`name` in exactly `width` columns; the middle of a longer one is cut out."""
    short, kept = name, len(name)
    while cell_len(short) > width:
        kept -= 1
        short = name[: kept - kept // 2] + "\N{HORIZONTAL ELLIPSIS}" + name[len(name) - kept // 2 :]
    return short + " " * (width - cell_len(short))
