"""Tables of the user, as spreadsheets, map programs and exiftool write them.

Delimiter, encoding, names and order of columns, decimal commas and the form of coordinates are told apart by what the
file holds. What has two meanings is an error that names the line.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from campus_visual_gps.errors import DatasetError
from training.photos.column_names import UNIT_CELLS, canonical_name
from training.photos.csv_text import CsvError, parse_records
from training.photos.quantities import has_decimal_comma, parse_coordinate, parse_number
from training.photos.row_errors import OnError, RowError, report_or_raise
from training.photos.tables import Row, check_columns, read_bytes
from training.photos.text_encoding import decode_text

_log = logging.getLogger(__name__)

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_AXES = {"latitude_deg": "latitude", "longitude_deg": "longitude"}
_HEADER_WITHIN = 10  # records: titles and remarks above the header
_SEP_LINE = re.compile(r'"?sep=(.)"?(?:\r\n|\n|\r|\Z)', re.IGNORECASE)
_WHOLE = re.compile(r"[-+]?\d+", re.ASCII)

IsKnown = Callable[[str], bool]


@dataclass(frozen=True)
class UserRow(Row):
    """A row of a user's table: cells without blanks at their ends, numbers as people write them."""

    decimal_comma: bool = False
    inside: str = ""  # which member of an archive, or which feature

    @property
    def place(self) -> str:
        """Where the row stands in its file."""
        return ", ".join([*([self.inside] if self.inside else []), *([f"line {self.line}"] if self.line else [])])

    def error(self, what: str) -> RowError:
        """An error that names the file and the place in it."""
        return RowError(self.path, self.place, what)

    def number(self, column: str, required: bool = False) -> float:
        """The cell as a number, degrees for a coordinate; NaN if it is empty. Raises DatasetError."""
        value = self.text(column, required)
        if not value:
            return math.nan
        try:
            if column in _AXES:
                return self._coordinate(column, value)
            return parse_number(value, self.decimal_comma)
        except ValueError as error:
            reason = "" if str(error) == "expected a number" else f": {error}"
            raise self.error(f"column '{column}' holds '{value}', expected a number{reason}; correct the row") from None

    def _coordinate(self, column: str, value: str) -> float:
        axis = _AXES[column]
        degrees = parse_coordinate(value, axis)
        side = self.text(f"{axis}_ref")[:1].upper()
        if not side or re.search(r"[NSEW]\W*$|^\W*[NSEW]", value, re.IGNORECASE):
            return degrees
        return parse_coordinate(f"{degrees!r} {side}", axis)


@dataclass(frozen=True)
class _Layout:
    """A way to read the text: where the data begin, and what the columns are. `known` counts columns with a meaning."""

    delimiter: str
    records: list[tuple[int, list[str]]]
    header: int
    columns: list[str]
    known: int


def read_user_rows(
    path: Path,
    required: Sequence[str] = (),
    headerless: Sequence[str] = (),
    is_known: IsKnown = lambda text: False,
    on_error: OnError | None = None,
) -> list[UserRow]:
    """Read a table that a user wrote or exported. Rows without any value are skipped.

    Args:
        path: The file.
        required: Canonical names of columns (column_names.py) that must exist.
        headerless: Names of the first columns of a table whose first line is data.
        is_known: Whether a cell names a photo. It decides between encodings, and finds the column of the photos where
            its name is in no list.
        on_error: Takes each invalid row, which is left out; None raises the error.

    Raises:
        DatasetError: The file is missing, empty or not a table; a required column is missing; a row has other fields.
    """
    text, encoding = decode_text(
        read_bytes(path), path, lambda cell: is_known(cell) or canonical_name(cell) is not None
    )
    layout = _find_layout(path, text, encoding, required, headerless, is_known)
    columns = layout.columns
    check_columns(path, layout.records[max(layout.header, 0)][0], columns, required)
    data = layout.records[layout.header + 1 :]
    kept = []
    for line, cells in data:
        try:
            kept.append((line, _fit(path, line, cells, columns, required, layout)))
        except RowError as error:
            report_or_raise(error, on_error)
    kept = [(line, cells) for line, cells in kept if any(cells) and not _is_second_header(cells, columns, layout)]
    values = [(line, dict(zip(columns, cells, strict=True))) for line, cells in kept]
    decimal_comma = any(has_decimal_comma(row.get(name, "")) for _, row in values for name in _AXES)
    _report(path, layout, encoding, decimal_comma, len(kept), len(data) - len(kept))
    return [UserRow(path, line, row, decimal_comma) for line, row in values]


