"""Strict reading and writing of CSV tables: errors name the file and the line."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.io_utils import atomic_write

# File names need not be valid Unicode on Linux: their bytes survive a round trip.
_ENCODING_ERRORS = "surrogateescape"


@dataclass(frozen=True)
class Row:
    """One row of a table, with its file and line for error messages."""

    path: Path
    line: int
    values: dict[str, str]

    def error(self, what: str) -> DatasetError:
        """An error that names the file and the line."""
        return DatasetError(f"{self.path}, line {self.line}: {what}")

    def text(self, column: str, required: bool = False) -> str:
        """The cell without surrounding blanks; "" if the column or the value is missing. Raises DatasetError."""
        value = self.values.get(column, "").strip()
        if required and not value:
            raise self.error(f"column '{column}' is empty; fill it or delete the row")
        return value

    def number(self, column: str, required: bool = False) -> float:
        """The cell as a finite number; NaN if it is empty. Raises DatasetError."""
        value = self.text(column, required)
        if not value:
            return math.nan
        if not _is_number(value):
            raise self.error(f"column '{column}' holds '{value}', expected a number; correct the row")
        return float(value)

    def flag(self, column: str) -> bool | None:
        """The cell (0, 1, false or true) as a bool; None if it is empty. Raises DatasetError."""
        value = self.text(column).lower()
        if value not in ("", "0", "1", "false", "true"):
            raise self.error(f"column '{column}' holds '{value}', expected 0, 1 or nothing")
        return None if value == "" else value in ("1", "true")


def read_rows(
    path: Path,
    required: Sequence[str] = (),
    synonyms: Mapping[str, str] | None = None,
    headerless: Sequence[str] = (),
) -> list[Row]:
    """Read a comma-separated UTF-8 table; empty lines are skipped.

    Args:
        path: The file.
        required: Columns that must exist.
        synonyms: New names of columns by their old ones.
        headerless: Names of the first columns of a table whose first line is data.

    Raises:
        DatasetError: The file is missing, empty or not a table, a required column is missing, or a row has another
            number of fields.
    """
    records = _read_records(path)
    if not records:
        raise DatasetError(f"{path}: the table is empty, expected at least a header line")
    first_line, first = records[0]
    if headerless and _is_data(first):
        columns = [*headerless, *(f"column {i + 1}" for i in range(len(headerless), len(first)))]
    else:
        columns = [(synonyms or {}).get(name.strip(), name.strip()) for name in first]
        records = records[1:]
    _check_columns(path, first_line, columns, required)
    for line, cells in records:
        if len(cells) != len(columns):
            raise DatasetError(
                f"{path}, line {line}: {len(cells)} fields, expected {len(columns)} ({', '.join(columns)}); "
                "correct the row"
            )
    return [Row(path, line, dict(zip(columns, cells, strict=True))) for line, cells in records]


def _is_data(cells: list[str]) -> bool:
    """Whether a first line has numbers, which a header has not."""
    return any(_is_number(cell) for cell in cells[1:])


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _check_columns(path: Path, line: int, columns: list[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in columns]
    if missing:
        found = ", ".join(columns)
        raise DatasetError(f"{path}, line {line}: missing column {', '.join(missing)}; found {found}")
    doubled = [name for name in columns if columns.count(name) > 1]
    if doubled:
        raise DatasetError(f"{path}, line {line}: column '{doubled[0]}' exists twice; delete one")


def _read_records(path: Path) -> list[tuple[int, list[str]]]:
    records = []
    try:
        with path.open(newline="", encoding="utf-8-sig", errors=_ENCODING_ERRORS) as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    records.append((reader.line_num, cells))
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    except csv.Error as error:
        raise DatasetError(f"{path}, line {reader.line_num}: not a comma-separated table ({error})") from error
    return records


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV: numbers in full precision, flags as 0 and 1, unknown values as empty cells.

    Raises:
        DatasetError: The file cannot be written, or exists and is not such a table.
    """
    _check_ours(path, table.columns[0])
    flags = {name: "Int8" for name, dtype in table.dtypes.items() if dtype == "boolean"}
    with atomic_write(path) as partial:
        table.astype(flags).to_csv(partial, index=False, lineterminator="\n", encoding="utf-8", errors=_ENCODING_ERRORS)


def _check_ours(path: Path, first_column: str) -> None:
    """Raise DatasetError for a table of the user, such as the labels.csv that ingest reads."""
    if not path.exists():
        return
    records = _read_records(path)
    if records and records[0][1][0].strip() != first_column:
        raise DatasetError(
            f"{path}: expected a table that begins with column '{first_column}', got another; move it elsewhere"
        )
