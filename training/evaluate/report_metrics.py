"""Every metric of the report, computed from the rows of predictions.csv."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from campus_visual_gps.estimation.calibration import CALIBRATED
from campus_visual_gps.estimation.integrity import distance_outside_m
from training.evaluate.agreement import IMPOSSIBLE_OVER_M, AgreementMetrics, agreement_metrics
from training.evaluate.covariance_baselines import COVARIANCE_BASELINES
from training.evaluate.predict import covariances_m2, positions_m
from training.evaluate.tta_columns import column_prefix
from training.evaluate.whole_sessions import TouchedSessions, touched_rows, touched_sessions
from training.evaluate.worst import WorstPhotos, worst_photos
from training.metrics.bootstrap import BlockBootstrap, walk_blocks
from training.metrics.consistency import ConsistencyMetrics, consistency_metrics
from training.metrics.errors import (
    ErrorMetrics,
    error_metrics,
    mean_error_difference,
    mean_error_ratio,
    position_errors_m,
    share_of,
)
from training.metrics.estimate import Estimate, finite_or_none
from training.photos.manifest import capture_times_s

CONFORMAL_PERCENT = (90, 95)  # predictions.csv: radius90_m, radius95_m
GRID_NLL = "grid_nll"
DAY, NIGHT = "day", "night"
RECORDED = "recorded"


@dataclass(frozen=True)
class RunInfo:
    """What was scored on what. `n_seen_in_training` counts photos of the scored sessions that the bundle trained on.

    `baselines`: name -> "" or why it was not computed. Those in `comparisons` are other evaluations of the same photos.
    `covariance` is the one that was evaluated, by name, or RECORDED where the answers are not the bundle's. `tta` are
    the modes of test-time augmentation that were run, with so many views and the weight of the photo itself. Photos
    that every member misses by more than `impossible_over_m` are listed.
    """

    model_id: str
    bundle: str
    dataset: str
    split: str
    device: str
    precision: str
    evaluated_at: str
    member_names: list[str]
    area_source: str
    n_seen_in_training: int
    baselines: dict[str, str] = field(default_factory=dict)
    comparisons: list[str] = field(default_factory=list)
    covariance: str = CALIBRATED
    tta: list[str] = field(default_factory=list)
    tta_views: int = 0
    tta_original_weight: float = 0.0
    impossible_over_m: float = IMPOSSIBLE_OVER_M


@dataclass(frozen=True)
class SiteOutline:
    """The bundle's outline (V, 2), the training positions (N, 2), and how far outside a fix may lie, metres."""

    polygon_enu_m: np.ndarray
    training_enu_m: np.ndarray
    margin_m: float = 0.0


@dataclass(frozen=True)
class GroupMetrics:
    """Of the bundle's own answers for a group of photos."""

    errors: ErrorMetrics
    consistency: ConsistencyMetrics


@dataclass(frozen=True)
class BaselineGroup:
    """Of a baseline's answers for a group of photos.

    `errors` and `mean_error_ratio` (the bundle's mean error over the baseline's, paired) are None where the positions
    are the bundle's own, `consistency` is None where the baseline has no covariance.
    """

    n_photos: int
    errors: ErrorMetrics | None
    mean_error_ratio: Estimate | None
    consistency: ConsistencyMetrics | None


@dataclass(frozen=True)
class BaselineMetrics:
    """A baseline over all photos and by light ("day", "night"); or the reason why it was not computed."""

    not_computed: str = ""
    all: BaselineGroup | None = None
    by_light: dict[str, BaselineGroup] = field(default_factory=dict)


@dataclass(frozen=True)
class TtaMetrics:
    """Of the answers of a mode of test-time augmentation.

    `mean_difference_m` is its mean error minus the plain ensemble's, paired photo by photo; `seconds_per_photo` is the
    mean time of a photo with all its views, `plain_seconds_per_photo` that of the plain ensemble in the same run.
    """

    errors: ErrorMetrics
    consistency: ConsistencyMetrics
    mean_difference_m: Estimate
    seconds_per_photo: float
    plain_seconds_per_photo: float


