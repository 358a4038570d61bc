"""A finished evaluation: its predictions.csv, and what report.json beside it says of the run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.errors import DatasetError
from training.evaluate.agreement import member_errors_m
from training.evaluate.predict import PREDICTIONS, member_positions_m, members_in, read_predictions
from training.report.writer import REPORT_JSON

_DEGREES = ("latitude_deg", "longitude_deg", "true_latitude_deg", "true_longitude_deg")
_METRES = ("east_m", "north_m")


@dataclass(frozen=True)
class Evaluation:
    """An evaluation of photos.

    Attributes:
        path: Its predictions.csv.
        predictions: The rows, as `read_predictions` gives them.
        members: Names of the members.
        report: Content of report.json, empty where there is none.
    """

    path: Path
    predictions: pd.DataFrame
    members: tuple[str, ...]
    report: dict = field(default_factory=dict)

    @property
    def errors_m(self) -> np.ndarray:
        """(N,) metres, NaN for a photo without a position."""
        return self.predictions["error_m"].to_numpy(dtype=np.float64)

    @property
    def dataset_dir(self) -> Path | None:
        """The data set that was scored, where report.json names one that is there."""
        named = self.report.get("dataset")
        path = Path(named) if isinstance(named, str) and named else None
        return path if path is not None and (path / "photos.csv").is_file() else None

    def member_errors_m(self) -> np.ndarray:
        """(N, M) metres of every member."""
        if not self.members:
            return np.empty((len(self.predictions), 0))
        return member_errors_m(self.predictions, self.members)

    def member_positions_m(self) -> np.ndarray:
        """(N, M, 2) metres of every member."""
        if not self.members:
            return np.empty((len(self.predictions), 0, 2))
        return member_positions_m(self.predictions, self.members)


def read_evaluation(path: Path) -> Evaluation:
    """Read a predictions.csv, or the directory of an evaluation that holds one.

    Raises:
        DatasetError: There is none, it is damaged, or it is not of photos with labels in degrees.
    """
    path = Path(path)
    table_path = path / PREDICTIONS if path.is_dir() else path
    if not table_path.exists():
        raise DatasetError(f"{table_path}: no such file; name the directory of a finished evaluation")
    predictions = read_predictions(table_path)
    if predictions.empty:
        raise DatasetError(f"{table_path}: holds no photos; evaluate again")
    missing = [name for name in ("file", *_DEGREES, *_METRES) if name not in predictions]
    if missing:
        raise DatasetError(f"{table_path}: missing column {', '.join(missing)}; evaluate again with this version")
    doubled = predictions["photo_id"].duplicated()
    if doubled.any():
        raise DatasetError(
            f"{table_path}: photo {predictions['photo_id'][doubled.idxmax()]} has two rows; evaluate again"
        )
    report = _read_report(table_path.with_name(REPORT_JSON))
    return Evaluation(table_path, predictions, members_in(predictions), report)


def _read_report(path: Path) -> dict:
    """The content of report.json; nothing where it is missing or damaged: only remarks come from it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
