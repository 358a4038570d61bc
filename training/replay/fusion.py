"""What a filter makes of a drive's fixes: fed by the receiver, by the fallback or by the camera alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from campus_visual_gps.estimation.correlated_errors import (
    DEFAULT_CORRELATION_TIME_S,
    IGNORE,
    INFLATE,
    THIN,
    ErrorDecorrelator,
    inflated,
)
from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.gnss.receiver_fix import complete, position_fault
from training.metrics.consistency import covered, nees
from training.replay.drive import Drive
from training.replay.fixes import Fixes
from training.replay.outages import Outage, inside
from training.replay.outages import positions_m as fix_positions_m
from training.replay.planar_filter import FilterSettings, Measurements, run_filter
from training.replay.switches import run_fallback, visual_fixes

RECEIVER, FALLBACK, VISUAL = "receiver", "fallback", "visual"
# Of fixes that a node published, which have been through `correlated_errors` already.
RECORDED = "recorded"
# The filter has found position and heading by then; the robot's pose is compared with the truth so often after it.
AFTER_S, EVERY_S = 10.0, 0.2


@dataclass(frozen=True)
class FusionScore:
    """Errors and consistency of the fused position: metres, mean NEES (ideal 2), share of truths in 95 % ellipses."""

    mean_error_m: float
    max_error_m: float
    nees_mean: float
    coverage_95_share: float


@dataclass(frozen=True)
class FusedInput:
    """One input of the filter: its source, and how correlated errors were treated (empty for the receiver's fixes).

    `drive` is from AFTER_S on, `outage` in the receiver's outages; None where there is nothing to compare.
    """

    source: str
    mode: str
    n_fixes: int
    n_rejected: int
    drive: FusionScore | None
    outage: FusionScore | None


@dataclass(frozen=True)
class FusionComparison:
    """All inputs of the filter, and the correlation time that was used, which is the bundle's or a default."""

    inputs: list[FusedInput]
    correlation_time_s: float
    is_measured: bool


_Fed = tuple[Fixes, np.ndarray]


def compare_fusion(accepted: pd.DataFrame, drive: Drive, outages: list[Outage]) -> FusionComparison | None:
    """Of the rows of predictions.csv with a fix; None without velocities of the odometry, or without a fix."""
    velocities = drive.odometry.velocities if drive.odometry is not None else None
    if velocities is None or not len(accepted):
        return None
    time_s = drive.correlation_time_s or DEFAULT_CORRELATION_TIME_S
    settings = FilterSettings.read()
    times_ns = np.arange(drive.start_ns, drive.end_ns, round(EVERY_S * 1e9))
    judge = partial(_judged, drive, outages, times_ns, drive.truth_m(times_ns))
    inputs = []
    for source, mode, (fixes, arrivals_ns) in _inputs(accepted, drive, time_s):
        positions_m = fix_positions_m(fixes, drive.frame)
        near = np.isfinite(positions_m).all(axis=1)
        fed = Measurements(
            fixes.stamps_ns[near], arrivals_ns[near], positions_m[near], fixes.covariances_enu_m2[near, :2, :2]
        )
        run = run_filter(velocities, fed, times_ns, settings)
        inputs.append(FusedInput(source, mode, len(fed), run.rejected, *judge(run.positions_m, run.covariances_m2)))
    return FusionComparison(inputs, time_s, drive.correlation_time_s is not None)


def _inputs(accepted: pd.DataFrame, drive: Drive, time_s: float) -> Iterator[tuple[str, str, _Fed]]:
    visual, visual_arrivals_ns = visual_fixes(accepted, drive.image_delays_s, drive.fix_delays_s)
    modes = [RECORDED] if drive.fix_delays_s else [IGNORE, THIN, INFLATE]
    if drive.arrivals:
        yield RECEIVER, "", _receiver_fixes(drive)
        for mode in modes:
            own = _decorrelator(mode, time_s)
            measured_s = drive.correlation_time_s
            run = run_fallback(drive.arrivals, visual, visual_arrivals_ns, None, own, measured_s)
            yield FALLBACK, mode, (run.fixes, run.arrivals_ns)
    for mode in modes:
        yield VISUAL, mode, decorrelated(visual, visual_arrivals_ns, _decorrelator(mode, time_s))


def _decorrelator(mode: str, time_s: float) -> ErrorDecorrelator:
    return ErrorDecorrelator(IGNORE if mode == RECORDED else mode, time_s)


def decorrelated(fixes: Fixes, arrivals_ns: np.ndarray, decorrelator: ErrorDecorrelator) -> _Fed:
    """The fixes (N,) and their arrivals as the node would publish them for a filter."""
    factors = [decorrelator.factor(stamp_ns) for stamp_ns in fixes.stamps_ns.tolist()]
    kept = np.array([factor is not None for factor in factors], dtype=bool)
    covariances = [
        cov if factor is None else inflated(cov, factor)
        for cov, factor in zip(fixes.covariances_enu_m2, factors, strict=True)
    ]
    changed = np.array(covariances, dtype=np.float64).reshape(-1, 3, 3)
    return replace(fixes, covariances_enu_m2=changed).where(kept), arrivals_ns[kept]


def _receiver_fixes(drive: Drive) -> _Fed:
    """The receiver's positions, with what a driver leaves out filled in as on the topic `fix`."""
    good = [arrival for arrival in drive.arrivals if position_fault(arrival.fix) is None]
    completed = [complete(arrival.fix, MonitorSettings().assumed_sigma_m, site_altitude_m=0.0)[0] for arrival in good]
    rows = [
        (arrival.stamp_ns, arrival.time_ns, fix[2:5], fix.cov_enu_m2)
        for arrival, fix in zip(good, completed, strict=True)
        if np.isfinite(fix.cov_enu_m2).all()
    ]
    rows.sort(key=lambda row: row[0])
    fixes = Fixes(
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 3),
        np.array([row[3] for row in rows], dtype=np.float64).reshape(-1, 3, 3),
        np.zeros(len(rows), dtype=np.int64),
    )
    return fixes, np.array([row[1] for row in rows], dtype=np.int64)


def _judged(
    drive: Drive,
    outages: list[Outage],
    times_ns: np.ndarray,
    truth_m: np.ndarray,
    positions_m: np.ndarray,
    covs_m2: np.ndarray,
) -> tuple[FusionScore | None, FusionScore | None]:
    known = np.isfinite(positions_m).all(axis=1) & np.isfinite(truth_m).all(axis=1)
    offsets_m = positions_m - truth_m
    after, within = drive.seconds(times_ns) >= AFTER_S, inside(outages, times_ns)
    return _score(offsets_m[known & after], covs_m2[known & after]), _score(
        offsets_m[known & within], covs_m2[known & within]
    )


def _score(offsets_m: np.ndarray, covs_m2: np.ndarray) -> FusionScore | None:
    if not len(offsets_m):
        return None
    errors_m, squared = np.linalg.norm(offsets_m, axis=1), nees(offsets_m, covs_m2)
    coverage = float(covered(squared, 0.95).mean())
    return FusionScore(float(errors_m.mean()), float(errors_m.max()), float(squared.mean()), coverage)