def _report(path: Path, layout: _Layout, encoding: str, decimal_comma: bool, rows: int, skipped: int) -> None:
    """One line about what is not an ordinary CSV file."""
    found = [] if layout.delimiter == "," else [f"{DELIMITERS.get(layout.delimiter, layout.delimiter)}-separated"]
    found += [] if encoding == "utf-8" else [encoding]
    found += ["decimal commas"] if decimal_comma else []
    above = max(layout.header, 0)
    found += [f"lines above the header skipped: {above}"] if above else []
    found += [] if rows else ["no rows below the header"]
    found += [f"rows without values or with a header again skipped: {skipped}"] if skipped else []
    if found:
        _log.info("%s: %s", path, ", ".join(found))


def _find_layout(
    path: Path, text: str, encoding: str, required: Sequence[str], headerless: Sequence[str], is_known: IsKnown
) -> _Layout:
    delimiters, first_line = list(DELIMITERS), 1
    marked = _SEP_LINE.match(text)
    if marked:
        delimiters, text, first_line = [marked[1]], text[marked.end() :], 2
    if not text.strip():
        raise DatasetError(f"{path}: the table is empty, expected at least a header line")
    layouts, problem = [], None
    for delimiter in delimiters:
        try:
            parsed = _parse(text, delimiter)
        except CsvError as error:
            problem = problem or error
            continue
        records = [(line + first_line - 1, [_trim(cell) for cell in cells]) for line, cells in parsed]
        records = [(line, cells) for line, cells in records if any(cells)]
        if records:
            layouts.append(_layout(delimiter, records, required, headerless, is_known))
    best = max(layouts, key=lambda layout: layout.known, default=None)
    if problem is not None and (best is None or not best.known):
        raise DatasetError(f"{path}, line {problem.line + first_line - 1}: not a table ({problem.what})")
    if best is None:
        raise DatasetError(f"{path}: the table is empty, expected at least a header line")
    if not best.known:
        line, cells = best.records[0]
        wanted = ", ".join(required) or "photo_id or file, latitude_deg, longitude_deg, decision"
        raise DatasetError(
            f"{path}, line {line}: missing column {wanted}; found {', '.join(cells)} (read as {encoding} with the "
            f"delimiter {DELIMITERS.get(best.delimiter, best.delimiter)}); write a header line with these names, "
            "separated by commas, semicolons or tabs"
        )
    return best


