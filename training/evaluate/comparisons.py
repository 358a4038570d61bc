"""Other evaluations of the same photos, to compare with: other heads, other training configurations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.errors import DatasetError
from training.evaluate.baselines import Baseline
from training.evaluate.predict import PREDICTIONS, covariances_m2, positions_m, read_predictions
from training.photos.photo_id import photo_key


def read_comparisons(directories: Sequence[Path], photo_ids: Sequence[str]) -> list[Baseline]:
    """The answers in the predictions.csv of each directory, named after it, in the order of these photos.

    Raises DatasetError for a directory without one, and where it has other photos: means over different photos say
    nothing about each other.
    """
    names = [directory_name(directory) for directory in directories]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DatasetError(f"two evaluations to compare with are both called {doubled[0]}: rename a directory")
    return [
        Baseline(name, *_answers(Path(directory), photo_ids))
        for name, directory in zip(names, directories, strict=True)
    ]


def directory_name(directory: Path) -> str:
    """The directory's own name without dots, which separate the groups in the keys of report.json."""
    return Path(directory).resolve().name.replace(".", "_")


def _answers(directory: Path, photo_ids: Sequence[str]) -> tuple[np.ndarray, str, np.ndarray]:
    path = directory / PREDICTIONS
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; name the directory of a finished evaluation")
    table: pd.DataFrame = read_predictions(path)
    table.index = pd.Index(table["photo_id"].map(photo_key))
    photo_ids = [photo_key(photo_id) for photo_id in photo_ids]
    missing = [photo_id for photo_id in photo_ids if photo_id not in table.index]
    if missing or len(table) != len(photo_ids):
        raise DatasetError(
            f"{path} has {len(table)} photos, of which {len(photo_ids) - len(missing)} are among the {len(photo_ids)} "
            "of this evaluation: evaluate the same split of the same data set with both"
        )
    rows = table.loc[photo_ids]
    return positions_m(rows), "", covariances_m2(rows)