@dataclass(frozen=True)
class TimeMetrics:
    """Seconds per photo: transform and ensemble together, and the ensemble alone; None where none was measured."""

    seconds_per_photo_median: float | None
    ensemble_s_median: float | None
    ensemble_s_p95: float | None


@dataclass(frozen=True)
class ReportMetrics:
    """Everything that report.json holds of an evaluation of photos; `training.report.flatten` writes it.

    `block_length_s` is the length of the stretches that intervals are drawn from. `by_light` has "day" and "night"
    where there are such photos. `untouched_sessions` and `touched_sessions` are told apart where sessions are
    `on_both_sides` (paper, section 3.5: photos that were moved to training), and None elsewhere.
    """

    run: RunInfo
    block_length_s: float
    n_outside_site: int
    all: GroupMetrics
    accepted: GroupMetrics
    rejected: GroupMetrics
    accepted_share: Estimate
    by_light: dict[str, GroupMetrics]
    by_session: dict[str, GroupMetrics]
    by_area: dict[str, GroupMetrics]
    by_rejection_reason: dict[str, ErrorMetrics]
    by_member: dict[str, ErrorMetrics]
    by_baseline: dict[str, BaselineMetrics]
    worst: WorstPhotos
    time: TimeMetrics
    agreement: AgreementMetrics | None = None
    by_tta: dict[str, TtaMetrics] = field(default_factory=dict)
    on_both_sides: TouchedSessions | None = None
    untouched_sessions: GroupMetrics | None = None
    touched_sessions: GroupMetrics | None = None


def compute_metrics(predictions: pd.DataFrame, run: RunInfo, site: SiteOutline) -> ReportMetrics:
    """The metrics of all photos and of each group, member and baseline.

    Args:
        predictions: as `read_predictions` returns them.
        run: copied into the result; its members and baselines are those that are computed.
        site: which photos count as outside of it.
    """
    blocks, block_length_s = walk_blocks(predictions["session"].tolist(), capture_times_s(predictions["captured_at"]))
    accepted = (predictions["rejection_reason"] == "").to_numpy()
    touched, on_both_sides = touched_rows(predictions), touched_sessions(predictions)

    def group(rows: np.ndarray) -> GroupMetrics:
        return _group(predictions[rows], blocks[rows])

    return ReportMetrics(
        run=run,
        block_length_s=block_length_s,
        n_outside_site=_outside_site(predictions, site),
        all=group(np.ones(len(predictions), dtype=bool)),
        accepted=group(accepted),
        rejected=group(~accepted),
        accepted_share=share_of(accepted, BlockBootstrap(blocks)),
        by_light={light: group(rows) for light, rows in _lights(predictions)},
        by_session={name: group(rows) for name, rows in _by_name(predictions, "session")},
        by_area={name: group(rows) for name, rows in _by_name(predictions, "area")},
        by_rejection_reason=_by_rejection_reason(predictions, blocks),
        by_member={name: _member(predictions, name, blocks) for name in run.member_names},
        by_baseline={name: _baseline(name, reason, predictions, blocks) for name, reason in run.baselines.items()},
        worst=worst_photos(predictions),
        time=_times(predictions),
        agreement=agreement_metrics(predictions, run.member_names, run.impossible_over_m),
        by_tta={mode: _tta(mode, predictions, blocks) for mode in run.tta},
        on_both_sides=on_both_sides,
        untouched_sessions=group(~touched) if on_both_sides else None,
        touched_sessions=group(touched) if on_both_sides else None,
    )


