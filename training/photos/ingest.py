"""`ingest`: a folder of photos -> photos.csv, rejected.csv and the stored images."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.io_utils import remove_partial_files
from training.photos.area_list import write_areas_by_photo
from training.photos.decode import DecodedPhoto, DecodeTask
from training.photos.exif import position_problem
from training.photos.label_table import Label, check_against_exif, match_files, read_label_table
from training.photos.manifest import PHOTO_COLUMNS, REJECTED_COLUMNS, read_photos
from training.photos.parallel import store_photos
from training.photos.photo_history import keep_former_names
from training.photos.photo_id import photo_key
from training.photos.photo_names import PhotoNames
from training.photos.photo_rows import has_position, position_of, position_sources, size_warnings, to_table
from training.photos.session_overlap import session_warnings
from training.photos.sessions import Folders, SessionsBy, sessions_with
from training.photos.source import find_photos
from training.photos.stored_images import StoredImages, begin_change, read_stored_images, write_stored_images
from training.photos.tables import write_table

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IngestSummary:
    """Counts of an ingest.

    Attributes:
        photos: Rows of photos.csv.
        decoded: Photos that had no stored copy of this size before.
        stored_px: Side of the stored copies.
        resized: Photos whose stored copy of another size was replaced; among those decoded.
        rejected: Rows of rejected.csv.
        reject_reasons: Files by reason, the most common first.
        ignored_files: Files in the folder that are neither photos nor metadata of one.
        skipped: Photos in folders of photo managers and systems, which are not read, by the folder's name.
        removed: Photos that were in photos.csv before and are not any more.
        sessions: Photos by session.
        areas: Photos by area, where folders or the table of labels give areas.
        warnings: What to know of the positions and the sessions, one line each.
    """

    photos: int
    decoded: int
    stored_px: int
    resized: int
    rejected: int
    reject_reasons: dict[str, int]
    ignored_files: int
    skipped: dict[str, int]
    removed: int
    sessions: dict[str, int]
    areas: dict[str, int]
    warnings: tuple[str, ...]


def ingest(
    photo_dir: Path,
    dataset_dir: Path,
    labels_csv: Path | None = None,
    progress: bool = True,
    workers: int | None = None,
    sessions_by: SessionsBy | None = None,
    size_px: int | None = None,
    shrink: bool = False,
    folders: Folders | None = None,
) -> IngestSummary:
    """Read all photos with a known position into a data set.

    Each column comes from the photo's row in `labels_csv`, else from its EXIF, else from its XMP or its Google Takeout
    JSON. Sessions come from the table, else from the sub-folder, else from gaps in time. Photos that cannot be used and
    folders that cannot be read are listed with a reason in rejected.csv.

    photos.csv always describes the current folder and table: another run adds new photos, takes changed labels and
    drops removed photos (their stored copies stay). Only photos without a stored copy of the right size, identified by
    their content, are decoded, so that another run resumes an interrupted one.

    Args:
        photo_dir: Folder of photos, with sub-folders.
        dataset_dir: The data set, made if it does not exist.
        labels_csv: Table of positions and other columns.
        progress: Show a progress bar.
        workers: Decoding processes; None takes one per core.
        sessions_by: What makes a session, where the table has none; by default folders, or time where these are not
            sessions.
        size_px: Side of the stored copies. None keeps the data set's, as does a smaller one than that without `shrink`.
        shrink: Take a smaller `size_px` too.
        folders: What sub-folders are; None is what they were in the run before, and sessions in a new data set.

    Raises:
        DatasetError: The folder has no photos or the table an invalid row: nothing is written. No photo can be used, or
            the data set has none of these photos: photos.csv is not changed.
    """
    photo_dir, dataset_dir = Path(photo_dir), Path(dataset_dir)
    before = read_stored_images(dataset_dir)
    folders = folders or _folders_before(before.arguments)
    by = sessions_with(folders, sessions_by)
    folder = find_photos(photo_dir, dataset_dir)
    labels, rejected = _read_labels(labels_csv, list(folder.photos))
    rejected |= folder.unreadable
    previous = _previous_photos(dataset_dir)
    known = dict(zip(map(photo_key, previous["photo_id"]), previous["session"], strict=True))
    stored_px, images_dir = before.size_for(size_px, shrink or not known), dataset_dir / "images"
    tasks = [
        DecodeTask(path, file, has_position(labels.get(file)), images_dir, folder.sidecars.get(file, ()), stored_px)
        for file, path in folder.photos.items()
        if file not in rejected
    ]
    remove_partial_files(images_dir)
    begin_change(dataset_dir, before, stored_px)
    stored = store_photos(tasks, progress, workers)
    check_against_exif(Path(labels_csv or ""), labels, {photo.file: photo.exif for photo in stored})
    kept = _keep_usable(stored, labels, rejected)
    photos, without_row = to_table(kept, labels, by, folders)
    kept = [photo for photo in kept if photo.file not in without_row]
    rejected |= without_row
    _write_rejected(dataset_dir, rejected)
    if labels_csv is None and rejected:
        _hint_at_table(photo_dir)
    _check_kept(kept, rejected, known, photo_dir, dataset_dir)
    keep_former_names(dataset_dir, previous, photos)
    areas = write_areas_by_photo(dataset_dir, photos, {file: label.area for file, label in labels.items()}, folders)
    write_table(dataset_dir / "photos.csv", photos)
    arguments = _arguments(photo_dir, labels_csv, by, folders)
    write_stored_images(dataset_dir, StoredImages(stored_px, None, arguments))
    return IngestSummary(
        photos=len(photos),
        decoded=sum(photo.is_new for photo in kept),
        stored_px=stored_px,
        resized=sum(photo.replaced_px > 0 for photo in kept),
        rejected=len(rejected),
        reject_reasons=_count_reasons(rejected),
        ignored_files=folder.other_files,
        skipped=folder.skipped,
        removed=len(known.keys() - set(map(photo_key, photos["photo_id"]))),
        sessions=photos["session"].value_counts().sort_index().to_dict(),
        areas=areas,
        warnings=(
            *size_warnings(photos, stored_px, size_px),
            *position_sources(photos),
            *session_warnings(photos, known, by),
        ),
    )


def _arguments(photo_dir: Path, labels_csv: Path | None, by: SessionsBy, folders: Folders) -> tuple[str, ...]:
    """The command line that gives the same table again."""
    labels = () if labels_csv is None else ("--labels", str(labels_csv))
    kind = () if folders is Folders.SESSION else ("--folders", folders.value)
    sessions = () if by is sessions_with(folders, None) else ("--sessions-by", by.value)
    return (str(photo_dir), *labels, *kind, *sessions)


def _folders_before(arguments: tuple[str, ...]) -> Folders:
    """What sub-folders were in the run before."""
    given = arguments[arguments.index("--folders") + 1 :] if "--folders" in arguments else ()
    return next((Folders(text) for text in given[:1] if text in [own.value for own in Folders]), Folders.SESSION)


def _read_labels(labels_csv: Path | None, files: list[str]) -> tuple[dict[str, Label], dict[str, str]]:
    """The labels by file, and the reasons why some are rejected by file."""
    if labels_csv is None:
        return {}, {}
    path, names = Path(labels_csv), PhotoNames((file, file) for file in files)
    labels, missing = match_files(read_label_table(path, names), names, path)
    rejected = {label.file: f"no such photo: listed in {path.name}, line {label.line}" for label in missing}
    for file, label in labels.items():
        problem = has_position(label) and position_problem(label.latitude_deg, label.longitude_deg)
        if problem:
            rejected[file] = problem
    return labels, rejected


def _keep_usable(results: list[DecodedPhoto], labels: dict[str, Label], rejected: dict[str, str]) -> list[DecodedPhoto]:
    """The photos that can be used; others are added to `rejected`, also copies of an earlier one."""
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
    same = position_of(photo, labels.get(photo.file)) == position_of(first, labels.get(first.file))
    return f"exact duplicate: same content as {first.file}" + ("" if same else ", but another position")


def _hint_at_table(photo_dir: Path) -> None:
    for path in (photo_dir / "labels.csv", photo_dir.parent / "labels.csv"):
        if path.exists():
            _log.warning("photos were rejected, and there is a table %s; did you mean --labels?", path)
            return


def _previous_photos(dataset_dir: Path) -> pd.DataFrame:
    """photos.csv of the previous run, empty without one."""
    if not (dataset_dir / "photos.csv").exists():
        return pd.DataFrame(columns=list(PHOTO_COLUMNS), dtype=object)
    try:
        return read_photos(dataset_dir)
    except DatasetError as error:
        raise DatasetError(f"{error}; or move the file away, and `ingest` writes it anew") from error


def _write_rejected(dataset_dir: Path, rejected: dict[str, str]) -> None:
    table = pd.DataFrame(sorted(rejected.items()), columns=list(REJECTED_COLUMNS))
    write_table(dataset_dir / "rejected.csv", table)


def _count_reasons(rejected: dict[str, str]) -> dict[str, int]:
    """Photos by reason, the most common first; details of a photo follow a colon and are left out."""
    return dict(Counter(reason.split(":")[0] for reason in rejected.values()).most_common())


def _check_kept(
    kept: list[DecodedPhoto], rejected: dict[str, str], known: dict[str, str], photo_dir: Path, dataset_dir: Path
) -> None:
    """Raise DatasetError if the data set would be empty, or replaced by one with other photos."""
    if not kept:
        reason, count = next(iter(_count_reasons(rejected).items()))
        raise DatasetError(
            f"{photo_dir}: none of {len(rejected)} photos can be used, {count} of them because of: {reason}; see "
            f"{dataset_dir / 'rejected.csv'}"
        )
    if known and not known.keys() & {photo_key(photo.photo_id) for photo in kept}:
        raise DatasetError(
            f"{dataset_dir}: expected some of its {len(known)} photos in {photo_dir}, got none; use another data set "
            "directory, or one photo folder with a sub-folder per session"
        )
