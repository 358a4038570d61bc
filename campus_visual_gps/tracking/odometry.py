"""OdometryPath: what odometry says about the motion, without its faults, at any recent time."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from typing import NamedTuple

import numpy as np

# Samples older than this before the newest are forgotten: images come later than the odometry of their time, by less.
HISTORY_S = 10.0
# A faster robot is an odometry that was reset; so is a step of more than a metre between two samples at one time.
MAX_SPEED_MPS, MAX_STEP_M = 20.0, 1.0
# Variance an axis that a metre of driving adds whatever the odometry's own covariance says: 1 m after 100 m.
NOISE_M2_PER_M = 0.01
# Driver constants and resets make covariances that no drive has: no metre adds more than this.
MAX_NOISE_M2_PER_M = 0.25
# Variance an axis that a step adds that was no motion.
JUMP_VARIANCE_M2 = 4.0
# Samples nearer to each other in time are one: a faster odometry says nothing more.
_MIN_INTERVAL_S = 0.005


class PathState(NamedTuple):
    """Where the odometry is: a position (2,) without jumps, metres; sums since it began of turning, way and variance.

    `yaw_rad` is the odometry's, without jumps of 2 pi. `variance_m2` is an axis'.
    """

    position_m: np.ndarray
    yaw_rad: float
    way_m: float
    variance_m2: float


class OdometryPath:
    """A path from samples of odometry. Bad samples (NaN, repeated or old stamps, jumps) are left out or bridged."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all samples."""
        self._stamps_s: deque[float] = deque()
        self._states: deque[PathState] = deque()
        self._raw_m = np.zeros(2)
        self._raw_yaw_rad = 0.0
        self._raw_cov_m2: float | None = None

    @property
    def newest_s(self) -> float | None:
        """Stamp of the newest sample; None without any."""
        return self._stamps_s[-1] if self._stamps_s else None

    def add(
        self, stamp_s: float, position_m: np.ndarray, cov_m2: np.ndarray | None = None, yaw_rad: float | None = None
    ) -> bool:
        """Take a sample; False where it is left out.

        Args:
            stamp_s: Seconds.
            position_m: (2,) metres in the odometry's axes.
            cov_m2: (2, 2) square metres of the position since the odometry began: what it grows by is the motion's.
            yaw_rad: Of the robot, in the odometry's axes.
        """
        position = np.asarray(position_m, dtype=np.float64).ravel()[:2]
        if position.shape != (2,) or not (math.isfinite(stamp_s) and np.isfinite(position).all()):
            return False
        yaw = self._raw_yaw_rad if yaw_rad is None or not math.isfinite(yaw_rad) else yaw_rad
        variance = _variance(cov_m2)
        newest_s = self.newest_s
        if newest_s is None:
            self._append(stamp_s, PathState(np.zeros(2), yaw, 0.0, 0.0))
        elif stamp_s - newest_s < _MIN_INTERVAL_S:
            return False
        else:
            self._append(stamp_s, self._next(stamp_s - newest_s, position, variance, yaw))
        self._raw_m, self._raw_yaw_rad, self._raw_cov_m2 = position, yaw, variance
        return True

    def at(self, stamp_s: float) -> PathState | None:
        """The state at a time, between samples by interpolation, beyond them that of the nearest; None without any."""
        if not self._stamps_s:
            return None
        after = bisect_right(self._stamps_s, stamp_s)
        if after in (0, len(self._stamps_s)):
            return self._states[0 if after == 0 else -1]
        start_s, end_s = self._stamps_s[after - 1], self._stamps_s[after]
        first, second = self._states[after - 1], self._states[after]
        share = (stamp_s - start_s) / (end_s - start_s)
        return PathState(
            first.position_m + share * (second.position_m - first.position_m),
            first.yaw_rad + share * (second.yaw_rad - first.yaw_rad),
            first.way_m + share * (second.way_m - first.way_m),
            first.variance_m2 + share * (second.variance_m2 - first.variance_m2),
        )

    def _next(self, dt_s: float, position: np.ndarray, variance: float | None, yaw: float) -> PathState:
        last = self._states[-1]
        turned = (yaw - self._raw_yaw_rad + math.pi) % (2.0 * math.pi) - math.pi
        with np.errstate(over="ignore"):
            step = position - self._raw_m
            length_m = math.hypot(*step)
        if not length_m <= MAX_SPEED_MPS * dt_s + MAX_STEP_M:
            return last._replace(variance_m2=last.variance_m2 + JUMP_VARIANCE_M2)
        grown = 0.0 if variance is None or self._raw_cov_m2 is None else variance - self._raw_cov_m2
        noise = min(max(grown, NOISE_M2_PER_M * length_m), MAX_NOISE_M2_PER_M * length_m)
        return PathState(last.position_m + step, last.yaw_rad + turned, last.way_m + length_m, last.variance_m2 + noise)

    def _append(self, stamp_s: float, state: PathState) -> None:
        self._stamps_s.append(stamp_s)
        self._states.append(state)
        while self._stamps_s[0] < stamp_s - HISTORY_S and len(self._stamps_s) > 2:
            self._stamps_s.popleft()
            self._states.popleft()


def _variance(cov_m2: np.ndarray | None) -> float | None:
    """Variance an axis of a covariance (2, 2); None for one that is none."""
    cov = np.empty(0) if cov_m2 is None else np.asarray(cov_m2, dtype=np.float64)
    if cov.shape != (2, 2) or not np.isfinite(cov).all() or min(cov[0, 0], cov[1, 1]) < 0.0:
        return None
    return float(cov[0, 0] + cov[1, 1]) / 2.0
