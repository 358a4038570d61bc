"""The numbers of each row of a table, from its predictions.csv, and how it compares with the table's baseline."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from campus_visual_gps.errors import VisualGpsError
from training.evaluate.predict import members_in, positions_m, read_predictions
from training.evaluate.worst import light_of, worst_photos
from training.metrics.bootstrap import walk_blocks
from training.metrics.errors import (
    ErrorMetrics,
    error_metrics,
    mean_error_difference,
    mean_error_ratio,
    position_errors_m,
)
from training.metrics.estimate import Estimate
from training.photos.manifest import capture_times_s
from training.photos.photo_id import photo_key
from training.report.tables.experiment_files import DONE, FAILED, Experiment, ExperimentRow

_SEED = re.compile(r"\d+")


@dataclass(frozen=True)
class MemberMetrics:
    """Of the members one by one: `mean_error_m` is of each photo's mean over them, then the best and the worst one."""

    mean_error_m: Estimate
    lowest_m: float
    highest_m: float


@dataclass(frozen=True)
class NightMetrics:
    """Of the night photos (paper, table 11); `worst_share` is their share among the `n_worst` worst of all photos."""

    errors: ErrorMetrics
    n_worst: int
    n_worst_night: int
    worst_share: float


@dataclass(frozen=True)
class Comparison:
    """With the table's baseline on the photos that both have: mean error minus its mean error, and over it."""

    n_photos: int
    difference_m: Estimate
    ratio: Estimate


@dataclass(frozen=True)
class RowMetrics:
    """A row with its numbers; `errors` is None where nothing ran, and `reason` then says why.

    `same_answers_as` is the label of an earlier row that has the same position for every photo: the same training, or
    a setting that these data cannot tell, such as a weighted loss on photos without an accuracy.
    """

    row: ExperimentRow
    is_baseline: bool = False
    reason: str = ""
    members: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    block_length_s: float | None = None
    errors: ErrorMetrics | None = None
    by_member: MemberMetrics | None = None
    night: NightMetrics | None = None
    no_night: str = ""
    comparison: Comparison | None = None
    gap: float | None = None
    train_time_ratio: float | None = None
    same_answers_as: str = ""

    @property
    def seeds(self) -> list[int]:
        """Of the members, whose names begin with them."""
        return sorted({int(found[0]) for found in map(_SEED.match, self.members) if found})

    @property
    def state(self) -> str:
        """What the table says in place of numbers: "" where there are some."""
        if self.errors is not None:
            return ""
        return "failed" if self.row.status.state in (DONE, FAILED) else "not run"


def compute_rows(experiment: Experiment) -> list[RowMetrics]:
    """Every row of a table; the first one marked so is the baseline, else the first row."""
    marked = [row.name for row in experiment.rows if row.baseline]
    baseline = marked[0] if marked else experiment.rows[0].name
    tables = {row.name: _predictions(row) for row in experiment.rows}
    computed = [_row_metrics(row, *tables[row.name]) for row in experiment.rows]
    seconds = next((row.status.train_seconds for row in experiment.rows if row.name == baseline), None)
    return [
        dataclasses.replace(
            metrics,
            is_baseline=metrics.row.name == baseline,
            comparison=_comparison(tables[metrics.row.name][0], tables[baseline][0], metrics.row.name == baseline),
            train_time_ratio=_ratio(metrics.row.status.train_seconds, seconds),
            same_answers_as=_same_answers(metrics.row.name, experiment, tables),
        )
        for metrics in computed
    ]


def _predictions(row: ExperimentRow) -> tuple[pd.DataFrame | None, str]:
    """The row's table, one line per photo; or None and the reason."""
    status = row.status
    if status.state != DONE:
        return None, status.reason or "no reason recorded"
    try:
        table = read_predictions(row.predictions_path)
    except VisualGpsError as error:
        return None, str(error)
    if table.empty:
        return None, f"{row.predictions_path}: no photos in it"
    try:
        _blocks(table)
    except ValueError as error:  # a file that was edited by hand
        return None, f"{row.predictions_path}: column 'captured_at' holds no time ({error})"
    keys = table["photo_id"].map(photo_key)
    return table.set_index(keys)[~keys.duplicated().to_numpy()], ""


