"""`apply-corrections`: photos.csv and all files of corrections -> labels.csv, and review.csv."""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.errors import GeodesyError
from campus_visual_gps.geodesy import LocalFrame
from training.photos.correction_batch import Correction, UnknownPhotoError, read_batch
from training.photos.correction_files import find_correction_files
from training.photos.decisions import AMBIGUOUS, DECISIONS, EXCLUDE, TRAIN, later_decision
from training.photos.manifest import LABEL_COLUMNS, label_sources, read_photos, write_labels
from training.photos.photo_history import names_of
from training.photos.row_errors import OnError, RowError, report_or_raise
from training.photos.tables import write_table

_log = logging.getLogger(__name__)

REJECTED_CSV = "corrections_rejected.csv"
REVIEW_ACCURACY_M = 20.0  # paper, section 4.1: labels with a worse reported accuracy are reviewed by hand
# Of a position that a person has set on a satellite image, where the correction does not say: about as far as the
# photographer stands from what can be recognised from above.
CORRECTION_ACCURACY_M = 7.0
# Map programs round the positions of markers that were not moved.
_MIN_MOVE_M = 0.1
# Spreadsheets round the numbers that they show.
_ACCURACY_ROUNDING_M = 0.05
_UNCHANGED = {"moved_m": 0.0, "decision": ""}
_REVIEW_COLUMNS = ["photo_id", "file", "session", "gps_accuracy_m", "latitude_deg", "longitude_deg", "decision"]


@dataclass(frozen=True)
class BatchSummary:
    """Counts of one file of corrections.

    Attributes:
        name: Name of the file.
        rows: Rows that mean a photo, or should.
        decisions: Number of rows by decision, those that are applied.
        moved: Labels that it moves.
        not_moved: Points where the label is already, without a decision; the photos stay in the list to review.
        unknown: Rows whose photo is not in the data set.
        invalid: Other rows that cannot be applied.
    """

    name: str
    rows: int
    decisions: dict[str, int]
    moved: int
    not_moved: int
    unknown: int
    invalid: int


@dataclass(frozen=True)
class CorrectionSummary:
    """What the corrections changed.

    Attributes:
        photos: Number of photos.
        batches: Names of the files of corrections.
        moved: Number of labels with a corrected position.
        mean_moved_m, median_moved_m, max_moved_m: Distances over these labels, 0 without any.
        excluded, to_train, ambiguous: Number of photos with that decision.
        review: Photos in review.csv.
        by_batch: Counts of each file.
        not_applied: A line for each row that is not applied: file, place and reason.
    """

    photos: int
    batches: tuple[str, ...]
    moved: int
    mean_moved_m: float
    median_moved_m: float
    max_moved_m: float
    excluded: int
    to_train: int
    ambiguous: int
    review: tuple[str, ...]
    by_batch: tuple[BatchSummary, ...] = ()
    not_applied: tuple[str, ...] = ()


def apply_corrections(dataset_dir: Path, strict: bool = False) -> CorrectionSummary:
    """Apply all files in corrections/ in name order and write labels.csv and review.csv; photos.csv is not changed.

    labels.csv has the columns of photos.csv with the corrected position; label_source is exif, table, or the file of
    the correction; moved_m is the distance from the position in photos.csv; gps_accuracy_m of a moved label is that of
    the correction (its column of that name, else CORRECTION_ACCURACY_M); decision is the one that holds, or "".
    review.csv lists the photos with an accuracy worse than REVIEW_ACCURACY_M that nobody decided on, the worst first.

    Rows that name an unknown photo or are invalid are left out and written to corrections_rejected.csv.

    Args:
        dataset_dir: The data set.
        strict: Raise the error of such a row instead.

    Raises:
        DatasetError: A file cannot be read, or, if `strict`, a row applied. The previous labels.csv is kept.
    """
    dataset_dir = Path(dataset_dir)
    photos = read_photos(dataset_dir)
    sources = label_sources(dataset_dir)
    files = find_correction_files(dataset_dir)
    for line in files.unread:
        _log.warning("%s", line)
    names = names_of(dataset_dir, photos)
    errors: list[RowError] = []
    corrections = [
        one for batch in files.batches for one in read_batch(batch, names, None if strict else errors.append)
    ]
    labels, effects = _apply(photos, corrections, None if strict else errors.append)
    write_labels(dataset_dir, labels, sources)
    review = _review(labels)
    write_table(dataset_dir / "review.csv", review)
    _write_rejected(dataset_dir, errors)
    by_batch = tuple(_summarise_batch(batch, effects, errors) for batch in files.batches)
    return _summarise(labels, review, by_batch, errors)


