"""Tables of labels, for photos without GPS in EXIF."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from campus_visual_gps.errors import DatasetError
from training.photos.exif import PhotoExif
from training.photos.map_files import naming_cell, read_feature_rows
from training.photos.photo_names import PhotoNames
from training.photos.tables import Row
from training.photos.user_tables import UserRow

_REQUIRED = ("file", "latitude_deg", "longitude_deg")
# A site is much smaller. Latitude and longitude of a row are swapped if that brings it from far away to the others.
_SITE_DEG = 1.0


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


def read_label_table(path: Path, names: PhotoNames) -> list[Label]:
    """Read a table with the columns file, latitude, longitude (degrees) and optional ones, or the points of a map.

    Without a header line, the first three columns are these and others are ignored. Positions out of range are left to
    the caller to reject.

    Raises:
        DatasetError: A row is invalid, or a file has two rows.
    """
    rows = read_feature_rows(path, _REQUIRED, headerless=_REQUIRED, is_known=names.knows)
    labels = [_to_label(row, names) for row in rows]
    _check_not_swapped(path, labels)
    lines: dict[str, int] = {}
    for label in labels:
        if label.file in lines:
            raise DatasetError(
                f"{path}, line {label.line}: {label.file} is labelled twice, also on line {lines[label.file]}; "
                "delete one of the rows"
            )
        lines[label.file] = label.line
    return labels


def match_files(labels: list[Label], names: PhotoNames, path: Path) -> tuple[dict[str, Label], list[Label]]:
    """Find the photo of each label (PhotoNames.find_file).

    Args:
        labels: Rows of the table.
        names: The photos; their ids are their paths below the photo folder.
        path: The table, for messages.

    Returns:
        The labels by file, and the labels without a file.

    Raises:
        DatasetError: Several photos have the file name of a label, or two labels mean one photo.
    """
    matched: dict[str, Label] = {}
    missing: list[Label] = []
    for label in labels:
        found = names.find_file(label.file)
        if len(found) > 1:
            raise DatasetError(
                f"{path}, line {label.line}: {len(found)} photos are named {label.file}: {names.describe(found)}; "
                "write the path"
            )
        for file in found:
            if file in matched:
                first = matched[file]
                raise DatasetError(
                    f"{path}, line {label.line}: '{label.file}' is the photo {file}, as is '{first.file}' of line "
                    f"{first.line}; delete one of the rows, or write the path below the photo folder"
                )
            matched[file] = label
        if not found:
            missing.append(label)
    return matched, missing


def _check_not_swapped(path: Path, labels: list[Label]) -> None:
    """Raise DatasetError for a row whose latitude and longitude are in each other's column."""
    placed = [label for label in labels if not math.isnan(label.latitude_deg)]
    if not placed:
        return
    if all(abs(label.latitude_deg) > 90.0 and abs(label.longitude_deg) <= 90.0 for label in placed):
        raise DatasetError(f"{path}: every latitude is beyond 90 degrees and no longitude is; swap the two columns")
    centre = median(label.latitude_deg for label in placed), median(label.longitude_deg for label in placed)
    for label in placed:
        position = label.latitude_deg, label.longitude_deg
        if _apart_deg(position, centre) > _SITE_DEG >= _apart_deg(position[::-1], centre):
            raise DatasetError(
                f"{path}, line {label.line}: latitude {position[0]:g} and longitude {position[1]:g} of {label.file} "
                f"are swapped: the other rows are near {centre[0]:g}, {centre[1]:g}; correct the row"
            )


def check_against_exif(path: Path, labels: dict[str, Label], exif: dict[str, PhotoExif]) -> None:
    """Raise DatasetError for a label whose latitude and longitude are swapped, by the position in the photo's EXIF."""
    for file, label in labels.items():
        camera = exif.get(file, PhotoExif())
        own, position = (camera.latitude_deg, camera.longitude_deg), (label.latitude_deg, label.longitude_deg)
        if _apart_deg(position, own) > _SITE_DEG >= _apart_deg(position[::-1], own):
            raise DatasetError(
                f"{path}, line {label.line}: latitude {position[0]:g} and longitude {position[1]:g} of {file} are "
                f"swapped: its EXIF has {own[0]:g}, {own[1]:g}; correct the row, or swap the columns"
            )


def _apart_deg(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _to_label(row: UserRow, names: PhotoNames) -> Label:
    latitude, longitude = row.number("latitude_deg"), row.number("longitude_deg")
    if math.isnan(latitude) != math.isnan(longitude):
        raise row.error("only one of latitude and longitude is given; fill both or neither")
    return Label(
        file=naming_cell(row, names.knows) or row.text("file", required=True),
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
