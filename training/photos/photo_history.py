"""Earlier ids and paths of photos, so that corrections and splits hold when folders are moved and photos written anew.

former_names.csv has a row for every pair of photo_id and path that photos.csv once had and has no more.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from training.photos.photo_names import PhotoNames
from training.photos.tables import read_table, write_table

FORMER_NAMES_CSV = "former_names.csv"
_COLUMNS = {"former_photo_id": "text", "file": "text"}


def read_former_names(dataset_dir: Path) -> list[tuple[str, str]]:
    """Earlier (photo_id, path) of the photos, the latest first. Raises DatasetError."""
    path = Path(dataset_dir) / FORMER_NAMES_CSV
    if not path.exists():
        return []
    table = read_table(path, _COLUMNS)
    return list(zip(table["former_photo_id"], table["file"], strict=True))[::-1]


def keep_former_names(dataset_dir: Path, before: pd.DataFrame, after: pd.DataFrame) -> None:
    """Add the names that photos of `before` have no more in `after`, both with the columns of photos.csv.

    Raises:
        DatasetError: The file is damaged, or cannot be written.
    """
    now = set(zip(after["photo_id"], after["file"], strict=True))
    known = read_former_names(dataset_dir)[::-1]
    gone = [pair for pair in zip(before["photo_id"], before["file"], strict=True) if pair not in now]
    names = [pair for pair in dict.fromkeys([*known, *gone]) if pair not in now]
    if names != known:
        write_table(Path(dataset_dir) / FORMER_NAMES_CSV, pd.DataFrame(names, columns=list(_COLUMNS)))


def names_of(dataset_dir: Path, photos: pd.DataFrame) -> PhotoNames:
    """The photos of a data set by their names, also earlier ones. Raises DatasetError."""
    return PhotoNames(zip(photos["photo_id"], photos["file"], strict=True), read_former_names(dataset_dir))
