"""`ingest`: a folder of photos -> photos.csv, rejected.csv and the stored images."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.io_utils import remove_partial_files
from training.photos.decode import DecodedPhoto, DecodeTask
from training.photos.exif import position_problem
from training.photos.label_table import Label, match_files, read_label_table
from training.photos.manifest import REJECTED_COLUMNS, read_photos
from training.photos.parallel import store_photos
from training.photos.photo_rows import has_position, position_of, to_table
from training.photos.source import find_photos
from training.photos.tables import write_table

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IngestSummary:
    """What an ingest did: `photos` are in photos.csv now, `decoded` of them had no stored copy before."""

    photos: int
    decoded: int
    rejected: int
    reject_reasons: dict[str, int]
    ignored_files: int
    removed: int
    sessions: dict[str, int]


def ingest(
    photo_dir: Path,
    dataset_dir: Path,
    labels_csv: Path | None = None,
    progress: bool = True,
    workers: int | None = None,
) -> IngestSummary:
    """Takes every photo below `photo_dir` whose position is known into the data set.

    The position comes from the row of `labels_csv` where the photo has one, else from its EXIF; so does every
    other column, one by one. Sessions come from the table, else from the sub-folder, else from gaps in time.
    A photo that cannot be used goes to rejected.csv with the reason and stops nothing.

    photos.csv always says what the folder and the table hold now: running again picks up new photos and
    changed labels, and drops photos that were removed (their stored copies stay). Only photos without a stored
    copy, told by their content, are decoded, so that an interrupted run goes on where it stopped.

    Raises DatasetError, before anything is written, for a folder without photos or a table with a broken row;
    and, leaving photos.csv as it was, if no photo can be used or the data set was made of quite other photos.
    """
    photo_dir, dataset_dir = Path(photo_dir), Path(dataset_dir)
    paths, ignored = find_photos(photo_dir, dataset_dir)
    labels, rejected = _read_labels(labels_csv, list(paths))
    known = _known_photos(dataset_dir)
    tasks = [
        DecodeTask(path, file, has_position(labels.get(file)), dataset_dir / "images")
        for file, path in paths.items()
        if file not in rejected
    ]
    remove_partial_files(dataset_dir / "images")
    kept = _keep_usable(store_photos(tasks, progress, workers), labels, rejected)
    _write_rejected(dataset_dir, rejected)
    if labels_csv is None and rejected:
        _hint_at_table(photo_dir)
    _check_kept(kept, rejected, known, photo_dir, dataset_dir)
    photos = to_table(kept, labels)
    write_table(dataset_dir / "photos.csv", photos)
    return IngestSummary(
        photos=len(photos),
        decoded=sum(photo.is_new for photo in kept),
        rejected=len(rejected),
        reject_reasons=_count_reasons(rejected),
        ignored_files=ignored,
        removed=len(known - set(photos["photo_id"])),
        sessions=photos["session"].value_counts().sort_index().to_dict(),
    )


def _read_labels(labels_csv: Path | None, files: list[str]) -> tuple[dict[str, Label], dict[str, str]]:
    """-> the labels by file, and the reasons, by file, why some are of no use."""
    if labels_csv is None:
        return {}, {}
    path = Path(labels_csv)
    labels, missing = match_files(read_label_table(path), files, path)
    rejected = {label.file: f"no such photo: listed in {path.name}, line {label.line}" for label in missing}
    for file, label in labels.items():
        problem = has_position(label) and position_problem(label.latitude_deg, label.longitude_deg)
        if problem:
            rejected[file] = problem
    return labels, rejected


def _keep_usable(results: list[DecodedPhoto], labels: dict[str, Label], rejected: dict[str, str]) -> list[DecodedPhoto]:
    """The photos that can be used; the others go to `rejected`, also those with the content of an earlier one."""
    kept: dict[str, DecodedPhoto] = {}
    for photo in results:
        if photo.reject_reason:
            rejected[photo.file] = photo.reject_reason
        elif photo.photo_id in kept:
            rejected[photo.file] = _duplicate_reason(photo, kept[photo.photo_id], labels)
        else:
            kept[photo.photo_id] = photo
    return list(kept.values())


def _duplicate_reason(photo: DecodedPhoto, first: DecodedPhoto, labels: dict[str, Label]) -> str:
    agree = position_of(photo, labels.get(photo.file)) == position_of(first, labels.get(first.file))
    return f"exact duplicate: same content as {first.file}" + ("" if agree else ", yet another position")


def _hint_at_table(photo_dir: Path) -> None:
    for path in (photo_dir / "labels.csv", photo_dir.parent / "labels.csv"):
        if path.exists():
            _log.warning("photos were rejected, and there is a table %s: did you mean --labels?", path)
            return


def _known_photos(dataset_dir: Path) -> set[str]:
    return set(read_photos(dataset_dir)["photo_id"]) if (dataset_dir / "photos.csv").exists() else set()


def _write_rejected(dataset_dir: Path, rejected: dict[str, str]) -> None:
    table = pd.DataFrame(sorted(rejected.items()), columns=list(REJECTED_COLUMNS))
    write_table(dataset_dir / "rejected.csv", table)


def _count_reasons(rejected: dict[str, str]) -> dict[str, int]:
    """How often each reason occurs, the commonest first; what follows a colon is a detail of the one photo."""
    return dict(Counter(reason.split(":")[0] for reason in rejected.values()).most_common())


def _check_kept(
    kept: list[DecodedPhoto], rejected: dict[str, str], known: set[str], photo_dir: Path, dataset_dir: Path
) -> None:
    """Raises DatasetError rather than leave a data set without photos, or replace one by quite another."""
    if not kept:
        reason, count = next(iter(_count_reasons(rejected).items()))
        raise DatasetError(
            f"{photo_dir}: none of {len(rejected)} photos can be used, {count} of them because: {reason}; see "
            f"{dataset_dir / 'rejected.csv'}"
        )
    if known and not known & {photo.photo_id for photo in kept}:
        raise DatasetError(
            f"{dataset_dir}: was made of {len(known)} other photos, none of which is in {photo_dir}; use another "
            "directory, or one photo folder with a sub-folder per session"
        )
