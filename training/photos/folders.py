"""Lists a photo folder without what photo managers, operating systems and network drives add to it."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

PHOTO_SUFFIXES = (".heic", ".heif", ".hif", ".jpg", ".jpeg", ".png")
# Names of other pictures. What is in them decides: most are rejected, each by name, so that none is missed.
_OTHERS = ".avif .webp .gif .bmp .tif .tiff .jxl .jp2 .jpe .jfif .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf .pef .srw"
OTHER_IMAGE_SUFFIXES = (*_OTHERS.split(),)
# Names in small letters. Folders whose names begin with a dot are skipped too: .thumbnails, .@__thumb (QNAP),
# .Trash-1000, .stversions (Syncthing), .picasaoriginals, .dtrash (digiKam), .AppleDouble, .git and the like.
_THUMBNAILS = """thumbnail thumbnails thumb thumbs _thumb _thumbs @__thumb *.lrdata *.lrcat-data appdata_*"""
_EARLIER_VERSIONS = "[[]originals] __macosx #snapshot ~snapshot @recently-snapshot @gmt-* *.backupdb _gsdata_"
_DELETED = "$recycle.bin recycler recycled #recycle @recycle trash trashes lost+found lost.dir found.[0-9][0-9][0-9]"
_OF_DRIVES = "@eadir @tmp @sharebin @transcode @syno* #syno*"
_WITH_BLANKS = (
    *("ipod photo cache", "apple tv photo cache", "network trash folder", "temporary items"),
    "system volume information",
)
SKIPPED_FOLDERS = (*f"{_THUMBNAILS} {_EARLIER_VERSIONS} {_DELETED} {_OF_DRIVES}".split(), *_WITH_BLANKS)
# Libraries are folders that hold the photos in one sub-folder, and copies of them in others.
_LIBRARIES = ("*.photoslibrary", "*.photolibrary", "*.migratedphotolibrary", "*.aplibrary", "*.lrlibrary")
_ORIGINALS = ("originals", "masters")

_log = logging.getLogger(__name__)


@dataclass
class FolderListing:
    """What a folder holds.

    Attributes:
        files: All files but hidden ones and those in skipped folders.
        skipped: Number of photos in skipped folders, by the name of the folder; some may hold none.
        unreadable: Reasons by folder, or by file in iCloud, below the listed one.
    """

    files: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Folder:
    path: Path
    real: str  # its path without links, by which a folder is read once
    library: str = ""  # the name of the library whose copies it holds


def list_folder(folder: Path, dataset_dir: Path) -> FolderListing:
    """List the files below a folder, also through links, each folder once.

    A folder that cannot be read is named in the log and in the result, and does not stop the others.

    Args:
        folder: The photo folder.
        dataset_dir: The data set, which is not listed.
    """
    listing = FolderListing()
    top = _Folder(folder, os.path.realpath(folder))
    seen = {os.path.realpath(dataset_dir)}
    folders = [top]
    links: list[_Folder] = []
    # links come last, so that a photo has the name of the folder that it is in
    while folders or links:
        current = folders.pop() if folders else links.pop()
        if current.real in seen or (current is not top and _contains(current.real, top.real)):
            continue
        seen.add(current.real)
        found = list(_read(current, folder, listing))
        folders += [sub for sub, is_link in found if not is_link]
        links = sorted([*links, *(sub for sub, is_link in found if is_link)], key=lambda sub: sub.path, reverse=True)
    return listing


def _read(current: _Folder, top: Path, listing: FolderListing) -> Iterator[tuple[_Folder, bool]]:
    """Add the files of one folder to the listing. Yields its sub-folders, and whether they are links."""
    try:
        with os.scandir(current.path) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        name = current.path.relative_to(top).as_posix()
        listing.unreadable[name] = f"unreadable folder: {error.strerror}"
        _log.warning("%s: folder cannot be read (%s); give access to it and ingest again", current.path, error.strerror)
        return
    own_images = "images" if _is_dataset(current.path) else None
    library = current.path.name if _matches(current.path.name, _LIBRARIES) else current.library
    for entry in entries:
        path = current.path / entry.name
        if not _is_folder(entry):
            if library:
                listing.skipped[library] += _is_photo(entry.name)
            elif _is_in_icloud(entry.name):
                listing.unreadable[path.relative_to(top).as_posix()] = "in iCloud and not on this machine: download it"
            elif not entry.name.startswith("."):
                listing.files.append(path)
        elif entry.name == own_images or entry.name.startswith(".") or _matches(entry.name, SKIPPED_FOLDERS):
            listing.skipped[entry.name] += 0 if entry.is_symlink() else _count_photos(path)
        else:
            is_link = entry.is_symlink()
            real = os.path.realpath(path) if is_link else os.path.join(current.real, entry.name)  # noqa: PTH118
            yield _Folder(path, real, "" if entry.name.lower() in _ORIGINALS else library), is_link


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_dataset(folder: Path) -> bool:
    """Whether this program made a data set in a folder."""
    table = folder / "photos.csv"
    try:
        return table.is_file() and (folder / "rejected.csv").is_file() and table.read_bytes()[:8] == b"photo_id"
    except OSError:
        return False


def _contains(folder: str, other: str) -> bool:
    """Whether a folder is above another, so that a link to it is a loop."""
    return other.startswith(folder.rstrip(os.sep) + os.sep)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name.lower(), pattern) for pattern in patterns)


def _is_in_icloud(name: str) -> bool:
    """Whether a file stands for a photo that iCloud Drive has removed to save space: ".IMG_1.HEIC.icloud"."""
    return name.startswith(".") and name.endswith(".icloud") and _is_photo(name[: -len(".icloud")])


def _is_photo(name: str) -> bool:
    return name.lower().endswith(PHOTO_SUFFIXES)


def _count_photos(folder: Path) -> int:
    return sum(_is_photo(name) for _, _, names in os.walk(folder) for name in names)