def _lights(predictions: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Rows (N,) bool of day and night, where there are such photos; a photo whose light is unknown is in neither."""
    for light, is_night in ((DAY, False), (NIGHT, True)):
        rows = (predictions["night"] == is_night).fillna(False).to_numpy(dtype=bool)
        if rows.any():
            yield light, rows


def _by_name(predictions: pd.DataFrame, column: str) -> Iterator[tuple[str, np.ndarray]]:
    """Rows (N,) bool of each session or area."""
    for name in sorted(predictions[column].unique()):
        yield name, (predictions[column] == name).to_numpy()


def _group(rows: pd.DataFrame, blocks: np.ndarray) -> GroupMetrics:
    return GroupMetrics(error_metrics(_errors_m(rows), blocks), _consistency(rows, blocks))


def _errors_m(rows: pd.DataFrame) -> np.ndarray:
    return rows["error_m"].to_numpy(dtype=np.float64)


def _consistency(rows: pd.DataFrame, blocks: np.ndarray, prefix: str = "") -> ConsistencyMetrics:
    """Of the positions and covariances with that prefix; only the bundle's own have conformal radii and a grid."""
    offsets = positions_m(rows, prefix) - positions_m(rows, "true_")
    columns = {} if prefix else {percent: f"radius{percent}_m" for percent in CONFORMAL_PERCENT}
    radii = {percent: rows[name].to_numpy(dtype=np.float64) for percent, name in columns.items() if name in rows}
    grid_nll = None if prefix or GRID_NLL not in rows else rows[GRID_NLL].to_numpy(dtype=np.float64)
    return consistency_metrics(offsets, covariances_m2(rows, prefix), blocks, radii, grid_nll)


def _by_rejection_reason(predictions: pd.DataFrame, blocks: np.ndarray) -> dict[str, ErrorMetrics]:
    """The most frequent reason first."""
    reasons, errors_m = predictions["rejection_reason"], _errors_m(predictions)
    names = reasons[reasons != ""].value_counts().index
    found = {str(name): (reasons == name).to_numpy() for name in names}
    return {name: error_metrics(errors_m[rows], blocks[rows]) for name, rows in found.items()}


def _member(predictions: pd.DataFrame, name: str, blocks: np.ndarray) -> ErrorMetrics:
    positions = positions_m(predictions, f"member_{name}_")
    return error_metrics(position_errors_m(positions, positions_m(predictions, "true_")), blocks)


def _tta(mode: str, predictions: pd.DataFrame, blocks: np.ndarray) -> TtaMetrics:
    prefix = column_prefix(mode)
    errors_m = position_errors_m(positions_m(predictions, prefix), positions_m(predictions, "true_"))
    return TtaMetrics(
        errors=error_metrics(errors_m, blocks),
        consistency=_consistency(predictions, blocks, prefix),
        mean_difference_m=mean_error_difference(errors_m, _errors_m(predictions), blocks),
        seconds_per_photo=float(predictions[f"{prefix}s"].mean()),
        plain_seconds_per_photo=float((predictions["transform_s"] + predictions["ensemble_s"]).mean()),
    )


def _times(predictions: pd.DataFrame) -> TimeMetrics:
    ensemble_s = predictions["ensemble_s"]
    return TimeMetrics(
        seconds_per_photo_median=finite_or_none((predictions["transform_s"] + ensemble_s).median()),
        ensemble_s_median=finite_or_none(ensemble_s.median()),
        ensemble_s_p95=finite_or_none(ensemble_s.quantile(0.95)),
    )


def _baseline(name: str, reason: str, predictions: pd.DataFrame, blocks: np.ndarray) -> BaselineMetrics:
    if reason:
        return BaselineMetrics(not_computed=reason)
    by_light = {light: _baseline_group(name, predictions[rows], blocks[rows]) for light, rows in _lights(predictions)}
    return BaselineMetrics(all=_baseline_group(name, predictions, blocks), by_light=by_light)


def _baseline_group(name: str, rows: pd.DataFrame, blocks: np.ndarray) -> BaselineGroup:
    errors, ratio, consistency = None, None, None
    if name not in COVARIANCE_BASELINES:
        errors_m = baseline_errors_m(rows, name)
        errors, ratio = error_metrics(errors_m, blocks), mean_error_ratio(_errors_m(rows), errors_m, blocks)
    if f"baseline_{name}_cov_ee_m2" in rows:
        consistency = _consistency(rows, blocks, f"baseline_{name}_")
    return BaselineGroup(len(rows), errors, ratio, consistency)


def baseline_errors_m(predictions: pd.DataFrame, name: str) -> np.ndarray:
    """Errors (N,) metres of a baseline that was computed."""
    return position_errors_m(positions_m(predictions, f"baseline_{name}_"), positions_m(predictions, "true_"))


def _outside_site(predictions: pd.DataFrame, site: SiteOutline) -> int:
    truth = positions_m(predictions, "true_")
    return sum(distance_outside_m(point, site.polygon_enu_m) > site.margin_m for point in truth)
