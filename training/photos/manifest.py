"""The tables of a data set directory: photos.csv, rejected.csv, labels.csv, splits.csv and the stored images.

A data set directory holds, by the stage that writes it:

    ingest             photos.csv      one row per photo (PHOTO_COLUMNS); never edited by hand or by a later stage
                       rejected.csv    file, reason
                       images/         <photo_id>.jpg, squares of one size
                       dataset.yaml    their size, and how `ingest` was called (stored_images.py)
    apply-corrections  labels.csv      photos.csv with all files of corrections/ applied (LABEL_COLUMNS); labels.yaml
                       review.csv      photos with a poor reported GPS accuracy
    split              splits.csv      photo_id, session, subset; splits.yaml holds the settings
    train              feature_cache/  features of the frozen stages; may be deleted at any time
                       photo_cache/    photos at the network's size; likewise
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.io_utils import atomic_write, sha256_of
from training.photos.correction_files import find_correction_files
from training.photos.stored_images import check_sides
from training.photos.tables import read_table, write_table

PHOTO_COLUMNS = {
    "photo_id": "key",  # p and the first 16 hex digits of the original file's SHA-256
    "file": "text",  # path below the photo folder
    "session": "text",
    "captured_at": "text",  # ISO 8601
    "latitude_deg": "number",
    "longitude_deg": "number",
    "altitude_m": "optional number",
    "gps_accuracy_m": "optional number",
    "heading_deg": "optional number",
    "camera": "text",
    "night": "flag",
    "width_px": "integer",  # of the upright original
    "height_px": "integer",
    "label_source": "text",  # exif, xmp, takeout or table; in labels.csv also the file of the correction
}
LABEL_COLUMNS = PHOTO_COLUMNS | {"moved_m": "number", "decision": "text"}
SPLIT_COLUMNS = {"photo_id": "key", "session": "text", "subset": "text"}
REJECTED_COLUMNS = {"file": "text", "reason": "text"}

TRAIN, VAL, TEST, NIGHT_HOLDOUT, EXCLUDED = "train", "val", "test", "night_holdout", "excluded"
SUBSETS = (TRAIN, VAL, TEST, NIGHT_HOLDOUT, EXCLUDED)


def image_path(dataset_dir: Path, photo_id: str) -> Path:
    """The stored square copy of a photo."""
    return Path(dataset_dir) / "images" / f"{photo_id}.jpg"


def load_dataset(dataset_dir: Path, include_excluded: bool = False) -> pd.DataFrame:
    """Read the photos with their current labels, one row each, in the order of photos.csv.

    Args:
        dataset_dir: The data set.
        include_excluded: Keep photos that a correction excludes.

    Returns:
        Table of LABEL_COLUMNS and `subset` ("" if the data set was never split). Unknown numbers are NaN, unknown texts
        "", and an unknown `night` is NA.

    Raises:
        DatasetError: A table is missing, damaged or older than its sources, or a stored image is missing or of another
            size than the data set's.
    """
    photos = read_subsets(dataset_dir, include_excluded)
    _check_images(Path(dataset_dir), photos)
    return photos


def read_subsets(dataset_dir: Path, include_excluded: bool = False) -> pd.DataFrame:
    """As `load_dataset`, without a look at the stored images. Raises DatasetError."""
    dataset_dir = Path(dataset_dir)
    labels = read_labels(dataset_dir)
    labels["subset"] = ""
    if (dataset_dir / "splits.csv").exists():
        labels["subset"] = _subsets_of(labels, dataset_dir)
    return labels if include_excluded else labels[labels["decision"] != "exclude"].reset_index(drop=True)


def read_photos(dataset_dir: Path) -> pd.DataFrame:
    """Read photos.csv (PHOTO_COLUMNS). Raises DatasetError."""
    path = Path(dataset_dir) / "photos.csv"
    if not path.exists():
        raise DatasetError(f"{path}: no such file; run `ingest` into this directory first")
    return read_table(path, PHOTO_COLUMNS)


def read_rejected(dataset_dir: Path) -> pd.DataFrame:
    """Read rejected.csv (REJECTED_COLUMNS). Raises DatasetError."""
    return read_table(Path(dataset_dir) / "rejected.csv", REJECTED_COLUMNS)


def read_review(dataset_dir: Path) -> pd.DataFrame:
    """The photos of review.csv, the worst first. Raises DatasetError."""
    path = Path(dataset_dir) / "review.csv"
    if not path.exists():
        raise DatasetError(f"{path}: no such file; run `apply-corrections {dataset_dir}` first")
    return read_table(path, {"photo_id": "key", "file": "text"})


def read_splits(dataset_dir: Path) -> pd.DataFrame:
    """Read splits.csv (SPLIT_COLUMNS). Raises DatasetError."""
    return read_table(Path(dataset_dir) / "splits.csv", SPLIT_COLUMNS)


def read_labels(dataset_dir: Path) -> pd.DataFrame:
    """Read the current labels (LABEL_COLUMNS): labels.csv, or photos.csv if there are no corrections.

    Raises:
        DatasetError: labels.csv was made from other photos or corrections than the current ones.
    """
    dataset_dir = Path(dataset_dir)
    path = dataset_dir / "labels.csv"
    if not path.exists() and not find_correction_files(dataset_dir).batches:
        return read_photos(dataset_dir).assign(moved_m=0.0, decision="")
    if _recorded_sources(dataset_dir) != label_sources(dataset_dir):
        raise DatasetError(
            f"{path}: missing or older than photos.csv and the corrections; run `apply-corrections {dataset_dir}` again"
        )
    return read_table(path, LABEL_COLUMNS)


def write_labels(dataset_dir: Path, labels: pd.DataFrame, sources: dict[str, str]) -> None:
    """Write labels.csv, then the hashes of its sources: after a killed run these do not match."""
    write_table(dataset_dir / "labels.csv", labels[list(LABEL_COLUMNS)])
    write_yaml(dataset_dir / "labels.yaml", {"made_from": sources})


def label_sources(dataset_dir: Path) -> dict[str, str]:
    """SHA-256 of each source of labels.csv, by name."""
    paths = [dataset_dir / "photos.csv", *find_correction_files(dataset_dir).batches]
    return {path.relative_to(dataset_dir).as_posix(): sha256_of(path) for path in paths if path.exists()}


def capture_times_s(captured_at: pd.Series) -> np.ndarray:
    """ISO 8601 texts -> seconds since the epoch (N,), NaN for ""; a time without an offset is taken as UTC."""
    return np.array([_seconds(text) for text in captured_at], dtype=np.float64)


def _seconds(text: str) -> float:
    if not text:
        return np.nan
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()


def write_yaml(path: Path, content: dict) -> None:
    """Write a YAML file. Raises DatasetError."""
    with atomic_write(path) as partial:
        partial.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _recorded_sources(dataset_dir: Path) -> dict[str, str] | None:
    try:
        text = (dataset_dir / "labels.yaml").read_text(encoding="utf-8")
        return yaml.safe_load(text)["made_from"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return None


def _subsets_of(labels: pd.DataFrame, dataset_dir: Path) -> pd.Series:
    """The subset of each photo. Raises DatasetError if splits.csv was made for other photos or decisions."""
    path = dataset_dir / "splits.csv"
    splits = read_splits(dataset_dir).set_index("photo_id").reindex(labels["photo_id"])
    sessions, subsets = splits["session"].to_numpy(), splits["subset"].to_numpy()
    stale = (
        (sessions != labels["session"].to_numpy())
        | ((subsets == EXCLUDED) != (labels["decision"] == "exclude").to_numpy())
        | ((subsets != TRAIN) & (labels["decision"] == "train").to_numpy())
    )
    if stale.any():
        raise DatasetError(
            f"{path}: older than the photos or their corrections ({stale.sum()} photos differ, the first is "
            f"{labels['file'][stale.argmax()]}); run `split {dataset_dir}` again: it keeps the held-out photos"
        )
    unknown = sorted(set(subsets) - set(SUBSETS))
    if unknown:
        raise DatasetError(f"{path}: unknown subset '{unknown[0]}', expected one of {', '.join(SUBSETS)}")
    return pd.Series(subsets, index=labels.index)


def _check_images(dataset_dir: Path, labels: pd.DataFrame) -> None:
    paths = [image_path(dataset_dir, photo_id) for photo_id in labels["photo_id"]]
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise DatasetError(f"{missing[0]}: no such file ({len(missing)} stored images are missing); run `ingest` again")
    check_sides(dataset_dir, paths)
