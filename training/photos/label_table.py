"""Tables of labels, for photos without GPS in EXIF."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from campus_visual_gps.errors import DatasetError
from training.photos.tables import Row, read_rows

_REQUIRED = ("file", "latitude_deg", "longitude_deg")
_SYNONYMS = {"latitude": "latitude_deg", "longitude": "longitude_deg"}


@dataclass(frozen=True)
class Label:
    """A row of a table of labels; NaN, "" or None for empty cells. The position may be out of range."""

    file: str
    line: int
    latitude_deg: float
    longitude_deg: float
    captured_at: str
    session: str
    camera: str
    night: bool | None
    gps_accuracy_m: float
    altitude_m: float
    heading_deg: float


def read_label_table(path: Path) -> list[Label]:
    """Read a table with the columns file, latitude, longitude (degrees) and optional ones.

    Without a header line, the first three columns are these and others are ignored. Positions out of range are left to
    the caller to reject.

    Raises:
        DatasetError: A row is invalid, or a file has two rows.
    """
    rows = read_rows(path, _REQUIRED, _SYNONYMS, headerless=_REQUIRED)
    labels = [_to_label(row) for row in rows]
    lines: dict[str, int] = {}
    for label in labels:
        if label.file in lines:
            raise DatasetError(
                f"{path}, line {label.line}: {label.file} is labelled twice, also on line {lines[label.file]}; "
                "delete one of the rows"
            )
        lines[label.file] = label.line
    return labels


def match_files(labels: list[Label], files: list[str], path: Path) -> tuple[dict[str, Label], list[Label]]:
    """Find the photo of each label, by its path below the photo folder, or its file name if only one photo has it.

    Args:
        labels: Rows of the table.
        files: Paths of the photos below the photo folder.
        path: The table, for messages.

    Returns:
        The labels by file, and the labels without a file.

    Raises:
        DatasetError: Several photos have the file name of a label.
    """
    by_name = defaultdict(list)
    for file in files:
        by_name[PurePosixPath(file).name].append(file)
    known = set(files)
    matched: dict[str, Label] = {}
    missing: list[Label] = []
    for label in labels:
        found = [label.file] if label.file in known else by_name.get(label.file, [])
        if len(found) > 1:
            raise DatasetError(
                f"{path}, line {label.line}: {len(found)} photos are named {label.file}; write the path, "
                f"such as {found[0]}"
            )
        if found:
            matched[found[0]] = label
        else:
            missing.append(label)
    return matched, missing


def _to_label(row: Row) -> Label:
    latitude, longitude = row.number("latitude_deg"), row.number("longitude_deg")
    if math.isnan(latitude) != math.isnan(longitude):
        raise row.error("only one of latitude and longitude is given; fill both or neither")
    return Label(
        file=PurePosixPath(row.text("file", required=True).replace("\\", "/")).as_posix(),
        line=row.line,
        latitude_deg=latitude,
        longitude_deg=longitude,
        captured_at=_captured_at(row),
        session=row.text("session"),
        camera=row.text("camera"),
        night=row.flag("night"),
        gps_accuracy_m=row.number("gps_accuracy_m"),
        altitude_m=row.number("altitude_m"),
        heading_deg=row.number("heading_deg"),
    )


def _captured_at(row: Row) -> str:
    text = row.text("captured_at")
    try:
        # fromisoformat takes Z only from Python 3.11 on
        return datetime.fromisoformat(text.replace("Z", "+00:00")).isoformat() if text else ""
    except ValueError:
        raise row.error(
            f"column 'captured_at' holds '{text}', expected ISO 8601 such as 2025-12-22T09:47:11+02:00"
        ) from None