def _apply(
    photos: pd.DataFrame, corrections: list[Correction], on_error: OnError | None
) -> tuple[pd.DataFrame, list[tuple[Correction, bool, bool]]]:
    """photos.csv -> labels.csv; and the corrections applied, whether each moved its label, and whether it decides."""
    rows = {photo["photo_id"]: photo | _UNCHANGED for photo in photos.to_dict("records")}
    own = {photo_id: row.copy() for photo_id, row in rows.items()}
    effects = []
    for correction in corrections:
        row, photo = rows[correction.photo_id], own[correction.photo_id]
        try:
            moved = correction.moves and _move(row, correction, (photo["latitude_deg"], photo["longitude_deg"]))
        except RowError as error:
            report_or_raise(error, on_error)
            continue
        accuracy_m = _stated_accuracy_m(correction, photo["gps_accuracy_m"])
        if not math.isnan(accuracy_m):
            row["gps_accuracy_m"] = accuracy_m
        decides = moved or bool(correction.row.text("decision")) or not math.isnan(accuracy_m)
        if decides:
            row["decision"] = later_decision(row["decision"], correction.decision)
        effects.append((correction, moved, decides))
    labels = pd.DataFrame(list(rows.values()), columns=list(LABEL_COLUMNS))
    return labels.astype(photos.dtypes.to_dict()), effects


def _move(row: dict, correction: Correction, own: tuple[float, float]) -> bool:
    """Move the label; whether it was elsewhere."""
    target = correction.latitude_deg, correction.longitude_deg
    if _distance_m(correction, (row["latitude_deg"], row["longitude_deg"]), target) < _MIN_MOVE_M:
        return False
    row["moved_m"] = _distance_m(correction, own, target)
    row["latitude_deg"], row["longitude_deg"] = target
    row["label_source"] = correction.batch
    row["gps_accuracy_m"] = CORRECTION_ACCURACY_M
    return True


def _stated_accuracy_m(correction: Correction, reported_m: float) -> float:
    """The accuracy that a row gives its position, NaN if none.

    The number that the phone reported says nothing of a correction: review.csv has it, and people edit copies of that.
    """
    stated_m = correction.accuracy_m
    return math.nan if abs(stated_m - reported_m) < _ACCURACY_ROUNDING_M else stated_m


def _distance_m(correction: Correction, start: tuple[float, float], end: tuple[float, float]) -> float:
    try:
        return float(np.hypot(*LocalFrame.at(*start).to_local(*end)))
    except GeodesyError as error:
        hint = "; are latitude and longitude swapped?" if _near(start, end[::-1]) else ""
        raise correction.row.error(f"moves the label too far: {error}{hint}") from error


def _near(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) < 1.0


def _review(labels: pd.DataFrame) -> pd.DataFrame:
    poor = labels[(labels["gps_accuracy_m"] > REVIEW_ACCURACY_M) & (labels["decision"] == "")]
    return poor.sort_values(["gps_accuracy_m", "file"], ascending=[False, True])[_REVIEW_COLUMNS]


def _write_rejected(dataset_dir: Path, errors: list[RowError]) -> None:
    path = dataset_dir / REJECTED_CSV
    if errors or path.exists():
        rows = [(error.path.name, error.place, error.what) for error in errors]
        write_table(path, pd.DataFrame(rows, columns=["corrections_file", "place", "reason"]))
    if errors:
        _log.warning("%d rows of corrections are not applied (%s), the first: %s", len(errors), path, errors[0])


def _summarise_batch(path: Path, effects: list[tuple[Correction, bool, bool]], errors: list[RowError]) -> BatchSummary:
    own = [effect for effect in effects if effect[0].row.path == path]
    failed = [error for error in errors if error.path == path]
    unknown = sum(isinstance(error, UnknownPhotoError) for error in failed)
    decided = Counter(correction.decision for correction, _, decides in own if decides)
    return BatchSummary(
        name=path.name,
        rows=len(own) + len(failed),
        decisions={decision: decided[decision] for decision in DECISIONS},
        moved=sum(moved for _, moved, _ in own),
        not_moved=sum(not decides for _, _, decides in own),
        unknown=unknown,
        invalid=len(failed) - unknown,
    )


def _summarise(
    labels: pd.DataFrame, review: pd.DataFrame, by_batch: tuple[BatchSummary, ...], errors: list[RowError]
) -> CorrectionSummary:
    moved_m = labels["moved_m"][labels["moved_m"] > 0].to_numpy()
    distances = (moved_m.mean(), np.median(moved_m), moved_m.max()) if len(moved_m) else (0.0, 0.0, 0.0)
    counts = labels["decision"].value_counts()
    return CorrectionSummary(
        photos=len(labels),
        batches=tuple(batch.name for batch in by_batch),
        moved=len(moved_m),
        mean_moved_m=float(distances[0]),
        median_moved_m=float(distances[1]),
        max_moved_m=float(distances[2]),
        excluded=int(counts.get(EXCLUDE, 0)),
        to_train=int(counts.get(TRAIN, 0)),
        ambiguous=int(counts.get(AMBIGUOUS, 0)),
        review=tuple(review["file"]),
        by_batch=by_batch,
        not_applied=tuple(map(str, errors)),
    )
