"""The photo folder: the photos in it, and what it holds beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from campus_visual_gps.errors import DatasetError
from training.photos.csv_text import name_in_tables
from training.photos.folders import OTHER_IMAGE_SUFFIXES, PHOTO_SUFFIXES, FolderListing, list_folder
from training.photos.sidecars import find_sidecars


@dataclass(frozen=True)
class PhotoFolder:
    """What a photo folder holds. Names of files are paths below the folder.

    Attributes:
        photos: Paths by file, sorted; also of pictures in formats that are not read.
        sidecars: The metadata files beside a photo, by file.
        other_files: Number of files that are neither.
        skipped: Photos in folders of photo managers and systems, which are not read, by the folder's name.
        unreadable: Reasons by folder, or by file in iCloud.
    """

    photos: dict[str, Path]
    sidecars: dict[str, tuple[Path, ...]]
    other_files: int
    skipped: dict[str, int]
    unreadable: dict[str, str]


def find_photos(photo_dir: Path, dataset_dir: Path) -> PhotoFolder:
    """Find all photos below a folder.

    Raises:
        DatasetError: The folder is missing, cannot be read, has no photos, or is the data set itself.
    """
    if not photo_dir.is_dir():
        raise DatasetError(f"{photo_dir}: no such folder; give the folder that holds the photos")
    if photo_dir.resolve() in (dataset_dir.resolve(), (dataset_dir / "images").resolve()):
        raise DatasetError(f"{dataset_dir}: expected a directory apart from the photos, got the photo folder")
    listing = list_folder(photo_dir, dataset_dir)
    photos = [path for path in listing.files if path.suffix.lower() in PHOTO_SUFFIXES + OTHER_IMAGE_SUFFIXES]
    skipped = {name: count for name, count in sorted(listing.skipped.items()) if count}
    if not photos:
        raise DatasetError(_no_photos(photo_dir, skipped, listing))
    sidecars = find_sidecars(photos, listing.files)
    return PhotoFolder(
        photos=dict(sorted((_name(path, photo_dir), path) for path in photos)),
        sidecars={_name(path, photo_dir): found for path, found in sidecars.items()},
        other_files=len(listing.files) - len(photos) - len({path for found in sidecars.values() for path in found}),
        skipped=skipped,
        unreadable=listing.unreadable,
    )


def _name(path: Path, photo_dir: Path) -> str:
    return name_in_tables(path.relative_to(photo_dir).as_posix())


def _no_photos(photo_dir: Path, skipped: dict[str, int], listing: FolderListing) -> str:
    message = f"{photo_dir}: no photos in this folder (looked for {', '.join(PHOTO_SUFFIXES)})"
    if listing.unreadable:
        first, reason = next(iter(listing.unreadable.items()))
        message += f"; {len(listing.unreadable)} could not be read, the first is '{first}': {reason}"
    if skipped:
        name, count = next(iter(skipped.items()))
        message += f"; {count} photos in '{name}' were skipped, as it looks like a folder of a program: rename it"
    archives = [path.name for path in listing.files if path.suffix.lower() in (".zip", ".tgz", ".gz", ".7z", ".rar")]
    if archives:
        message += f"; unpack the {len(archives)} archives, the first is '{archives[0]}'"
    return message
