"""Rows of photos.csv: values of the table of labels, else of the EXIF."""

from __future__ import annotations

import math

import pandas as pd

from training.photos.decode import DecodedPhoto
from training.photos.exif import PhotoExif
from training.photos.label_table import Label
from training.photos.manifest import PHOTO_COLUMNS
from training.photos.sessions import folder_session, gap_sessions, is_night

_EXIF_COLUMNS = ("captured_at", "camera", "altitude_m", "gps_accuracy_m", "heading_deg")


def has_position(label: Label | None) -> bool:
    """Whether the table gives a position, which may be out of range."""
    return label is not None and not math.isnan(label.latitude_deg)


def position_of(photo: DecodedPhoto, label: Label | None) -> tuple[float, float]:
    """Latitude and longitude, degrees."""
    source = photo.exif if label is None or not has_position(label) else label
    return source.latitude_deg, source.longitude_deg


def to_table(photos: list[DecodedPhoto], labels: dict[str, Label]) -> pd.DataFrame:
    """The table photos.csv (PHOTO_COLUMNS), in the order of the photos."""
    table = pd.DataFrame([_to_row(photo, labels.get(photo.file)) for photo in photos])
    by_gap = table["session"] == ""
    if by_gap.any():
        rest = table[by_gap]
        table.loc[by_gap, "session"] = gap_sessions(list(rest["captured_at"]), list(rest["longitude_deg"]))
    table["night"] = table["night"].astype("boolean")
    return table[list(PHOTO_COLUMNS)]


def _to_row(photo: DecodedPhoto, label: Label | None) -> dict:
    latitude, longitude = position_of(photo, label)
    row = {column: _first_known(label, photo.exif, column) for column in _EXIF_COLUMNS}
    night = label.night if label else None
    return row | {
        "photo_id": photo.photo_id,
        "file": photo.file,
        "session": (label.session if label else "") or folder_session(photo.file),
        "latitude_deg": latitude,
        "longitude_deg": longitude,
        "night": is_night(str(row["captured_at"]), latitude, longitude) if night is None else night,
        "width_px": photo.width_px,
        "height_px": photo.height_px,
        "label_source": "table" if has_position(label) else "exif",
    }


def _first_known(label: Label | None, exif: PhotoExif, column: str) -> str | float:
    """The table's value, or the EXIF's if the table has "" or NaN, which is not equal to itself."""
    value = getattr(label, column, "")
    return value if value != "" and value == value else getattr(exif, column)