def _row_metrics(row: ExperimentRow, table: pd.DataFrame | None, reason: str) -> RowMetrics:
    gap = row.status.gap if row.status.gap is not None else _ratio(row.status.val_loss, row.status.train_loss)
    if table is None:
        return RowMetrics(row, reason=reason, gap=gap)
    blocks, length_s = _blocks(table)
    night, no_night = _night(table, blocks)
    members = members_in(table)
    return RowMetrics(
        row,
        members=members,
        sessions=tuple(sorted(set(table["session"]))),
        block_length_s=length_s,
        errors=error_metrics(errors_m(table), blocks),
        by_member=_by_member(table, members, blocks),
        night=night,
        no_night=no_night,
        gap=gap,
    )


def _blocks(table: pd.DataFrame) -> tuple[np.ndarray, float]:
    captured = table["captured_at"] if "captured_at" in table else pd.Series([""] * len(table))
    return walk_blocks(table["session"].tolist(), capture_times_s(captured))


def errors_m(table: pd.DataFrame) -> np.ndarray:
    """Distance errors (N,) metres; NaN where there is no position."""
    return table["error_m"].to_numpy(dtype=np.float64)


def _by_member(table: pd.DataFrame, members: tuple[str, ...], blocks: np.ndarray) -> MemberMetrics | None:
    """None for fewer than two members, and where no photo has a position from each."""
    if len(members) < 2:
        return None
    truth = positions_m(table, "true_")
    each = np.stack([position_errors_m(positions_m(table, f"member_{name}_"), truth) for name in members])
    known = np.isfinite(each).all(axis=0)
    if not known.any():
        return None
    means = each[:, known].mean(axis=1)
    of_photos = error_metrics(each[:, known].mean(axis=0), blocks[known])
    return MemberMetrics(of_photos.mean_error_m, float(means.min()), float(means.max()))


def _night(table: pd.DataFrame, blocks: np.ndarray) -> tuple[NightMetrics | None, str]:
    light = light_of(table)
    if np.isnan(light).all():
        return None, "light unknown"
    rows = light == 1.0
    if not rows.any():
        return None, "no night photos"
    worst = worst_photos(table)
    errors = error_metrics(errors_m(table)[rows], blocks[rows])
    return NightMetrics(errors, worst.n_known_light, worst.n_night or 0, worst.night_share or 0.0), ""


def _same_answers(name: str, experiment: Experiment, tables: dict[str, tuple[pd.DataFrame | None, str]]) -> str:
    """Label of the first earlier row with the same answers; "" where there is none, and for tables without answers."""
    table = tables[name][0]
    if table is None or not {"east_m", "north_m"} <= set(table.columns) or not np.isfinite(positions_m(table)).any():
        return ""
    for row in experiment.rows:
        if row.name == name:
            break
        other = tables[row.name][0]
        if other is None or not {"east_m", "north_m"} <= set(other.columns) or set(other.index) != set(table.index):
            continue
        if np.array_equal(positions_m(table), positions_m(other.loc[table.index]), equal_nan=True):
            return row.label
    return ""


def _comparison(table: pd.DataFrame | None, baseline: pd.DataFrame | None, is_baseline: bool) -> Comparison | None:
    if table is None or baseline is None or is_baseline:
        return None
    shared = table.index.intersection(baseline.index, sort=False)
    if shared.empty:
        return None
    table = table.loc[shared]
    ours, theirs, blocks = errors_m(table), errors_m(baseline.loc[shared]), _blocks(table)[0]
    return Comparison(
        int((np.isfinite(ours) & np.isfinite(theirs)).sum()),
        mean_error_difference(ours, theirs, blocks),
        mean_error_ratio(ours, theirs, blocks),
    )


def _ratio(value: float | None, over: float | None) -> float | None:
    return None if value is None or not over else value / over
