"""Forward-backward smoothing of a whole session, offline: each position given the images before and after it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from campus_visual_gps.errors import EstimateError
from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.information import ImageInformation
from campus_visual_gps.tracking.interpolation import moved, shifted
from campus_visual_gps.tracking.measurement import ImageLikelihood
from campus_visual_gps.tracking.odometry import NOISE_M2_PER_M
from campus_visual_gps.tracking.raster import BeliefRaster
from campus_visual_gps.tracking.tracker import DIRECTION_TIME_S, TrackedPosition, tracked_position


class _Step(NamedTuple):
    """Between two images: seconds, variance an axis, and the displacement in whole cells (columns, rows)."""

    dt_s: float
    variance_m2: float
    cells: np.ndarray


class _Message(NamedTuple):
    """A belief, or a likelihood of what comes later: over the raster (R, C), and of the lost state."""

    site: np.ndarray
    lost: float

    def scaled(self) -> _Message:
        total = float(self.site.sum()) + self.lost
        return _Message(self.site / total, self.lost / total)


def smooth(
    grid: LocationGrid,
    calibration: TrackingCalibration,
    stamps_s: np.ndarray,
    grid_probs: np.ndarray,
    displacements_enu_m: np.ndarray | None = None,
    cameras: Sequence[str] | None = None,
    reachable: np.ndarray | None = None,
) -> list[TrackedPosition]:
    """Positions of N images of one session, each given all of them.

    Args:
        grid: Of the posteriors.
        calibration: As of the tracker; the covariance has its scale and floor of smoothed positions.
        stamps_s: (N,) seconds that do not fall.
        grid_probs: (N, K), the images' calibrated posteriors.
        displacements_enu_m: (N - 1, 2) metres east and north from each image to the next one, by odometry; None for a
            random walk.
        cameras: (N,) names, where there are several.
        reachable: (K,) bool, as of the tracker.

    Returns:
        N positions. `contradicted` compares an image with what all others say.

    Raises:
        EstimateError: a posterior, a stamp or a displacement cannot be used.
        ConfigError: the mask does not fit.
    """
    raster = BeliefRaster(grid, reachable)
    stamps = _checked_stamps(stamps_s, len(grid_probs))
    steps, offsets_m = _steps(stamps, displacements_enu_m, calibration, grid.cell_m)
    likelihood = ImageLikelihood(raster, calibration)
    ratios = [
        _seen_from(likelihood.ratio(own), offset, raster) for own, offset in zip(grid_probs, offsets_m, strict=True)
    ]
    information = ImageInformation(calibration)
    names = cameras or [""] * len(stamps)
    shares = [information.share(stamp, name, None) for stamp, name in zip(stamps, names, strict=True)]
    weights = [
        likelihood.of(np.log(likelihood.with_outliers(ratio)), share)
        for ratio, share in zip(ratios, shares, strict=True)
    ]
    lost = calibration.lost_rate_hz / (calibration.lost_rate_hz + calibration.found_rate_hz)
    before = [_Message(raster.uniform() * (1.0 - lost), lost)]
    for step, weight in zip(steps, weights[:-1], strict=True):
        own = _Message(before[-1].site * weight, before[-1].lost).scaled()
        before.append(_forward(own, step, raster, calibration))
    after, result, of_smoothed = _Message(np.ones(raster.shape), 1.0), [], calibration.of_smoothed()
    for index in reversed(range(len(stamps))):
        others = _Message(before[index].site * after.site, before[index].lost * after.lost).scaled()
        agreement = float(np.vdot(others.site, ratios[index])) / max(float(others.site.sum()), 1e-300)
        own = _Message(others.site * weights[index], others.lost).scaled()
        belief = shifted(own.site, _cells(offsets_m[index], raster))
        contradicted = likelihood.telling(ratios[index], agreement)[0] < calibration.contradiction_level
        result.append(tracked_position(stamps[index], belief, own.lost, raster, of_smoothed, contradicted))
        if index > 0:
            seen = _Message(after.site * weights[index], after.lost)
            after = _backward(seen, steps[index - 1], raster, calibration)
    return result[::-1]


def _checked_stamps(stamps_s: np.ndarray, count: int) -> list[float]:
    stamps = np.asarray(stamps_s, dtype=np.float64)
    if stamps.shape != (count,) or not np.isfinite(stamps).all():
        raise EstimateError(f"expected {count} stamps in seconds, as many as posteriors, got shape {stamps.shape}")
    if (np.diff(stamps) < 0.0).any():
        raise EstimateError(f"the stamp of image {int(np.argmax(np.diff(stamps) < 0.0)) + 1} falls; sort them by time")
    return stamps.tolist()


def _steps(
    stamps_s: list[float], displacements_enu_m: np.ndarray | None, calibration: TrackingCalibration, cell_m: float
) -> tuple[list[_Step], np.ndarray]:
    """The steps, and the offset (N, 2) of the raster at each image in metres: less than half a cell."""
    count = max(len(stamps_s) - 1, 0)
    intervals_s = np.diff(stamps_s)
    if displacements_enu_m is None:
        variances = calibration.speed_mps**2 * DIRECTION_TIME_S * intervals_s
        still = np.zeros(2)
        steps = [_Step(*own, still) for own in zip(intervals_s.tolist(), variances.tolist(), strict=True)]
        return steps, np.zeros((len(stamps_s), 2))
    displacements = np.asarray(displacements_enu_m, dtype=np.float64)
    if displacements.shape != (count, 2) or not np.isfinite(displacements).all():
        raise EstimateError(f"expected {count} finite displacements in metres, got shape {displacements.shape}")
    places = np.concatenate([np.zeros((1, 2)), np.cumsum(displacements, axis=0)])
    whole = np.round(places / cell_m)
    lengths_m = np.hypot(*displacements.T)
    steps = [
        _Step(float(dt), NOISE_M2_PER_M * float(length), after - before)
        for dt, length, (before, after) in zip(intervals_s, lengths_m, pairwise(whole), strict=True)
    ]
    return steps, places - whole * cell_m


def _seen_from(values: np.ndarray, offset_m: np.ndarray, raster: BeliefRaster) -> np.ndarray:
    return shifted(values, _cells(-offset_m, raster), replicate=True) if offset_m.any() else values


def _cells(offset_m: np.ndarray, raster: BeliefRaster) -> tuple[float, float]:
    columns, rows = (offset_m / raster.cell_m).tolist()
    return columns, rows


def _forward(own: _Message, step: _Step, raster: BeliefRaster, calibration: TrackingCalibration) -> _Message:
    """A belief after a step."""
    stays, found = _rates(step, calibration)
    site = raster.random_walk(_moved_by(own.site, step.cells), step.variance_m2) * stays
    site = site + own.lost * found * raster.uniform()
    return _Message(site, own.lost * (1.0 - found) + float(own.site.sum()) * (1.0 - stays)).scaled()


def _backward(seen: _Message, step: _Step, raster: BeliefRaster, calibration: TrackingCalibration) -> _Message:
    """The likelihood of all later images before a step: what `_forward` does, transposed."""
    stays, found = _rates(step, calibration)
    site = _moved_by(raster.random_walk(seen.site * raster.site, step.variance_m2), -step.cells)
    from_lost = float((seen.site * raster.uniform()).sum())
    site = site * stays + seen.lost * (1.0 - stays)
    return _Message(site, seen.lost * (1.0 - found) + found * from_lost).scaled()


def _rates(step: _Step, calibration: TrackingCalibration) -> tuple[float, float]:
    stays = math.exp(-calibration.lost_rate_hz * step.dt_s)
    return stays, -math.expm1(-calibration.found_rate_hz * step.dt_s)


def _moved_by(values: np.ndarray, cells: np.ndarray) -> np.ndarray:
    if not cells.any():
        return values
    columns, rows = (int(own) for own in np.clip(cells, -1e6, 1e6))
    return moved(values, rows, columns)
