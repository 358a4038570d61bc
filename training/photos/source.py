"""The photo folder: which files below it are photos."""

from __future__ import annotations

import os
from pathlib import Path

from campus_visual_gps.errors import DatasetError

PHOTO_SUFFIXES = (".heic", ".heif", ".hif", ".jpg", ".jpeg", ".png")


def find_photos(photo_dir: Path, dataset_dir: Path) -> tuple[dict[str, Path], int]:
    """-> paths by their name below the folder, sorted, and how many files are no photos. Raises DatasetError."""
    if not photo_dir.is_dir():
        raise DatasetError(f"{photo_dir}: no such folder; give the folder that holds the photos")
    if photo_dir.resolve() in (dataset_dir.resolve(), (dataset_dir / "images").resolve()):
        raise DatasetError(f"{dataset_dir}: the data set needs a directory of its own, not that of the photos")
    paths, ignored = {}, 0
    for path in _walk(photo_dir, skipped=dataset_dir.resolve()):
        if path.suffix.lower() in PHOTO_SUFFIXES:
            paths[path.relative_to(photo_dir).as_posix()] = path
        else:
            ignored += 1
    if not paths:
        raise DatasetError(f"{photo_dir}: no photos in this folder (looked for {', '.join(PHOTO_SUFFIXES)})")
    return dict(sorted(paths.items())), ignored


def _walk(folder: Path, skipped: Path) -> list[Path]:
    """Files below a folder, through links too (each folder once); hidden ones hold thumbnails and the like."""
    files, seen = [], {skipped}
    for root, folders, names in os.walk(folder, followlinks=True):
        seen.add(Path(root).resolve())
        folders[:] = [f for f in folders if not f.startswith(".") and (Path(root) / f).resolve() not in seen]
        files += [Path(root) / name for name in names if not name.startswith(".")]
    return files
