"""`blind-spots`: the photos of a probe set that are located far from their labels, as a table to decide on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.errors import DatasetError, GeodesyError
from training.active.evaluation_files import Evaluation, read_evaluation
from training.active.training_photos import TrainingPhotos
from training.evaluate.agreement import missed_by_all
from training.evaluate.predict import covariances_m2, positions_m
from training.metrics.consistency import nees, usable
from training.photos.tables import read_rows, write_table

_log = logging.getLogger(__name__)

BLIND_SPOTS_CSV = "blind-spots.csv"
FIRST_ROUND_M = 30.0  # paper, section 3.5; 20 m in the second round
# What a person fills. The names are those of a file of corrections.
DECISION_COLUMNS = ("decision", "latitude_deg", "longitude_deg", "note")
# Members agree where the farthest two are closer together than this share of the nearest one's error.
_AGREEMENT = 0.5


@dataclass(frozen=True)
class BlindSpots:
    """The photos over a limit.

    Attributes:
        table: A row per photo, the worst first; DECISION_COLUMNS are empty.
        photos: Number of photos of the probe set.
        over_m: The limit, metres.
        night: Number of night photos among those in the table.
        missed_by_all: Number of photos that every member misses by more than the limit.
        agreed_against: Number of photos where the members agree with each other against the label.
    """

    table: pd.DataFrame
    photos: int
    over_m: float
    night: int
    missed_by_all: int
    agreed_against: int

    def write(self, path: Path) -> None:
        """Write the table. Raises DatasetError if the file holds anything that a person wrote."""
        write_queue(path, self.table)


def list_blind_spots(
    evaluation_path: Path, over_m: float = FIRST_ROUND_M, dataset_dir: Path | None = None
) -> BlindSpots:
    """Read an evaluation and find its blind spots, with the distance to the training photos of its data set.

    Raises:
        DatasetError: The evaluation is missing or damaged, or `dataset_dir` is.
    """
    evaluation = read_evaluation(evaluation_path)
    directory = dataset_dir or evaluation.dataset_dir
    if directory is None:
        _log.info("%s names no data set: the distance to the training photos stays empty; --dataset", evaluation.path)
        return find_blind_spots(evaluation, over_m)
    try:
        return find_blind_spots(evaluation, over_m, TrainingPhotos.of(directory))
    except GeodesyError as error:
        raise DatasetError(f"{directory} is of another site than {evaluation.path}: {error}") from None


def find_blind_spots(
    evaluation: Evaluation, over_m: float = FIRST_ROUND_M, training: TrainingPhotos | None = None
) -> BlindSpots:
    """The photos whose error is over a limit, and those without a position, the worst first (paper, section 3.5).

    Raises:
        DatasetError: The limit is not a number of metres.
    """
    if not np.isfinite(over_m) or over_m < 0.0:
        raise DatasetError(f"limit of the error: expected 0 m or more, got {over_m:g}")
    table = audit_table(evaluation, training)
    missed = missed_by_members(evaluation, over_m)
    chosen = worst_first(evaluation.errors_m, evaluation.predictions["photo_id"], over_m)
    table, missed = table.iloc[chosen].reset_index(drop=True), missed[chosen]
    return BlindSpots(
        table=table,
        photos=len(evaluation.predictions),
        over_m=over_m,
        night=int((table["night"] == True).fillna(False).sum()),  # noqa: E712 - NA is not night
        missed_by_all=int(missed.sum()),
        agreed_against=int((table["members_agree_against_label"] == 1).sum()),
    )


def worst_first(errors_m: np.ndarray, photo_ids: pd.Series, over_m: float = -np.inf) -> np.ndarray:
    """Rows with an error over the limit, the greatest first; a photo without a position is the worst of all."""
    ranked = np.where(np.isfinite(errors_m), errors_m, np.inf)
    order = np.lexsort((photo_ids.to_numpy(dtype=str), -ranked))
    return order[ranked[order] > over_m]


def missed_by_members(evaluation: Evaluation, over_m: float) -> np.ndarray:
    """(N,) whether the ensemble and every member miss by more than the limit (paper, section 4.5, impossible 14)."""
    return missed_by_all(np.column_stack([evaluation.errors_m, evaluation.member_errors_m()]), over_m)


def agree_against_label(evaluation: Evaluation) -> np.ndarray:
    """(N,) float: 1 where members and prediction are close together and far from the label, else 0; NaN for one member.

    Close together means closer than half of the way to the label. Where that is so, the label may be the one that is
    wrong: about 60 % of the paper's greatest errors were (paper, section 4.5).
    """
    members = evaluation.member_positions_m()
    if members.shape[1] < 2:
        return np.full(len(members), np.nan)
    positions = np.concatenate([members, positions_m(evaluation.predictions)[:, None]], axis=1)
    apart_m = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1).max(axis=(1, 2))
    nearest_m = np.column_stack([evaluation.member_errors_m(), evaluation.errors_m]).min(axis=1)
    return (apart_m < _AGREEMENT * nearest_m).astype(float)


def audit_table(evaluation: Evaluation, training: TrainingPhotos | None = None) -> pd.DataFrame:
    """What the audit looks at, a row per photo in the order of the predictions; DECISION_COLUMNS are empty."""
    rows = evaluation.predictions
    spread = _spread(evaluation)
    columns: dict[str, object] = {"photo_id": rows["photo_id"], "file": rows["file"]}
    columns |= dict.fromkeys(DECISION_COLUMNS, "")
    columns |= {
        "session": rows["session"],
        "area": rows.get("area", ""),
        "error_m": rows["error_m"].round(1),
        "label_latitude_deg": rows["true_latitude_deg"],
        "label_longitude_deg": rows["true_longitude_deg"],
        "predicted_latitude_deg": rows["latitude_deg"].round(7),
        "predicted_longitude_deg": rows["longitude_deg"].round(7),
    }
    columns |= {
        f"member_{name}_error_m": error_m.round(1)
        for name, error_m in zip(evaluation.members, evaluation.member_errors_m().T, strict=True)
    }
    nearest_m = np.full(len(rows), np.nan) if training is None else _nearest_training_m(evaluation, training)
    columns |= {
        "members_agree_against_label": pd.array(agree_against_label(evaluation), dtype="Int64"),
        "sigma_m": spread[:, 0].round(1),
        "mahalanobis_distance": spread[:, 1].round(2),
        "night": rows["night"] if "night" in rows else pd.Series(pd.NA, index=rows.index, dtype="boolean"),
        "nearest_training_m": nearest_m.round(1),
        "reported_accuracy_m": rows.get("gps_accuracy_m", np.nan),
        "subset": rows.get("subset", ""),
    }
    return pd.DataFrame(columns)


def _spread(evaluation: Evaluation) -> np.ndarray:
    """(N, 2): sigma of the longer axis of the covariance, metres, and the label's Mahalanobis distance; NaN if none."""
    rows = evaluation.predictions
    result = np.full((len(rows), 2), np.nan)
    if not {"cov_ee_m2", "cov_en_m2", "cov_nn_m2"} <= set(rows):
        return result
    offsets, covs = positions_m(rows) - positions_m(rows, "true_"), covariances_m2(rows)
    known = np.flatnonzero(usable(offsets, covs))
    result[known, 0] = np.sqrt(np.linalg.eigvalsh(covs[known])[:, -1]) if len(known) else []
    result[known, 1] = np.sqrt(nees(offsets[known], covs[known]))
    return result


