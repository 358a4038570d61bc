"""Tables of labels, for photos without GPS in EXIF."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from campus_visual_gps.errors import DatasetError
from training.photos.capture_time import parse_time
from training.photos.exif import PhotoExif
from training.photos.map_files import naming_cell, read_feature_rows, warn_if_rounded
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
    area: str
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
    warn_if_rounded(path, [_position(label) for label in labels])
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
    """Raise DatasetError for a row whose latitude and longitude are in each other's column, by the other rows."""
    placed = [label for label in labels if not math.isnan(label.latitude_deg)]
    if placed and all(abs(label.latitude_deg) > 90.0 >= abs(label.longitude_deg) for label in placed):
        raise DatasetError(f"{path}: every latitude is beyond 90 degrees and no longitude is; swap the two columns")
    # one row for each square degree: a site has one or two
    cells = {(round(label.latitude_deg), round(label.longitude_deg)): label for label in placed}
    counts = Counter((round(label.latitude_deg), round(label.longitude_deg)) for label in placed)
    for cell, label in sorted(cells.items(), key=lambda item: counts[item[0]]):
        for other in cells.values():
            own, place = _position(label), _position(other)
            if _apart_deg(own, place) > _SITE_DEG >= _apart_deg(own[::-1], place) and counts[cell] <= len(placed) / 2:
                first = next(one for one in placed if (round(one.latitude_deg), round(one.longitude_deg)) == cell)
                raise DatasetError(
                    f"{path}, line {first.line}: latitude {first.latitude_deg:g} and longitude {first.longitude_deg:g} "
                    f"are swapped, or those of line {other.line}, {place[0]:g} and {place[1]:g}; correct the row"
                )


def _position(label: Label) -> tuple[float, float]:
    return label.latitude_deg, label.longitude_deg


def check_against_exif(path: Path, labels: dict[str, Label], exif: dict[str, PhotoExif]) -> None:
    """Raise DatasetError for a label whose latitude and longitude are swapped, by the position in the photo's EXIF."""
    for file, label in labels.items():
        camera = exif.get(file, PhotoExif())
        own, position = (camera.latitude_deg, camera.longitude_deg), _position(label)
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
        area=row.text("area"),
        camera=row.text("camera"),
        night=row.flag("night"),
        gps_accuracy_m=row.number("gps_accuracy_m"),
        altitude_m=row.number("altitude_m"),
        heading_deg=row.number("heading_deg"),
    )


def _captured_at(row: Row) -> str:
    text = row.text("captured_at")
    time = parse_time(text)
    if text and time is None:  # a date alone is no time: midnight would make night of every photo
        raise row.error(
            f"column 'captured_at' holds '{text}', expected date and time in ISO 8601 such as 2025-12-22T09:47:11+02:00"
        )
    return time.isoformat() if time else ""
