"""A stand-in for the filter `ekf_map` of robot_localization: wheel odometry and fixes in, position and covariance out.

It is the part of its extended Kalman filter that is left in the plane and with the sensors of config/ekf.yaml but the
IMU: x, y, yaw, their velocities in the robot's frame, and accelerations. Motion model, growth of the covariance with
time, start from the first measurement, rejection by Mahalanobis distance and the return to the stamp of a late fix are
those of src/ekf.cpp and src/ros_filter.cpp of robot_localization 3.6.0; docs/fusion.md compares the two on a drive.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from campus_visual_gps.errors import ConfigError

CONFIG = Path(__file__).parents[2] / "config" / "ekf.yaml"
# Of the 15 numbers of robot_localization's state: x, y, yaw, vx, vy, vyaw, ax, ay.
_STATE = [0, 1, 5, 6, 7, 11, 12, 13]
_POSITION, _YAW, _VELOCITY = [0, 1], 2, [3, 4, 5]
# The filter takes smaller variances for this, and negative ones without their sign.
_MIN_VARIANCE = 1e-9


@dataclass(frozen=True)
class FilterSettings:
    """process_noise (8, 8) per second, initial_covariance (8, 8), rejection_sigmas and history_s."""

    process_noise: np.ndarray
    initial_covariance: np.ndarray
    rejection_sigmas: float
    history_s: float

    @classmethod
    def read(cls, path: Path = CONFIG) -> FilterSettings:
        """Of the filter `ekf_map` in a parameter file. Raises ConfigError."""
        try:
            own = yaml.safe_load(path.read_text(encoding="utf-8"))["/**"]["ekf_map"]["ros__parameters"]
            noise, initial = (
                np.array(own[name], dtype=np.float64).reshape(15, 15)[np.ix_(_STATE, _STATE)]
                for name in ("process_noise_covariance", "initial_estimate_covariance")
            )
            return cls(noise, initial, float(own["odom1_pose_rejection_threshold"]), float(own["history_length"]))
        except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: no settings of ekf_map ({type(error).__name__}: {error})") from error


@dataclass(frozen=True)
class Measurements:
    """Of one kind: stamps and arrivals (N,) ns, values (N, D), covariances (N, D, D).

    Velocities are forward, left and turn in m/s and rad/s of the robot, positions are east and north in metres.
    """

    stamps_ns: np.ndarray
    arrivals_ns: np.ndarray
    values: np.ndarray
    covariances: np.ndarray

    def __len__(self) -> int:
        return len(self.stamps_ns)


@dataclass(frozen=True)
class FilterRun:
    """Positions (K, 2) metres and covariances (K, 2, 2), NaN before the first fix, and how many fixes were rejected."""

    positions_m: np.ndarray
    covariances_m2: np.ndarray
    rejected: int


class _Measurement(NamedTuple):
    arrival_ns: int
    stamp_ns: int
    rows: list[int]
    value: np.ndarray
    covariance: np.ndarray


class PlanarFilter:
    """The filter. `fuse` takes measurements in the order in which they arrive, whatever their stamps."""

    def __init__(self, settings: FilterSettings):
        self._settings = settings
        self._mean = np.zeros(len(_STATE))
        self._cov = settings.initial_covariance.copy()
        self._stamp_ns: int | None = None
        # measurements with the state after each, in the order of their stamps
        self._history: deque[tuple[_Measurement, np.ndarray, np.ndarray, int]] = deque()
        self._rejected: set[int] = set()

    @property
    def rejected(self) -> int:
        """How many fixes were rejected."""
        return len(self._rejected)

    def fuse(self, measurement: _Measurement) -> None:
        """A measurement arrived; one with an older stamp is fused at its time, and the later ones are repeated."""
        repeated = []
        newest_ns = self._stamp_ns
        if newest_ns is not None and newest_ns - self._settings.history_s * 1e9 <= measurement.stamp_ns < newest_ns:
            while len(self._history) > 1 and self._history[-1][0].stamp_ns > measurement.stamp_ns:
                repeated.append(self._history.pop()[0])
            _, mean, cov, self._stamp_ns = self._history[-1]
            self._mean, self._cov = mean.copy(), cov.copy()
        for own in (measurement, *reversed(repeated)):
            self._update(own)
            self._history.append((own, self._mean.copy(), self._cov.copy(), self._stamp_ns or 0))
        oldest_ns = (self._stamp_ns or 0) - self._settings.history_s * 1e9
        while len(self._history) > 1 and self._history[0][0].stamp_ns < oldest_ns:
            self._history.popleft()

    def at(self, stamp_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Position (2,) and covariance (2, 2) at a time, predicted from what has been fused."""
        mean, cov = self._mean, self._cov
        if self._stamp_ns is not None and stamp_ns > self._stamp_ns:
            mean, cov = self._predicted((stamp_ns - self._stamp_ns) / 1e9)
        return mean[_POSITION].copy(), cov[np.ix_(_POSITION, _POSITION)].copy()

    def _predicted(self, dt: float) -> tuple[np.ndarray, np.ndarray]:
        _, _, yaw, vx, vy, _, ax, ay = self._mean
        cosine, sine, half = math.cos(yaw), math.sin(yaw), 0.5 * dt * dt
        step = np.eye(len(_STATE))
        step[0, 3:8] = cosine * dt, -sine * dt, 0.0, cosine * half, -sine * half
        step[1, 3:8] = sine * dt, cosine * dt, 0.0, sine * half, cosine * half
        step[2, 5] = step[3, 6] = step[4, 7] = dt
        mean = step @ self._mean
        mean[_YAW] = math.remainder(mean[_YAW], math.tau)
        east, north = vx * dt + ax * half, vy * dt + ay * half
        step[0, _YAW] = -sine * east - cosine * north
        step[1, _YAW] = cosine * east - sine * north
        return mean, step @ self._cov @ step.T + dt * self._settings.process_noise

    def _update(self, measurement: _Measurement) -> None:
        _, stamp_ns, rows, value, covariance = measurement
        if self._stamp_ns is None:
            self._stamp_ns = stamp_ns
            self._mean[rows] = value
            self._cov[np.ix_(rows, rows)] = covariance
            return
        if stamp_ns > self._stamp_ns:
            self._mean, self._cov = self._predicted((stamp_ns - self._stamp_ns) / 1e9)
            self._stamp_ns = stamp_ns
        innovation = value - self._mean[rows]
        weights = np.linalg.inv(self._cov[np.ix_(rows, rows)] + covariance)
        if rows == _POSITION:
            # a fix that is repeated after a late one may be judged otherwise
            self._rejected.discard(stamp_ns)
            if innovation @ weights @ innovation >= self._settings.rejection_sigmas**2:
                self._rejected.add(stamp_ns)
                return
        gain = self._cov[:, rows] @ weights
        self._mean = self._mean + gain @ innovation
        self._mean[_YAW] = math.remainder(self._mean[_YAW], math.tau)
        # Joseph's form
        keep = np.eye(len(_STATE))
        keep[:, rows] -= gain
        self._cov = keep @ self._cov @ keep.T + gain @ covariance @ gain.T


