"""The photo folder: finds the photos in it."""

from __future__ import annotations

import os
from pathlib import Path

from campus_visual_gps.errors import DatasetError
from training.photos.csv_text import name_in_tables

PHOTO_SUFFIXES = (".heic", ".heif", ".hif", ".jpg", ".jpeg", ".png")


def find_photos(photo_dir: Path, dataset_dir: Path) -> tuple[dict[str, Path], int]:
    """Find all photos below a folder.

    Returns:
        Paths by their name below the folder, sorted; and the number of other files.

    Raises:
        DatasetError: The folder is missing, has no photos, or is the data set itself.
    """
    if not photo_dir.is_dir():
        raise DatasetError(f"{photo_dir}: no such folder; give the folder that holds the photos")
    if photo_dir.resolve() in (dataset_dir.resolve(), (dataset_dir / "images").resolve()):
        raise DatasetError(f"{dataset_dir}: expected a directory apart from the photos, got the photo folder")
    paths: dict[str, Path] = {}
    ignored = 0
    for path in _walk(photo_dir, skipped=dataset_dir.resolve()):
        if path.suffix.lower() in PHOTO_SUFFIXES:
            paths[name_in_tables(path.relative_to(photo_dir).as_posix())] = path
        else:
            ignored += 1
    if not paths:
        raise DatasetError(f"{photo_dir}: no photos in this folder (looked for {', '.join(PHOTO_SUFFIXES)})")
    return dict(sorted(paths.items())), ignored


def _walk(folder: Path, skipped: Path) -> list[Path]:
    """Files below a folder, also through links (each folder once), without hidden ones such as thumbnails."""
    files: list[Path] = []
    seen = {skipped}
    for root, folders, names in os.walk(folder, followlinks=True):
        seen.add(Path(root).resolve())
        folders[:] = [f for f in folders if not f.startswith(".") and (Path(root) / f).resolve() not in seen]
        files += [Path(root) / name for name in names if not name.startswith(".")]
    return files
