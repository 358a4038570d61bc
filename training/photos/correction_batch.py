"""One file of corrections: a table, or the points of a map.

A row names its photo by `photo_id` or by `file` (the path below the photo folder, or the file name if only one photo
has it); both must mean one photo. Its `decision` is one of those in decisions.py; an empty one means `label` and needs
a position. A position in a row `train` corrects the label too; with another decision it is not used. `gps_accuracy_m`
(or `accuracy_m`, `accuracy`) is the accuracy of the corrected position. A map names the photo in the name of its
point, or in one of the point's data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.photos.decisions import LABEL, TRAIN, parse_decision
from training.photos.exif import position_problem
from training.photos.map_files import naming_cell, read_feature_rows, warn_if_rounded
from training.photos.photo_id import is_photo_id
from training.photos.photo_names import PhotoNames
from training.photos.row_errors import OnError, RowError, report_or_raise
from training.photos.user_tables import UserRow


class UnknownPhotoError(RowError):
    """A row whose photo is not in the data set."""


@dataclass(frozen=True)
class Correction:
    """A row of a file of corrections; the position is NaN if the row has none.

    `accuracy_m` is that of the corrected position, 1 sigma in metres; NaN if the row has none.
    """

    photo_id: str
    latitude_deg: float
    longitude_deg: float
    accuracy_m: float
    decision: str
    row: UserRow

    @property
    def batch(self) -> str:
        return self.row.path.name

    @property
    def moves(self) -> bool:
        """Whether the row corrects the position."""
        return self.decision in (LABEL, TRAIN) and not math.isnan(self.latitude_deg)


def read_batch(path: Path, names: PhotoNames, on_error: OnError | None = None) -> list[Correction]:
    """The rows of a file of corrections.

    Args:
        path: The file.
        names: The photos.
        on_error: Takes each invalid row, which is left out; None raises the error. Of rows that say different things
            of one photo all are.

    Raises:
        DatasetError: The file cannot be read, or, without `on_error`, a row is invalid.
    """
    corrections: dict[str, Correction] = {}
    contradicted: dict[str, list[Correction]] = {}
    for row in read_feature_rows(path, is_known=names.knows, on_error=on_error):
        try:
            correction = to_correction(row, names)
        except RowError as error:
            report_or_raise(error, on_error)
            continue
        first = corrections.setdefault(correction.photo_id, correction)
        if on_error is None and first is not correction:
            raise row.error(f"repeats the photo of {first.row.place}; delete one of the rows")
        if not _says_the_same(first, correction):
            contradicted.setdefault(correction.photo_id, [first]).append(correction)
    for rows in contradicted.values():
        for one, other in zip(rows, [*rows[1:], rows[0]], strict=True):
            report_or_raise(one.row.error(f"contradicts {other.row.place} on the same photo; delete one"), on_error)
        del corrections[rows[0].photo_id]
    kept = list(corrections.values())
    warn_if_rounded(path, [(one.latitude_deg, one.longitude_deg) for one in kept if one.moves])
    return kept


def _says_the_same(one: Correction, other: Correction) -> bool:
    first, second = ((own.latitude_deg, own.longitude_deg, own.accuracy_m) for own in (one, other))
    return one.decision == other.decision and np.array_equal(first, second, equal_nan=True)


def to_correction(row: UserRow, names: PhotoNames) -> Correction:
    """What a row of a user's table says. Raises RowError."""
    photo_id = _find_photo(row, names)
    try:
        decision = parse_decision(row.text("decision")) or LABEL
    except ValueError as error:
        raise row.error(f"{error}; correct the row") from None
    latitude, longitude = _position(row)
    if decision == LABEL and math.isnan(latitude):
        raise row.error("gives no position; fill latitude_deg and longitude_deg, or set another decision")
    return Correction(photo_id, latitude, longitude, _accuracy(row), decision, row)


def _accuracy(row: UserRow) -> float:
    accuracy_m = row.number("gps_accuracy_m")
    if accuracy_m <= 0.0:
        raise row.error(f"accuracy {accuracy_m:g} m, expected more than 0; correct it or empty it")
    return accuracy_m


def _find_photo(row: UserRow, names: PhotoNames) -> str:
    """The photo_id of the photo that a row means. Raises DatasetError if none or several do."""
    photo_id, file = row.text("photo_id"), row.text("file")
    if photo_id and file:
        found = (_by_id(photo_id, names) & names.find_file(file)) or _contradiction(row, names, photo_id, file)
    elif photo_id:
        found = _by_id(photo_id, names) or names.find_file(photo_id)
    else:
        file = naming_cell(row, names.knows)
        found = names.find_id(file) or names.find_file(file) or names.find_number(file)
    key = photo_id or file
    if not key:
        raise row.error("names no photo; fill photo_id or file (in a map: the name of the point)")
    if not found:
        raise UnknownPhotoError(row.path, row.place, f"no photo '{key}' in the data set{_hint(file or key, names)}")
    if len(found) > 1:
        raise row.error(
            f"{len(found)} photos are named '{key}': {names.describe(found)}; give the path or the photo_id"
        )
    return next(iter(found))


def _hint(key: str, names: PhotoNames) -> str:
    others = names.find_file(key) or names.same_name(key)
    if others:
        return f"; is it {names.describe(others)}? Then name that, and no other photo_id"
    return "; correct the name or delete the row"


def _by_id(photo_id: str, names: PhotoNames) -> set[str]:
    return names.find_id(photo_id) or names.find_number(photo_id)


def _contradiction(row: UserRow, names: PhotoNames, photo_id: str, file: str) -> set[str]:
    by_id, by_file = _by_id(photo_id, names), names.find_file(file)
    if by_id and by_file:
        raise row.error(
            f"photo_id '{photo_id}' is {names.describe(by_id)}, file '{file}' is {names.describe(by_file)}; correct one"
        )
    # a photo that was renamed, or an id of which a spreadsheet has left no digit
    return by_id or (set() if is_photo_id(photo_id) else by_file)


def _position(row: UserRow) -> tuple[float, float]:
    """Latitude and longitude in degrees, both NaN if the row has none. Raises DatasetError."""
    latitude, longitude = row.number("latitude_deg"), row.number("longitude_deg")
    if math.isnan(latitude) and math.isnan(longitude):
        return latitude, longitude
    problem = position_problem(latitude, longitude)
    if problem:
        raise row.error(f"{problem}; correct the row")
    return latitude, longitude
