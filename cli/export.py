"""The records of days as JSON Lines, CSV or Parquet, for other programs. Asks the indexes and never scans."""

from __future__ import annotations

import contextlib
import os
import sys
from enum import StrEnum
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from cli import parquet
from cli.deployed import Account, aws_calls, find
from cli.output import Progress, count, say, write_csv, write_json
from cli.results import labels_of
from cli.rows import codes
from handler.store.queries import entries
from handler.store.record import BY_LABEL, BY_PROBLEM, NOTICE, object_version
from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from cli.deployed import Deployed
    from handler.store.table import PredictionsTable

PROBLEMS = ("referred", "rejected", "superseded", "failed")
_TOGETHER = 1000  # records that are looked up before the first of them is written

COLUMNS: dict[str, Callable[[Any], str] | None] = {
    "image": None, "version": None, "status": None, "label": None, "label_name": None, "confidence": None,
    "triage": None, "prediction_set": ", ".join, "reasons": codes, "probabilities": None, "bucket": None, "key": None,
    "object_version": None, "bytes": None, "sha256": None, "format": None, "width": None, "height": None,
    "model": None, "model_version": None, "uploaded_at": None, "predicted_at": None,
}  # fmt: skip
"""Of a CSV and of Parquet. In a CSV `probabilities` is a JSON object."""


class Format(StrEnum):
    """How a file is written; also the end of its name."""

    JSONL = "jsonl"
    """Whole records, one JSON object a line."""
    CSV = "csv"
    PARQUET = "parquet"

    @classmethod
    def of(cls, out: Path | None) -> Format:
        """By the end of a file's name; JSON Lines where it says nothing."""
        end = out.suffix.removeprefix(".") if out else ""
        return cls(end) if end in set(cls) else cls.JSONL


class ExportError(UserError):
    """Records cannot be written there."""

    exit_code = 2


def export(
    days: Sequence[date],
    stack: str,
    account: Account,
    out: Path | None,
    bundle: Path | None,
    form: Format,
    *,
    every_model: bool = False,
) -> int:
    """Writes the records of `days` to the file `out`, to `day=.../records` below the folder `out`, or to stdout.

    `every_model`: also those that are not current.

    Raises:
        UserError: the stack cannot be reached, or pyarrow is missing.
    """
    if form is Format.PARQUET:
        parquet.pyarrow()
        if out is None and sys.stdout.isatty():
            raise ExportError("Parquet is nothing to read on a terminal; give --out FILE.")
    written = 0
    with aws_calls(), contextlib.ExitStack() as files:
        deployed = find(stack, account)
        table = deployed.predictions()
        labels = set(labels_of(bundle, ()))
        progress = files.enter_context(Progress("exporting", None, quiet=out is None))

        def told(records: Iterator[Any]) -> Iterator[Any]:
            for record in records:
                progress.advance()
                yield record

        def records(day: date) -> Iterator[Any]:
            return _records(deployed, table, day, labels, every_model=every_model)

        if out is not None and (out.is_dir() or not (out.suffix or out.exists())):
            for day in days:
                file = out / f"day={day}" / f"records.{form}"
                file.parent.mkdir(parents=True, exist_ok=True)
                written += _write(file, told(records(day)), form)
        else:
            written = _write(out, told(record for day in days for record in records(day)), form)
    span = f"{days[0]} to {days[-1]}" if len(days) > 1 else str(days[0])
    say(f"{count(written, 'record')} of {span} (UTC){f' in {out}' if out else ''}. {NOTICE}")
    return 0


def _write(file: Path | None, records: Iterator[Any], form: Format) -> int:
    """A file appears when it is complete: an interruption leaves none, or the one of before."""
    if file is None:
        return _write_to(sys.stdout.buffer if form is Format.PARQUET else sys.stdout, records, form)
    if file.exists() and not file.is_file():  # a pipe or a device is written to, not replaced
        with _opened(file, form) as out:
            return _write_to(out, records, form)
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with _opened(unfinished, form) as out:
            written = _write_to(out, records, form)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    return written


def _opened(file: Path, form: Format) -> IO[Any]:
    return file.open("wb") if form is Format.PARQUET else file.open("w", encoding="utf-8", newline="\n")


def _write_to(out: Any, records: Iterator[Any], form: Format) -> int:
    match form:
        case Format.JSONL:
            return write_json(records, out)
        case Format.CSV:
            return write_csv(map(flat, records), COLUMNS, out)
        case Format.PARQUET:
            return parquet.write_records(map(flat, records), tuple(COLUMNS), out)


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as a row of `COLUMNS`."""
    facts = {name: record["object"][name] for name in ("bucket", "key", "bytes", "sha256", "format", "width", "height")}
    model = {"model": record["model"]["name"], "model_version": record["model"]["version"]}
    return {**record, **facts, **model, "object_version": object_version(record["version"])}


def _records(
    stack: Deployed, table: PredictionsTable, day: date, labels: set[str], *, every_model: bool
) -> Iterator[Any]:
    """The records of `day`. Labels of other models are learnt from the records, and added to `labels`."""
    dynamodb = stack.client("dynamodb")
    asked: set[str] = set()
    found = entries(dynamodb, stack.table, BY_PROBLEM, PROBLEMS, [day], every_model=every_model)
    while True:
        keys = (
            (entry["image"], entry["version"]) for entry in found if asked == set() or entry["status"] == "classified"
        )
        while group := list(islice(keys, _TOGETHER)):
            for record in table.get_many(group):
                labels.update(record["probabilities"] or ())
                yield record
        if not (new := labels - asked):
            return
        asked |= new
        found = entries(dynamodb, stack.table, BY_LABEL, sorted(new), [day], every_model=every_model)
