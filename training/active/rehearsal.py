"""A round tried out on a copy of the tables, so that nothing is written unless all of it works."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.errors import DatasetError, VisualGpsError
from campus_visual_gps.geodesy import LocalFrame
from training.active.history import Sizes, sizes_of
from training.console import logging_level
from training.photos.correction_batch import Correction
from training.photos.corrections import apply_corrections
from training.photos.decisions import EXCLUDE, TRAIN
from training.photos.manifest import EXCLUDED, TEST, read_labels, read_splits
from training.photos.manifest import TRAIN as TRAIN_SUBSET
from training.photos.splits import split

_SAME_M = 0.2  # a label is not moved by less than 0.1 m


def rehearse(dataset_dir: Path, batch: Path, content: bytes, corrections: tuple[Correction, ...]) -> Sizes:
    """Apply a file of corrections to a copy of the data set's tables, split it again, and check the result.

    Args:
        dataset_dir: The data set; only read.
        batch: Where the file would be.
        content: Its content.
        corrections: What it says.

    Returns:
        The sizes afterwards.

    Raises:
        VisualGpsError: A step fails, another file of corrections overrides a decision, a photo that nobody decided on
            would change its subset, or no test photo would be left. Messages name the files of `dataset_dir`.
    """
    before = read_splits(dataset_dir)
    with _copy_of(dataset_dir) as copy:
        there = copy / batch.relative_to(dataset_dir)
        there.parent.mkdir(exist_ok=True)
        there.write_bytes(content)
        try:
            with logging_level("training.photos", logging.CRITICAL):  # its remarks are due when it is done
                applied = apply_corrections(copy)
                split(copy)
            labels, after = read_labels(copy), read_splits(copy)
        except VisualGpsError as error:
            raise DatasetError(str(error).replace(str(copy), str(dataset_dir))) from None
    left_out = [line for line in applied.not_applied if line.startswith(f"{there},")]
    if left_out:
        raise DatasetError("; ".join(left_out).replace(str(copy), str(dataset_dir)))
    _check_decisions(labels, corrections)
    _check_subsets(before, after, corrections)
    return sizes_of(after)


@contextmanager
def _copy_of(dataset_dir: Path) -> Iterator[Path]:
    """A temporary directory with the tables of a data set, without its images."""
    with tempfile.TemporaryDirectory(prefix="round-") as directory:
        copy = Path(directory) / "dataset"
        copy.mkdir()
        for path in Path(dataset_dir).iterdir():
            if path.is_file() and path.suffix in (".csv", ".yaml"):
                shutil.copy2(path, copy / path.name)
        if (Path(dataset_dir) / "corrections").is_dir():
            shutil.copytree(Path(dataset_dir) / "corrections", copy / "corrections")
        yield copy


def _check_decisions(labels: pd.DataFrame, corrections: tuple[Correction, ...]) -> None:
    """Raise DatasetError if a decision does not hold once all files of corrections are applied."""
    rows = labels.set_index("photo_id")
    for correction in corrections:
        row = rows.loc[correction.photo_id]
        lost = correction.decision in (EXCLUDE, TRAIN) and row["decision"] != correction.decision
        if lost or (correction.moves and _metres_from(correction, row) > _SAME_M):
            raise DatasetError(
                f"{correction.row.path}, {correction.row.place}: another file of corrections/ overrides the decision "
                f"on {row['file']} (it is '{row['decision'] or 'undecided'}', its label is of {row['label_source']}); "
                "delete the row there, or here"
            )


def _metres_from(correction: Correction, row: pd.Series) -> float:
    frame = LocalFrame.at(correction.latitude_deg, correction.longitude_deg)
    return float(np.hypot(*frame.to_local(row["latitude_deg"], row["longitude_deg"])))


def _check_subsets(before: pd.DataFrame, after: pd.DataFrame, corrections: tuple[Correction, ...]) -> None:
    decided = {correction.photo_id: correction.decision for correction in corrections}
    old = before.set_index("photo_id")["subset"]
    for photo_id, subset in zip(after["photo_id"], after["subset"], strict=True):
        decision = decided.get(photo_id)
        wanted = {EXCLUDE: EXCLUDED, TRAIN: TRAIN_SUBSET}.get(decision or "", old.get(photo_id, subset))
        if subset != wanted and decision not in (EXCLUDE, TRAIN):
            raise DatasetError(
                f"photo {photo_id} would go from {wanted} to {subset} though nobody decided so; "
                "run `apply-corrections` and `split` first, and look at what they say"
            )
    if (old == TEST).any() and not (after["subset"] == TEST).any():
        raise DatasetError("no photo of the test set would be left; move fewer photos to training")
