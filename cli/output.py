"""What commands write: rows on stdout as a table, JSON lines or CSV; progress and questions on stderr.

rich leaves the colours out where the output is no terminal, or NO_COLOR is set.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self, TextIO

from pictures.names import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

LINE_EVERY = 10.0
"""Seconds between two lines of progress where stderr is no terminal."""

# A spreadsheet takes a cell that begins with one of these for a formula. The last four are the wide forms of the first
# four, which some spreadsheets read alike. https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001


class Form(StrEnum):
    """How rows are written."""

    TABLE = "table"
    JSON = "json"
    """One object a line."""
    CSV = "csv"

    @classmethod
    def chosen(cls, *, json: bool, csv: bool) -> Form:
        """By the options `--json` and `--csv`, of which at most one is given."""
        return cls.JSON if json else cls.CSV if csv else cls.TABLE


def say(line: str) -> None:
    """Writes a line for the person, not for the program that reads stdout."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def confirm(question: str) -> bool:
    """Asks on stderr and reads yes or no; no answer means no."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
    return answer.strip().lower() in {"y", "yes"}


# Rows


def write_rows(
    rows: Iterable[Mapping[str, Any]],
    columns: Mapping[str, Callable[[Any], str] | None],
    form: Form,
    out: TextIO | None = None,
) -> int:
    """Writes `rows` and returns their number; JSON and CSV as they come, a table once all are there.

    `columns` are the fields that a table and a CSV show, each with the function that words it in a table (None: as it
    is). JSON has every field of a row.
    """
    out = out or sys.stdout
    match form:
        case Form.JSON:
            return write_json(rows, out)
        case Form.CSV:
            return write_csv(rows, columns, out)
        case Form.TABLE:
            return write_table(list(rows), columns, out)


def write_json(rows: Iterable[Mapping[str, Any]], out: TextIO) -> int:
    """One object a line. A file name that is not UTF-8 is escaped."""
    count = 0
    for row in rows:
        line = json.dumps(row, ensure_ascii=False)
        out.write(f"{line if line.isprintable() else json.dumps(row)}\n")
        out.flush()
        count += 1
    return count


def write_csv(
    rows: Iterable[Mapping[str, Any]], columns: Mapping[str, Callable[[Any], str] | None], out: TextIO
) -> int:
    """A header and a line for each row; cells are safe to open in a spreadsheet.

    Lists and objects are worded as in a table, or else JSON; numbers are as they are.
    """
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for row in rows:
        cells = []
        for column, worded in columns.items():
            value = row.get(column)
            cells.append(csv_cell(worded(value) if worded and isinstance(value, list | dict) else value))
        writer.writerow(cells)
        count += 1
    return count


def csv_cell(value: Any) -> str:
    """A value as a cell: None is empty, and a text that a spreadsheet would take for a formula begins with `'`."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case str():
            text = value
        case _:
            text = json.dumps(value, ensure_ascii=False)
    safe = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    safe = safe.replace("\0", "\\0").replace("\r", "\\r")  # Python's csv would not quote these, nor read them back
    return f"'{safe}" if safe.lstrip(" ").startswith(_FORMULA_STARTS) else safe


def write_table(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Callable[[Any], str] | None], out: TextIO
) -> int:
    """A table that is as wide as its cells where `out` is no terminal, and else as wide as the terminal."""
    from rich.console import Console  # noqa: PLC0415 (JSON and CSV do without)
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=out, highlight=False, width=None if out.isatty() else 10_000)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in table_cells(row, columns)))
    with console.capture() as printed:
        console.print(table)
    out.write("".join(f"{line.rstrip()}\n" for line in printed.get().splitlines()))
    return len(rows)


STYLES = {
    "classified": "cyan", "referred": "yellow", "rejected": "bright_black", "superseded": "magenta", "failed": "red",
    "urgent": "red",
}  # fmt: skip


def table_cells(row: Mapping[str, Any], columns: Mapping[str, Callable[[Any], str] | None]) -> list[str]:
    """One line each, without control characters; `-` where there is nothing."""
    cells = []
    for column, worded in columns.items():
        value = row.get(column)
        cells.append("-" if value in (None, "", []) else one_line(worded(value) if worded else str(value)))
    return cells


def percent(value: float) -> str:
    """A share as a table shows it."""
    return f"{value:.1%}"


def count(number: int, noun: str) -> str:
    """`1 file`, `1,200 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# Progress


class Progress:
    """How far a command is, on stderr: a bar on a terminal, else a line every ten seconds.

    with Progress("uploading", len(files)) as progress:
        for file in files:
            progress.advance()
    """

    def __init__(self, doing: str, total: int | None, *, quiet: bool = False) -> None:
        """`total` None: not known. `quiet` shows nothing."""
        self._doing, self._total, self._quiet = doing, total, quiet
        self._done = 0
        self._told = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            from rich import progress  # noqa: PLC0415
            from rich.console import Console  # noqa: PLC0415

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._doing, total=self._total)
        return self

    def advance(self, steps: int = 1) -> None:
        """Notes `steps` more."""
        self.to(self._done + steps)

    def to(self, done: int) -> None:
        """Notes that `done` are done in all."""
        self._done = done
        if self._bar:
            self._bar.update(self._task, completed=done)
        elif not self._quiet and time.monotonic() - self._told >= LINE_EVERY:
            self._told = time.monotonic()
            say(f"{self._doing}: {done:,}{f' of {self._total:,}' if self._total is not None else ''}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
