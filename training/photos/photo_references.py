"""Rows of users' tables that mean photos: a list of photos to look at, areas of photos."""

from __future__ import annotations

from training.photos.map_files import naming_cell
from training.photos.photo_names import PhotoNames
from training.photos.user_tables import UserRow


def row_photos(row: UserRow, names: PhotoNames) -> set[str]:
    """The ids of the photos that a row means, by photo_id, else by file or name: one, none, or several."""
    photo_id = row.text("photo_id")
    if photo_id:
        found = names.find_id(photo_id) or names.find_number(photo_id) or names.find_file(photo_id)
        if found:
            return found
    file = naming_cell(row, names.knows)
    return names.find_id(file) or names.find_file(file)