def _parse(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Records of a text; of one in which every line is a single cell in quotation marks, the records of these cells."""
    records = list(parse_records(text, delimiter))
    if delimiter == "," and all(len(cells) == 1 and "," in cells[0] for _, cells in records):
        return [(line, cells) for line, (whole,) in records for _, cells in parse_records(whole)]
    return records


def _trim(cell: str) -> str:
    """The cell without blanks and invisible marks at its ends, and without ="...", which keeps spreadsheets off it."""
    cell = cell.strip().strip("\ufeff\u200b\u200e\u200f\u202a\u202c").strip()
    formula = re.fullmatch(r'="([^"]*)"', cell)
    return formula[1] if formula else cell


def _layout(
    delimiter: str,
    records: list[tuple[int, list[str]]],
    required: Sequence[str],
    headerless: Sequence[str],
    is_known: IsKnown,
) -> _Layout:
    """The reading with this delimiter: its header is the record with the most names of columns."""
    names = [[canonical_name(cell) for cell in cells] for _, cells in records[:_HEADER_WITHIN]]
    counts = [len({name for name in found if name}) for found in names]
    header = counts.index(max(counts))
    cells = records[header][1]
    is_list = len(cells) == counts[header] == 1 and any(is_known(own[0]) for _, own in records[header + 1 :])
    if counts[header] >= 2 or "WKT" in names[header] or is_list:
        columns = _unique(cells, names[header])
        columns = _with_photo_column(columns, records[header + 1 :], required, is_known)
        return _Layout(delimiter, records, header, columns, counts[header] + 1)
    if headerless and len(records[0][1]) >= len(headerless) and _is_data(records[0][1], headerless):
        first = records[0][1]
        columns = [*headerless, *(f"column {i + 1}" for i in range(len(headerless), len(first)))]
        return _Layout(delimiter, records, -1, columns, len(headerless))
    return _Layout(delimiter, records, header, _unique(cells, names[header]), 0)


def _unique(cells: list[str], names: list[str | None]) -> list[str]:
    """Columns by their canonical names; an exact name is taken before one that means the same.

    Of several names of the photo (exiftool has SourceFile and FileName) the first counts.
    """
    exact = {cell for cell in cells if canonical_name(cell) == cell}
    columns: list[str] = []
    for cell, name in zip(cells, names, strict=True):
        other = name is None or (name in exact and cell != name) or (name == "file" and name in columns)
        columns.append(cell if other or name is None else name)
    return columns


def _with_photo_column(
    columns: list[str], data: list[tuple[int, list[str]]], required: Sequence[str], is_known: IsKnown
) -> list[str]:
    """Where a column `file` is required and none has such a name: the column that names photos."""
    if "file" not in required or "file" in columns:
        return columns
    counts = [sum(is_known(cells[i]) for _, cells in data if i < len(cells)) for i in range(len(columns))]
    most = max(counts, default=0)
    if most == 0 or counts.count(most) > 1:
        return columns
    return [*columns[: counts.index(most)], "file", *columns[counts.index(most) + 1 :]]


def _is_data(cells: list[str], headerless: Sequence[str]) -> bool:
    """Whether a first line has coordinates, which a header has not."""
    for name, cell in zip(headerless, cells, strict=False):
        if name in _AXES and cell:
            try:
                parse_coordinate(cell, _AXES[name])
            except ValueError:
                return False
    return any(cells[i] for i, name in enumerate(headerless) if name in _AXES)


def _fit(
    path: Path, line: int, cells: list[str], columns: list[str], required: Sequence[str], layout: _Layout
) -> list[str]:
    """The cells of a row, one for each column: spreadsheets drop empty cells at the end, or add some."""
    if len(cells) > len(columns) and not any(cells[len(columns) :]):
        cells = cells[: len(columns)]
    absent = columns[len(cells) :]
    position = [name for name in _AXES if name in columns]
    needed = [*required, *(position if any(name not in absent for name in position) else [])]
    if len(cells) > len(columns) or any(name in absent for name in needed):
        hint = "correct the row"
        if layout.delimiter == ",":
            hint += " (a decimal comma cuts a number in two: write points, or separate by semicolons)"
        raise RowError(
            path, f"line {line}", f"{len(cells)} fields, expected {len(columns)} ({', '.join(columns)}); {hint}"
        )
    cells = [*cells, *([""] * len(absent))]
    if layout.delimiter == "," and _cut_at_commas(cells, columns):
        raise RowError(
            path,
            f"line {line}",
            "latitude and longitude are whole numbers with a number behind them: decimal commas in a comma-separated "
            "table have two meanings; write decimal points, or separate by semicolons",
        )
    return cells


def _cut_at_commas(cells: list[str], columns: list[str]) -> bool:
    """Whether 31,262,34,802 may have been two coordinates: whole degrees, and a whole number behind them."""
    if not all(name in columns for name in _AXES):
        return False
    first = min(columns.index(name) for name in _AXES)
    run = cells[first : first + 3]
    no_fix = run[:2] == ["0", "0"]
    return len(run) == 3 and not no_fix and all(_WHOLE.fullmatch(cell) for cell in run)


def _is_second_header(cells: list[str], columns: list[str], layout: _Layout) -> bool:
    """A header again (tables that were joined), or a row of units under it."""
    if layout.header < 0:
        return False
    if [canonical_name(cell) for cell in cells if cell] == [c for c in map(canonical_name, columns) if c]:
        return True
    header = layout.records[layout.header][1]
    if cells[: len(header)] == header[: len(cells)]:
        return True
    units = [cell for name, cell in zip(columns, cells, strict=True) if name in _AXES]
    return bool(units) and all(units) and all(cell.casefold().strip("()[]") in UNIT_CELLS for cell in units)
