"""`apply-corrections`: photos.csv and all files of corrections -> labels.csv, and review.csv."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.errors import GeodesyError
from campus_visual_gps.geodesy import LocalFrame
from training.photos.correction_batch import Correction, read_batch
from training.photos.correction_files import find_correction_files
from training.photos.decisions import EXCLUDE, TRAIN, later_decision
from training.photos.manifest import LABEL_COLUMNS, label_sources, read_photos, write_labels
from training.photos.photo_names import PhotoNames
from training.photos.tables import write_table

_log = logging.getLogger(__name__)

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
class CorrectionSummary:
    """What the corrections changed.

    Attributes:
        photos: Number of photos.
        batches: Names of the files of corrections.
        moved: Number of labels with a corrected position.
        mean_moved_m, median_moved_m, max_moved_m: Distances over these labels, 0 without any.
        excluded, to_train: Number of photos with that decision.
        review: Photos in review.csv.
        to_review: Number of photos in review.csv without a decision.
    """

    photos: int
    batches: tuple[str, ...]
    moved: int
    mean_moved_m: float
    median_moved_m: float
    max_moved_m: float
    excluded: int
    to_train: int
    review: tuple[str, ...]
    to_review: int


def apply_corrections(dataset_dir: Path) -> CorrectionSummary:
    """Apply all files in corrections/ in name order and write labels.csv and review.csv; photos.csv is not changed.

    labels.csv has the columns of photos.csv with the corrected position; label_source is exif, table, or the file of
    the correction; moved_m is the distance from the position in photos.csv; gps_accuracy_m of a moved label is that of
    the correction (its column of that name, else CORRECTION_ACCURACY_M); decision is the last one on the photo, or "".
    review.csv lists the photos with an accuracy worse than REVIEW_ACCURACY_M, the worst first.

    Raises:
        DatasetError: A row is invalid, or its photo is not in the data set. The previous labels.csv is kept.
    """
    dataset_dir = Path(dataset_dir)
    photos = read_photos(dataset_dir)
    sources = label_sources(dataset_dir)
    files = find_correction_files(dataset_dir)
    for line in files.unread:
        _log.warning("%s", line)
    names = PhotoNames(zip(photos["photo_id"], photos["file"], strict=True))
    corrections = [correction for batch in files.batches for correction in read_batch(batch, names)]
    labels = _apply(photos, corrections)
    write_labels(dataset_dir, labels, sources)
    review = _review(labels)
    write_table(dataset_dir / "review.csv", review)
    return _summarise(labels, review, files.batches)


def _apply(photos: pd.DataFrame, corrections: list[Correction]) -> pd.DataFrame:
    """photos.csv -> labels.csv."""
    rows = {photo["photo_id"]: photo | _UNCHANGED for photo in photos.to_dict("records")}
    own = {photo_id: row.copy() for photo_id, row in rows.items()}
    for correction in corrections:
        row, photo = rows[correction.photo_id], own[correction.photo_id]
        if correction.moves:
            _move(row, correction, (photo["latitude_deg"], photo["longitude_deg"]))
        accuracy_m = _stated_accuracy_m(correction, photo["gps_accuracy_m"])
        if not math.isnan(accuracy_m):
            row["gps_accuracy_m"] = accuracy_m
        row["decision"] = later_decision(row["decision"], correction.decision)
    labels = pd.DataFrame(list(rows.values()), columns=list(LABEL_COLUMNS))
    return labels.astype(photos.dtypes.to_dict())


def _move(row: dict, correction: Correction, own: tuple[float, float]) -> None:
    target = correction.latitude_deg, correction.longitude_deg
    if _distance_m(correction, (row["latitude_deg"], row["longitude_deg"]), target) < _MIN_MOVE_M:
        return
    row["latitude_deg"], row["longitude_deg"] = target
    row["label_source"] = correction.batch
    row["moved_m"] = _distance_m(correction, own, target)
    row["gps_accuracy_m"] = CORRECTION_ACCURACY_M


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
    poor = labels[labels["gps_accuracy_m"] > REVIEW_ACCURACY_M]
    return poor.sort_values(["gps_accuracy_m", "file"], ascending=[False, True])[_REVIEW_COLUMNS]


def _summarise(labels: pd.DataFrame, review: pd.DataFrame, batches: tuple[Path, ...]) -> CorrectionSummary:
    moved_m = labels["moved_m"][labels["moved_m"] > 0].to_numpy()
    distances = (moved_m.mean(), np.median(moved_m), moved_m.max()) if len(moved_m) else (0.0, 0.0, 0.0)
    return CorrectionSummary(
        photos=len(labels),
        batches=tuple(batch.name for batch in batches),
        moved=len(moved_m),
        mean_moved_m=float(distances[0]),
        median_moved_m=float(distances[1]),
        max_moved_m=float(distances[2]),
        excluded=int((labels["decision"] == EXCLUDE).sum()),
        to_train=int((labels["decision"] == TRAIN).sum()),
        review=tuple(review["file"]),
        to_review=int((review["decision"] == "").sum()),
    )
