"""Parquet, by pyarrow: an optional set of its own, since it is larger than all the rest of the command.

https://parquet.apache.org/docs/file-format/
"""

from __future__ import annotations

import importlib
import io
from datetime import datetime
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROW_GROUP = 10_000
"""Rows that are in memory at a time."""


class ParquetError(UserError):
    """pyarrow is not installed, or a file cannot be read."""


def pyarrow() -> Any:
    """The package, with its module `parquet`.

    Raises:
        ParquetError: it is not installed.
    """
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ModuleNotFoundError as error:
        raise ParquetError(
            f"Parquet needs the package {error.name}: install dermbatch with its set parquet (pipx install "
            "'.[parquet]' in a clone), or requirements/parquet.txt."
        ) from error


def write_records(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], out: IO[bytes]) -> int:
    """Writes `columns` of rows as `cli.export.flat` makes them, and returns the number of rows.

    Numbers are numbers, times are timestamps in UTC, and what a CSV has to put into one text keeps its structure.
    """
    arrow = pyarrow()
    schema = arrow.schema([(name, _type(arrow, name)) for name in columns])
    count = 0
    with arrow.parquet.ParquetWriter(out, schema) as writer:
        for group in _groups(rows):
            cells = [{name: _cell(name, row[name]) for name in columns} for row in group]
            writer.write_table(arrow.Table.from_pylist(cells, schema))
            count += len(cells)
    return count


def read_rows(content: bytes, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Those of `columns` that the file has, by row.

    Raises:
        ParquetError: pyarrow is missing, or this is no whole Parquet file.
    """
    arrow = pyarrow()
    try:
        file = arrow.parquet.ParquetFile(io.BytesIO(content))
        found = [name for name in columns if name in file.schema_arrow.names]
        rows: list[dict[str, Any]] = file.read(found).to_pylist()
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise ParquetError("This is no Parquet file, or a damaged one.") from error
    return rows


def _groups(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    left = iter(rows)
    while group := list(islice(left, ROW_GROUP)):
        yield group


def _type(arrow: Any, column: str) -> Any:
    text, number, time = arrow.string(), arrow.int64(), arrow.timestamp("ms", "UTC")
    others = {
        "confidence": arrow.float64(), "bytes": number, "width": number, "height": number, "uploaded_at": time,
        "predicted_at": time, "prediction_set": arrow.list_(text), "probabilities": arrow.map_(text, arrow.float64()),
        "reasons": arrow.list_(arrow.struct([("code", text), ("sentence", text)])),
    }  # fmt: skip
    return others.get(column, text)


def _cell(column: str, value: Any) -> Any:
    if column in {"uploaded_at", "predicted_at"} and value is not None:
        return datetime.fromisoformat(value)
    return list(value.items()) if isinstance(value, dict) else value
