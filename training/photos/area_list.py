"""Lists of photos with their areas: a table of the user, and areas_by_photo.csv, which `ingest` writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from training.photos.map_files import kind_of_map
from training.photos.tables import read_bytes, write_table
from training.photos.user_tables import UserRow, read_user_rows

AREAS_BY_PHOTO_CSV = "areas_by_photo.csv"
_NAMES_PHOTO = ("photo_id", "file")


def is_area_list(path: Path) -> bool:
    """Whether a file is a table with the areas of photos, and no map or table of corners. Raises DatasetError."""
    if kind_of_map(path, read_bytes(path)):
        return False
    rows = read_user_rows(path)
    return any("area" in row.values and any(name in row.values for name in _NAMES_PHOTO) for row in rows[:1])


def read_area_list(path: Path) -> list[UserRow]:
    """The rows of photos with an area. Raises DatasetError."""
    return [row for row in read_user_rows(path, required=("area",)) if row.text("area")]


def write_areas_by_photo(dataset_dir: Path, areas: Mapping[str, str], files: Mapping[str, str]) -> None:
    """Write areas_by_photo.csv: photo_id, file, area. Raises DatasetError.

    Args:
        dataset_dir: The data set.
        areas: Areas by photo_id.
        files: Paths below the photo folder by photo_id.
    """
    rows = [{"photo_id": photo_id, "file": files[photo_id], "area": area} for photo_id, area in areas.items()]
    write_table(Path(dataset_dir) / AREAS_BY_PHOTO_CSV, pd.DataFrame(rows, columns=["photo_id", "file", "area"]))
