"""The files of the directory corrections/: which are applied, and which are something else."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from campus_visual_gps.errors import DatasetError
from training.console import logging_level
from training.photos.map_files import MAP_SUFFIXES, read_feature_rows

_TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
# Other programs write such files too: they are applied if their content is a table, or a map.
_BY_CONTENT = (".txt", ".json")
# Hidden on the system that makes them: locks of office programs, thumbnails and settings of folders.
_HIDDEN = (".", "~$")
_HIDDEN_NAMES = ("thumbs.db", "desktop.ini", "icon\r")
_SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers", ".fods", ".gsheet")


@dataclass(frozen=True)
class CorrectionFiles:
    """Contents of corrections/.

    Attributes:
        batches: Files to apply, in name order.
        unread: One line for each other file or folder: its path, and what to do.
    """

    batches: tuple[Path, ...]
    unread: tuple[str, ...]


def find_correction_files(dataset_dir: Path) -> CorrectionFiles:
    """List corrections/, without hidden files. Raises DatasetError if it cannot be listed."""
    directory = Path(dataset_dir) / "corrections"
    try:
        paths = sorted(directory.iterdir()) if directory.exists() else []
    except OSError as error:
        raise DatasetError(f"{directory}: cannot be listed: {error.strerror}") from error
    paths = [path for path in paths if not _is_hidden(path.name)]
    batches = tuple(path for path in paths if _is_batch(path))
    return CorrectionFiles(
        batches, tuple(f"{path}: not read: {_advice(path)}" for path in paths if path not in batches)
    )


def _is_hidden(name: str) -> bool:
    return name.startswith(_HIDDEN) or name.lower() in _HIDDEN_NAMES


def _is_batch(path: Path) -> bool:
    suffix = path.suffix.lower()
    if not path.is_file() or suffix not in (*_TABLE_SUFFIXES, *MAP_SUFFIXES):
        return False
    return suffix not in _BY_CONTENT or _has_rows(path)


def _has_rows(path: Path) -> bool:
    try:
        with logging_level("training.photos", logging.CRITICAL):  # a remark is due when the file is applied
            read_feature_rows(path)
    except DatasetError:
        return False
    return True


def _advice(path: Path) -> str:
    suffix = path.suffix.lower()
    if path.is_dir():
        return "a folder; move its files into corrections/"
    if suffix in _SPREADSHEETS:
        return "a workbook; save its sheet as CSV UTF-8"
    if suffix in _BY_CONTENT:
        return "holds no table or points with the names of columns; write a header line, or move it away"
    return f"expected a table or map ({', '.join((*_TABLE_SUFFIXES, *MAP_SUFFIXES))}); rename it, or move it away"