def run_filter(
    velocities: Measurements, fixes: Measurements, times_ns: np.ndarray, settings: FilterSettings | None = None
) -> FilterRun:
    """What the filter says at times (K,), ascending, each from what had arrived by then."""
    ekf = PlanarFilter(settings or FilterSettings.read())
    arrived = sorted(
        [*_measurements(velocities, _VELOCITY), *_measurements(fixes, _POSITION)],
        key=lambda own: (own.arrival_ns, own.stamp_ns),
    )
    first_fix_ns = int(fixes.arrivals_ns.min()) if len(fixes) else None
    positions, covariances, taken = np.full((len(times_ns), 2), np.nan), np.full((len(times_ns), 2, 2), np.nan), 0
    for row, time_ns in enumerate(np.asarray(times_ns).tolist()):
        while taken < len(arrived) and arrived[taken].arrival_ns <= time_ns:
            ekf.fuse(arrived[taken])
            taken += 1
        if first_fix_ns is not None and time_ns >= first_fix_ns:
            positions[row], covariances[row] = ekf.at(time_ns)
    return FilterRun(positions, covariances, ekf.rejected)


def _measurements(of: Measurements, rows: list[int]) -> list[_Measurement]:
    covariances = of.covariances.copy()
    diagonal = np.arange(covariances.shape[-1])
    variances = np.abs(covariances[:, diagonal, diagonal])
    covariances[:, diagonal, diagonal] = np.maximum(variances, _MIN_VARIANCE)
    columns = (of.arrivals_ns.tolist(), of.stamps_ns.tolist(), of.values, covariances)
    return [
        _Measurement(arrival_ns, stamp_ns, rows, value, covariance)
        for arrival_ns, stamp_ns, value, covariance in zip(*columns, strict=True)
    ]
