"""Pairs of a visual fix and the receiver's position at its stamp, for their comparison. Without ROS.

Visual fixes arrive later than the receiver's of the same time, so the receiver's last seconds are kept. The receiver's
position at the stamp of an image is interpolated between the two fixes around it.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np

from campus_visual_gps.gnss.receiver_fix import EARTH_RADIUS_M

_METRES_PER_DEG = math.radians(EARTH_RADIUS_M)
# No image is that accurate. It keeps one fix with a tiny covariance from outweighing the others.
MIN_VISUAL_SIGMA_M = 2.0
# Two fixes of the receiver farther apart in time do not tell where it was between them.
MAX_GAP_S = 2.5
# Images nearer in time have the same error and tell nothing more.
MIN_SPACING_S = 0.2
# Camera and receiver may differ by this much in the time at which they see the robot, at its speed.
STAMP_SIGMA_S = 0.25
# A receiver whose fixes, by their stamps, are older than the images that arrive with them by more than this has a clock
# that is behind. The other way round inference takes some time, and more than that is a camera's clock.
MAX_RECEIVER_LAG_S, MAX_VISUAL_LAG_S = 1.0, 5.0
# How long a visual fix may take to arrive.
_KEPT_S = 10.0


class VisualFix(NamedTuple):
    """An accepted visual fix: stamp, position, and the covariance (2, 2) of this image alone, east and north."""

    stamp_s: float
    latitude_deg: float
    longitude_deg: float
    cov_enu_m2: np.ndarray

    @property
    def sigma_m(self) -> float:
        """An upper bound of the standard deviation along the worst direction."""
        return math.sqrt(float(self.cov_enu_m2[0, 0] + self.cov_enu_m2[1, 1]))

    @property
    def axis_sigma_m(self) -> float:
        """Standard deviation per axis, from the mean of both variances."""
        return self.sigma_m / math.sqrt(2.0)

    def is_sound(self) -> bool:
        """Whether all numbers are finite and the covariance is positive definite."""
        (east_m2, cross_m2), (other_m2, north_m2) = self.cov_enu_m2.tolist()
        if not all(map(math.isfinite, (self.latitude_deg, self.longitude_deg, east_m2, north_m2, cross_m2, other_m2))):
            return False
        return east_m2 > 0.0 and north_m2 > 0.0 and cross_m2 * other_m2 < east_m2 * north_m2


class FixPair(NamedTuple):
    """Receiver and camera at one time, metres east and north.

    The offset is the receiver's position less the camera's; both positions count from the first pair's receiver.
    `receiver_var_m2` holds per axis and includes the motion between the stamps.
    """

    stamp_s: float
    offset_east_m: float
    offset_north_m: float
    receiver_east_m: float
    receiver_north_m: float
    visual_east_m: float
    visual_north_m: float
    visual_ee_m2: float
    visual_en_m2: float
    visual_nn_m2: float
    receiver_var_m2: float


class _Position(NamedTuple):
    stamp_s: float
    latitude_deg: float
    longitude_deg: float
    sigma_m: float
    delay_s: float


class FixPairing:
    """Makes pairs of two streams, each with increasing stamps. `receiver` and `visual` return the new pairs."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget both streams."""
        self._receiver: deque[_Position] = deque()
        self._waiting: deque[tuple[VisualFix, float]] = deque()
        self._origin_deg: tuple[float, float] | None = None
        self._paired_s = -math.inf

    def receiver(
        self, stamp_s: float, latitude_deg: float, longitude_deg: float, sigma_m: float, now_s: float
    ) -> list[FixPair]:
        """A fix of the receiver arrived at `now_s`."""
        if self._receiver and stamp_s <= self._receiver[-1].stamp_s:
            return []
        self._receiver.append(_Position(stamp_s, latitude_deg, longitude_deg, sigma_m, now_s - stamp_s))
        while self._receiver[0].stamp_s < stamp_s - _KEPT_S:
            self._receiver.popleft()
        return self._pairs()

    def visual(self, fix: VisualFix, now_s: float) -> list[FixPair]:
        """A visual fix arrived at `now_s`."""
        self._waiting.append((fix, now_s - fix.stamp_s))
        return self._pairs()

    def _pairs(self) -> list[FixPair]:
        """Pairs of the visual fixes that the receiver has come up with; those that it has passed by are dropped."""
        pairs: list[FixPair] = []
        if not self._receiver:
            self._drop_old()
            return pairs
        while self._waiting and self._waiting[0][0].stamp_s <= self._receiver[-1].stamp_s:
            fix, delay_s = self._waiting.popleft()
            if fix.stamp_s - self._paired_s >= MIN_SPACING_S - 1e-6 and (around := self._around(fix.stamp_s)):
                pair = self._pair(fix, delay_s, *around)
                if pair is not None:
                    self._paired_s = fix.stamp_s
                    pairs.append(pair)
        self._drop_old()
        return pairs

    def _drop_old(self) -> None:
        while len(self._waiting) > 1 and self._waiting[-1][0].stamp_s - self._waiting[0][0].stamp_s > _KEPT_S:
            self._waiting.popleft()

    def _around(self, stamp_s: float) -> tuple[_Position, _Position] | None:
        """The two fixes of the receiver around a stamp, which may be one and the same."""
        later = self._receiver[-1]
        for earlier in reversed(self._receiver):
            if earlier.stamp_s <= stamp_s:
                near = later.stamp_s - earlier.stamp_s <= MAX_GAP_S
                return (earlier, later) if near else None
            later = earlier
        return None

    def _pair(self, fix: VisualFix, delay_s: float, earlier: _Position, later: _Position) -> FixPair | None:
        if not -MAX_RECEIVER_LAG_S <= delay_s - later.delay_s <= MAX_VISUAL_LAG_S:
            return None
        span_s = later.stamp_s - earlier.stamp_s
        share = (fix.stamp_s - earlier.stamp_s) / span_s if span_s > 0.0 else 0.0
        self._origin_deg = self._origin_deg or (earlier.latitude_deg, earlier.longitude_deg)
        first, last = (self._local_m(place.latitude_deg, place.longitude_deg) for place in (earlier, later))
        receiver = (first[0] + share * (last[0] - first[0]), first[1] + share * (last[1] - first[1]))
        visual = self._local_m(fix.latitude_deg, fix.longitude_deg)
        speed_mps = math.dist(first, last) / span_s if span_s > 0.0 else 0.0
        variance_m2 = max(earlier.sigma_m, later.sigma_m) ** 2 + (STAMP_SIGMA_S * speed_mps) ** 2
        offset = (receiver[0] - visual[0], receiver[1] - visual[1])
        (east_m2, cross_m2), (_, north_m2) = fix.cov_enu_m2.tolist()
        east_m2, north_m2 = max(east_m2, MIN_VISUAL_SIGMA_M**2), max(north_m2, MIN_VISUAL_SIGMA_M**2)
        return FixPair(fix.stamp_s, *offset, *receiver, *visual, east_m2, cross_m2, north_m2, variance_m2)

    def _local_m(self, latitude_deg: float, longitude_deg: float) -> tuple[float, float]:
        """East and north of the origin, on a sphere, which a site cannot tell from the ellipsoid by half a percent."""
        assert self._origin_deg is not None
        return offset_m(latitude_deg, longitude_deg, *self._origin_deg)


def offset_m(
    latitude_deg: float, longitude_deg: float, latitude_ref_deg: float, longitude_ref_deg: float
) -> tuple[float, float]:
    """Metres east and north of a reference point, also across the antimeridian."""
    turned_deg = (longitude_deg - longitude_ref_deg + 180.0) % 360.0 - 180.0
    east_m = turned_deg * _METRES_PER_DEG * math.cos(math.radians(latitude_ref_deg))
    return east_m, (latitude_deg - latitude_ref_deg) * _METRES_PER_DEG
