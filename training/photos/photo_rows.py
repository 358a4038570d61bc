"""Rows of photos.csv: values of the table of labels, else of the EXIF."""

from __future__ import annotations

import math
from pathlib import PurePosixPath

import pandas as pd

from training.photos.decode import DecodedPhoto
from training.photos.exif import PhotoExif
from training.photos.label_table import Label
from training.photos.manifest import PHOTO_COLUMNS
from training.photos.photo_file import one_line
from training.photos.sessions import Folders, SessionsBy, assign_sessions, instants_s, is_night

_EXIF_COLUMNS = ("captured_at", "camera", "altitude_m", "gps_accuracy_m", "heading_deg")


def has_position(label: Label | None) -> bool:
    """Whether the table gives a position, which may be out of range."""
    return label is not None and not math.isnan(label.latitude_deg)


def position_of(photo: DecodedPhoto, label: Label | None) -> tuple[float, float]:
    """Latitude and longitude, degrees."""
    source = photo.exif if label is None or not has_position(label) else label
    return source.latitude_deg, source.longitude_deg


def to_table(
    photos: list[DecodedPhoto],
    labels: dict[str, Label],
    sessions_by: SessionsBy = SessionsBy.FOLDER,
    folders: Folders = Folders.SESSION,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The table photos.csv (PHOTO_COLUMNS), in the order of the photos; and reasons by file for those without a row.

    A session in the table of labels counts.
    """
    rows, rejected = [], {}
    for photo in photos:
        try:
            rows.append(_to_row(photo, labels.get(photo.file)))
        except Exception as error:  # no photo stops an ingest, whatever its date or position does to a library
            rejected[photo.file] = f"no row can be made of it: {type(error).__name__}: {one_line(error)}"
    table = pd.DataFrame(rows, columns=list(PHOTO_COLUMNS))
    unnamed = table["session"] == ""
    if unnamed.any():
        files, times, longitudes = (list(table[unnamed][name]) for name in ("file", "captured_at", "longitude_deg"))
        if folders is not Folders.SESSION:
            files = [PurePosixPath(file).name for file in files]
        table.loc[unnamed, "session"] = assign_sessions(files, times, longitudes, sessions_by)
    table["night"] = table["night"].astype("boolean")
    return table, rejected


def position_sources(photos: pd.DataFrame) -> list[str]:
    """One line for each source that gave positions which the EXIF lacks."""
    counts = photos["label_source"].value_counts()
    names = {"takeout": "the JSON files of Google Takeout", "xmp": "XMP"}
    return [
        f"{counts[source]} photos have no position in the EXIF: taken from {name} (label_source {source})"
        for source, name in names.items()
        if source in counts
    ]


def size_warnings(photos: pd.DataFrame, stored_px: int, asked_px: int | None) -> list[str]:
    """A line if the data set keeps larger copies than were asked for, and one if originals are smaller than them."""
    lines = []
    if asked_px is not None and asked_px < stored_px:
        lines.append(
            f"the stored copies stay at {stored_px} px, from which every smaller size can be trained; --shrink stores "
            f"them at {asked_px} px"
        )
    small = photos[photos[["width_px", "height_px"]].max(axis=1) < stored_px]
    if len(small):
        first = small.iloc[0]
        lines.append(
            f"{len(small)} photos are smaller than the stored {stored_px} px, so that their copies are enlargements "
            f"without more detail (the first is {first['file']}: {first['width_px']} x {first['height_px']} px)"
        )
    return lines


def _to_row(photo: DecodedPhoto, label: Label | None) -> dict:
    latitude, longitude = position_of(photo, label)
    row = {column: _first_known(label, photo.exif, column) for column in _EXIF_COLUMNS}
    captured_at = str(row["captured_at"])
    instants_s([captured_at], [longitude])  # raises for a time that cannot be compared with others
    night = label.night if label else None
    return row | {
        "photo_id": photo.photo_id,
        "file": photo.file,
        "session": label.session if label else "",
        "latitude_deg": latitude,
        "longitude_deg": longitude,
        "night": is_night(captured_at, latitude, longitude) if night is None else night,
        "width_px": photo.width_px,
        "height_px": photo.height_px,
        "label_source": "table" if has_position(label) else photo.exif.position_source,
    }


def _first_known(label: Label | None, exif: PhotoExif, column: str) -> str | float:
    """The table's value, or the EXIF's if the table has "" or NaN, which is not equal to itself."""
    value = getattr(label, column, "")
    return value if value != "" and value == value else getattr(exif, column)
