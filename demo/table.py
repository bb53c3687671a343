"""Records as a table in a terminal."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any, TextIO

from model_layer import RejectionCode
from pictures.names import name_of, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WIDEST_NAME = 42  # terminal columns
LABEL_WIDTH = len("()") + max(map(len, RejectionCode))  # the longest code, as it is shown
NOTHING = "-"

_COLOURS = {"classified": 36, "referred": 33, "rejected": 90, "superseded": 35, "failed": 31, "urgent": 31}


class Table:
    """Prints rows as records come; colours only where a terminal shows them."""

    def __init__(self, names: Iterable[str], out: TextIO) -> None:
        """`names` are all the images' names to come: they set the first column's width."""
        self._out = out
        self._name_width = min(max([len("image"), *(_columns(one_line(name)) for name in names)]), WIDEST_NAME)
        self._coloured = out.isatty() and "NO_COLOR" not in os.environ

    def head(self) -> None:
        """Prints the columns' titles."""
        line = self._line("image", "status", "label", "confidence", "triage", "ms")
        print(f"{line}\n{'-' * len(line)}", file=self._out)

    def rows(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Prints a row for each of `records`, by name."""
        for record in sorted(records, key=name_of):
            status, triage = str(record["status"]), str(record.get("triage") or NOTHING)
            confidence = record.get("confidence")
            line = self._line(
                name_of(record),
                status,
                # Without a label, what stands in its place is the reason's code.
                str(record.get("label") or "".join(f"({r['code']})" for r in record.get("reasons", ())[:1])),
                NOTHING if confidence is None else f"{float(confidence):.1%}",
                triage,
                f"{sum(float(ms) for ms in record.get('timings_ms', {}).values()):.0f}",
            )
            line = self._painted(line, status)
            print(self._painted(line, "urgent") if triage == "urgent" else line, file=self._out)
        self._out.flush()

    def _line(self, *cells: str) -> str:
        name, status, label, confidence, triage, ms = cells
        return (
            f"{_fitted(name, self._name_width)}  {status:<10}  {label:<{LABEL_WIDTH}}  {confidence:>10}  "
            f"{triage:<7}  {ms:>6}"
        )

    def _painted(self, line: str, word: str) -> str:
        if not self._coloured:
            return line
        # From the right: a file may be called `referred.jpg`.
        before, _, after = line.rpartition(f"  {word}")
        return f"{before}  \x1b[{_COLOURS[word]}m{word}\x1b[0m{after}"


def summary(records: Sequence[Mapping[str, Any]], uploads: int, seconds: float) -> str:
    """The run in one line."""
    counts = Counter(str(record["status"]) for record in records)
    states = ", ".join(f"{counts[status]:,} {status}" for status in _COLOURS if counts[status])
    many = "upload" if uploads == 1 else "uploads"
    return f"{uploads:,} {many}, {len(records):,} records in {seconds:.1f} s: {states}."


def _fitted(name: str, width: int) -> str:
    """`name` in exactly `width` columns; of a longer one the middle is cut out."""
    short, kept = name, len(name)
    while _columns(short) > width:
        kept -= 1
        short = name[: kept - kept // 2] + "\N{HORIZONTAL ELLIPSIS}" + name[len(name) - kept // 2 :]
    return short + " " * (width - _columns(short))


def _columns(text: str) -> int:
    """Terminal columns that `text` takes: wide East Asian characters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )  # fmt: skip