def _nearest_training_m(evaluation: Evaluation, training: TrainingPhotos) -> np.ndarray:
    """(N,) metres from the label to the nearest training photo."""
    rows = evaluation.predictions
    labels = training.frame.to_local(rows["true_latitude_deg"], rows["true_longitude_deg"])
    found = [
        training.nearest(point, 1, photo_id, session)
        for point, photo_id, session in zip(labels, rows["photo_id"], rows["session"], strict=True)
    ]
    return np.array([near[0].distance_m if near else np.nan for near in found], dtype=np.float64)


def write_queue(path: Path, table: pd.DataFrame) -> None:
    """Write the table, to be filled by a person. What a person wrote is never replaced.

    Raises:
        DatasetError: The file exists and is not such a table without any decision.
    """
    if path.exists():
        _check_untouched(path)
    write_table(path, table)


def _check_untouched(path: Path) -> None:
    advice = "give another file with --out, or move it away"
    try:
        rows = read_rows(path, required=("photo_id", *DECISION_COLUMNS))
    except DatasetError as error:
        raise DatasetError(f"{path}: exists and is not an empty list of blind spots ({error}); {advice}") from None
    filled = [row for row in rows if any(row.text(name).strip() for name in DECISION_COLUMNS)]
    if filled:
        raise DatasetError(
            f"{path}: holds the decisions on {len(filled)} photos, the first on line "
            f"{filled[0].line}, and is kept as it is; {advice}"
        )
