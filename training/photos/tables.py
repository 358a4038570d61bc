"""The tables that this program writes, and reads back: CSV without any change to a value.

Tables of the user are read by user_tables.py, which is lenient where a cell has one meaning.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.io_utils import atomic_write
from training.photos.csv_text import CsvError, decode_utf8, format_record, parse_records
from training.photos.row_errors import RowError

DTYPES = {"number": np.float64, "optional number": np.float64, "integer": np.int64, "flag": "boolean"}


@dataclass(frozen=True)
class Row:
    """One row of a table, with its file and line for error messages."""

    path: Path
    line: int
    values: dict[str, str]

    def error(self, what: str) -> RowError:
        """An error that names the file and the line."""
        return RowError(self.path, f"line {self.line}", what)

    def text(self, column: str, required: bool = False) -> str:
        """The cell; "" if the column or the value is missing. Raises DatasetError."""
        value = self.values.get(column, "")
        if required and not value.strip():
            raise self.error(f"column '{column}' is empty; fill it or delete the row")
        return value

    def number(self, column: str, required: bool = False) -> float:
        """The cell as a finite number; NaN if it is empty. Raises DatasetError."""
        value = self.text(column, required).strip()
        if not value:
            return math.nan
        if not is_number(value):
            raise self.error(f"column '{column}' holds '{value}', expected a number; correct the row")
        return float(value)

    def integer(self, column: str) -> int:
        """The cell as a whole number of any size. Raises DatasetError."""
        value = self.text(column, required=True).strip()
        if not value.removeprefix("-").isdecimal():
            what = "whole nanoseconds" if column.endswith("_ns") else "a whole number"
            raise self.error(f"column '{column}' holds '{value}', expected {what}; correct the row")
        return int(value)

    def flag(self, column: str) -> bool | None:
        """The cell (0, 1, false or true) as a bool; None if it is empty. Raises DatasetError."""
        value = self.text(column).strip().lower()
        if value not in ("", "0", "1", "false", "true"):
            raise self.error(f"column '{column}' holds '{value}', expected 0, 1 or nothing")
        return None if value == "" else value in ("1", "true")

    def value(self, column: str, kind: str) -> str | float | int | bool | None:
        """The cell as one of the kinds of `read_table`. Raises DatasetError."""
        if kind == "flag":
            return self.flag(column)
        if kind == "integer":
            return self.integer(column)
        if kind in ("text", "key"):
            return self.text(column, required=kind == "key")
        return self.number(column, required=kind == "number")


def is_number(text: str) -> bool:
    """Whether a text is a finite number with a decimal point."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def read_rows(path: Path, required: Sequence[str] = ()) -> list[Row]:
    """Read a table that `write_table` wrote, every cell as it is.

    Raises:
        DatasetError: The file is missing, empty or not a table, a required column is missing, or a row has another
            number of fields.
    """
    records = _records(path)
    try:
        line, columns = next(records)
        check_columns(path, line, columns, required)
        rows = [(line, cells) for line, cells in records if len(cells) == len(columns) or any(map(str.strip, cells))]
    except StopIteration:
        raise DatasetError(f"{path}: the table is empty, expected at least a header line") from None
    for line, cells in rows:
        if len(cells) != len(columns):
            raise DatasetError(
                f"{path}, line {line}: {len(cells)} fields, expected {len(columns)} ({', '.join(columns)}); "
                "correct the row"
            )
    return [Row(path, line, dict(zip(columns, cells, strict=True))) for line, cells in rows]


def check_columns(path: Path, line: int, columns: Sequence[str], required: Sequence[str]) -> None:
    """Raise DatasetError where a column is missing or exists twice."""
    missing = [name for name in required if name not in columns]
    if missing:
        found = ", ".join(columns)
        raise DatasetError(f"{path}, line {line}: missing column {', '.join(missing)}; found {found}")
    doubled = [name for name in columns if name and columns.count(name) > 1]
    if doubled:
        raise DatasetError(f"{path}, line {line}: column '{doubled[0]}' exists twice; delete one")


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        yield from parse_records(decode_utf8(read_bytes(path)))
    except CsvError as error:
        raise DatasetError(f"{path}, line {error.line}: not a comma-separated table ({error.what})") from error


def read_bytes(path: Path) -> bytes:
    """The content of a table's file. Raises DatasetError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error


def read_table(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Read a table that `write_table` wrote: these columns, values of their kind, no photo twice.

    Args:
        path: The file.
        columns: Kind by name: key (a text that is not empty), text, number, optional number, integer or flag.

    Raises:
        DatasetError: The table is not such a table; with the line of a wrong value.
    """
    rows = read_rows(path, required=list(columns))
    table = pd.DataFrame(
        {
            name: pd.Series([row.value(name, kind) for row in rows], dtype=DTYPES.get(kind, object))
            for name, kind in columns.items()
        }
    )
    if "photo_id" in columns and table["photo_id"].duplicated().any():
        row = rows[int(table["photo_id"].duplicated().argmax())]
        raise row.error(f"photo {row.text('photo_id')} has two rows; write the table again")
    return table


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV: numbers in full precision, flags as 0 and 1, unknown values as empty cells.

    Raises:
        DatasetError: The file cannot be written, or exists and is not such a table.
    """
    _check_ours(path, str(table.columns[0]))
    columns = [map(_cell, table[name].tolist()) for name in table.columns]
    with atomic_write(path) as partial, partial.open("wb") as file:
        file.write(format_record([str(name) for name in table.columns]))
        file.writelines(map(format_record, zip(*columns, strict=True)))


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    return repr(float(value)) if isinstance(value, (float, np.floating)) else str(value)


def _check_ours(path: Path, first_column: str) -> None:
    """Raise DatasetError for a table of the user, such as the labels.csv that ingest reads."""
    if not path.exists():
        return
    first = next(_records(path), None)
    if first is not None and first[1][0] != first_column:
        raise DatasetError(
            f"{path}: expected a table that begins with column '{first_column}', got another; move it elsewhere"
        )
