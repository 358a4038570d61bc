"""One file of corrections: a CSV table, or a Google My Maps export.

A row names its photo by `photo_id` or by `file` (the path below the photo folder, or the file name if only one photo
has it). Its `decision` is one of (paper, section 3.5):

    label    the position was wrong; latitude_deg and longitude_deg hold the correct one
    keep     the label was reviewed and is correct; a position in the row is not used
    exclude  do not use the photo (blurred, a face, another site)
    train    move the photo to the training subset, whatever its session; a position in the row corrects the label

An empty decision means `label` and needs a position. Later rows add to earlier rows on the same photo: `exclude` and
`train` hold until their row is deleted, the later of the two wins, and `label` and `keep` do not undo them. A My Maps
export has a column `WKT` with POINT (longitude latitude), and names the photo in the column `name`.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from training.photos.exif import position_problem
from training.photos.tables import Row, read_rows

LABEL, KEEP, EXCLUDE, TRAIN = "label", "keep", "exclude", "train"
DECISIONS = (LABEL, KEEP, EXCLUDE, TRAIN)

_NUMBER = r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)"
_WKT_POINT = re.compile(rf"POINT\s*Z?\s*\(\s*{_NUMBER}\s+{_NUMBER}(?:\s+{_NUMBER})?\s*\)", re.IGNORECASE)
_SYNONYMS = {"latitude": "latitude_deg", "longitude": "longitude_deg"}


@dataclass(frozen=True)
class Correction:
    """A row of a file of corrections; the position is NaN if the row has none."""

    photo_id: str
    latitude_deg: float
    longitude_deg: float
    decision: str
    row: Row

    @property
    def batch(self) -> str:
        return self.row.path.name

    @property
    def moves(self) -> bool:
        """Whether the row corrects the position."""
        return self.decision in (LABEL, TRAIN) and not math.isnan(self.latitude_deg)


class PhotoIndex:
    """Finds photos by photo_id, path or file name."""

    def __init__(self, photos: pd.DataFrame):
        self._ids_by_key = defaultdict(set)
        for photo_id, file in zip(photos["photo_id"], photos["file"], strict=True):
            for key in {photo_id, file, PurePosixPath(file).name}:
                self._ids_by_key[key].add(photo_id)
        # A path takes precedence over the same text as a file name: "a.jpg" and "walk/a.jpg".
        self._ids_by_key.update({file: {i} for i, file in zip(photos["photo_id"], photos["file"], strict=True)})

    def find(self, key: str, row: Row) -> str:
        """The photo_id of a photo. Raises DatasetError if no photo or several photos match."""
        found = self._ids_by_key.get(key, set())
        if not found:
            raise row.error(f"no photo '{key}' in the data set; correct the name or delete the row")
        if len(found) > 1:
            raise row.error(f"{len(found)} photos are named '{key}'; give the path or the photo_id")
        return next(iter(found))


def read_batch(path: Path, index: PhotoIndex) -> list[Correction]:
    """All rows of a file of corrections. Raises DatasetError with the line of an invalid row."""
    rows = read_rows(path, synonyms=_SYNONYMS)
    corrections = [_to_correction(row, index) for row in rows]
    lines: dict[str, int] = {}
    for correction in corrections:
        if correction.photo_id in lines:
            first = lines[correction.photo_id]
            raise correction.row.error(f"repeats the photo of line {first}; delete one of the rows")
        lines[correction.photo_id] = correction.row.line
    return corrections


def _to_correction(row: Row, index: PhotoIndex) -> Correction:
    key = row.text("photo_id") or row.text("file") or row.text("name")
    if not key:
        raise row.error("names no photo; fill photo_id or file (in a My Maps export: name)")
    decision = row.text("decision").lower() or LABEL
    if decision not in DECISIONS:
        raise row.error(f"unknown decision '{decision}', expected one of {', '.join(DECISIONS)}")
    latitude, longitude = _position(row)
    if decision == LABEL and math.isnan(latitude):
        raise row.error("gives no position; fill latitude_deg and longitude_deg, or set another decision")
    return Correction(index.find(key, row), latitude, longitude, decision, row)


def _position(row: Row) -> tuple[float, float]:
    """Latitude and longitude in degrees, both NaN if the row has none. Raises DatasetError."""
    wkt = row.text("WKT")
    if wkt:
        point = _WKT_POINT.fullmatch(wkt)
        if not point:
            raise row.error(f"column 'WKT' holds '{wkt}', expected POINT (longitude latitude)")
        longitude, latitude = float(point[1]), float(point[2])
    else:
        latitude, longitude = row.number("latitude_deg"), row.number("longitude_deg")
        if math.isnan(latitude) and math.isnan(longitude):
            return latitude, longitude
    problem = position_problem(latitude, longitude)
    if problem:
        raise row.error(f"{problem}; correct the row")
    return latitude, longitude
