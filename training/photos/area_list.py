"""Lists of photos with their areas: a table of the user, and areas_by_photo.csv, which `ingest` writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from training.photos.map_files import kind_of_map
from training.photos.sessions import Folders, folder_session
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


def write_areas_by_photo(
    dataset_dir: Path, photos: pd.DataFrame, labelled: Mapping[str, str], folders: Folders
) -> dict[str, int]:
    """Write the areas that folders or a table of labels give: areas_by_photo.csv with photo_id, file and area.

    Args:
        dataset_dir: The data set.
        photos: The new photos.csv.
        labelled: Areas by file, of the table of labels; they go before folders.
        folders: What sub-folders are.

    Returns:
        Number of photos by area. Nothing is written without any.

    Raises:
        DatasetError: The file cannot be written.
    """
    by_folder = folders is Folders.AREA
    areas = [labelled.get(file) or (folder_session(file) if by_folder else "") for file in photos["file"]]
    table = photos[["photo_id", "file"]].assign(area=areas)
    table = table[table["area"] != ""]
    if len(table):
        write_table(Path(dataset_dir) / AREAS_BY_PHOTO_CSV, table)
    return table["area"].value_counts().sort_index().to_dict()
