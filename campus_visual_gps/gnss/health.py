"""Is the real GPS healthy? From the stream of a receiver's fixes, without ROS: healthy, degraded or lost, and why.

A fix is judged by itself (status, numbers, covariance), against the last good one (a jump that no robot drives) and
against the clock (silence, delay). The state follows the verdicts with hysteresis in both directions: so many fixes in
a row and so long. Silence needs none: it is measured in time already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np

from campus_visual_gps.errors import ConfigError

EARTH_RADIUS_M = 6_371_000.0
# Less is a receiver that delivers out of order; more is a looping bag or a restarted simulation.
TIME_JUMP_S = 1.0
# Two independent positions differ by more than so many sigmas once in thousands of fixes.
JUMP_SIGMAS = 4.0


class GpsState(Enum):
    """WAITING is before the first verdict; DEGRADED gives positions not worth following, LOST gives none."""

    WAITING = "waiting"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    LOST = "lost"


NO_STATUS = "no_fix_status"
NOT_FINITE = "not_finite"
OFF_GLOBE = "off_the_globe"
NULL_ISLAND = "null_island"
BAD_COVARIANCE = "bad_covariance"
UNCERTAIN = "uncertain"
JUMP = "jump"
DELAYED = "delayed"
SILENT = "silent"

_NO_POSITION = frozenset({NO_STATUS, NOT_FINITE, OFF_GLOBE, NULL_ISLAND, SILENT})


@dataclass(frozen=True)
class MonitorSettings:
    """When a receiver is believed. Seconds are those of the clock that `fix` and `tick` are given.

    `max_delay_s` limits the time from a fix's stamp to its arrival (0: off, for receivers with a clock of their own);
    `assumed_sigma_m` stands in for a covariance that the receiver leaves all zero.
    """

    max_age_s: float = 2.0
    max_delay_s: float = 0.0
    max_sigma_m: float = 10.0
    max_speed_mps: float = 15.0
    assumed_sigma_m: float = 5.0
    fault_min_count: int = 3
    fault_min_duration_s: float = 0.5
    recovery_min_count: int = 5
    recovery_min_duration_s: float = 3.0

    def __post_init__(self):
        for name in ("max_age_s", "max_sigma_m", "max_speed_mps", "assumed_sigma_m"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise ConfigError(f"{name} {getattr(self, name)} must be a positive number")
        for name in ("max_delay_s", "fault_min_duration_s", "recovery_min_duration_s"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0.0):
                raise ConfigError(f"{name} {getattr(self, name)} must be 0 s or more")
        if min(self.fault_min_count, self.recovery_min_count) < 1:
            raise ConfigError("fault_min_count and recovery_min_count must be 1 or more")


class ReceiverFix(NamedTuple):
    """What a receiver says: `status` below 0 is no fix; `cov_enu_m2` (3, 3), all zero where it does not know."""

    stamp_s: float
    status: int
    latitude_deg: float
    longitude_deg: float
    altitude_m: float
    cov_enu_m2: np.ndarray


class Transition(NamedTuple):
    """A change of state and the one line that says why."""

    before: GpsState
    after: GpsState
    reason: str


@dataclass
class _Streak:
    """Verdicts of one kind in a row: how many, since when."""

    count: int = 0
    since_s: float = 0.0

    def add(self, now_s: float) -> None:
        if self.count == 0:
            self.since_s = now_s
        self.count += 1

    def lasts(self, fixes: int, seconds: float, now_s: float) -> bool:
        return self.count >= fixes and now_s - self.since_s >= seconds


class GpsMonitor:
    """Feed `fix` with what arrives and `tick` with the time; each returns a Transition or None."""

    def __init__(self, settings: MonitorSettings | None = None):
        self.settings = settings or MonitorSettings()
        self.reset()

    def reset(self) -> None:
        """Forget everything: time has started anew."""
        self.state = GpsState.WAITING
        self.reason = "no fix yet"
        self.fault: str | None = None
        self._newest_stamp_s = -math.inf
        self._heard_s: float | None = None
        self._last_good: ReceiverFix | None = None
        self._verdict = GpsState.WAITING
        self._good, self._bad, self._alike = _Streak(), _Streak(), _Streak()

    def fix(self, fix: ReceiverFix, now_s: float) -> Transition | None:
        """Judge a fix that arrived now; afterwards `fault` names what is wrong with it, None if nothing is.

        A stamp that is not newer is no news: a receiver that repeats itself falls silent. One that jumps back by more
        than a second starts over.
        """
        if fix.stamp_s < self._newest_stamp_s - TIME_JUMP_S:
            self.reset()
        # silence that ended before anyone looked is silence all the same
        transition = self.tick(now_s)
        if fix.stamp_s <= self._newest_stamp_s:
            self.fault = SILENT
            return transition
        self._newest_stamp_s, self._heard_s = fix.stamp_s, now_s
        self.fault = self._judge(fix, now_s)
        if self.fault is None:
            self._last_good = fix
        return self._follow(now_s) or transition

    def tick(self, now_s: float) -> Transition | None:
        """Notice silence. A clock that jumps back starts over."""
        if self._heard_s is None:
            self._heard_s = now_s
        if now_s < self._heard_s - TIME_JUMP_S:
            self.reset()
            self._heard_s = now_s
        age_s = now_s - self._heard_s
        if age_s <= self.settings.max_age_s:
            return None
        self.fault = SILENT
        self._good, self._bad, self._alike = _Streak(), _Streak(), _Streak()
        return self._change(GpsState.LOST, f"{SILENT}: no new fix for {age_s:.1f} s")

    def sigma_m(self, fix: ReceiverFix) -> float:
        """Standard deviation along the worst horizontal direction, metres; NaN for a covariance that is none."""
        covariance = np.asarray(fix.cov_enu_m2, dtype=np.float64)
        if not np.all(np.isfinite(covariance)):
            return math.nan
        if is_unknown(covariance):
            return self.settings.assumed_sigma_m
        smallest_m2, largest_m2 = np.linalg.eigvalsh(covariance[:2, :2])
        if smallest_m2 <= 0.0 or covariance[2, 2] < 0.0 or not np.allclose(covariance, covariance.T):
            return math.nan
        return math.sqrt(largest_m2)

    def _judge(self, fix: ReceiverFix, now_s: float) -> str | None:
        if fix.status < 0:
            return NO_STATUS
        if not all(math.isfinite(value) for value in (fix.latitude_deg, fix.longitude_deg, fix.altitude_m)):
            return NOT_FINITE
        if abs(fix.latitude_deg) > 90.0 or abs(fix.longitude_deg) > 180.0:
            return OFF_GLOBE
        if abs(fix.latitude_deg) < 1e-6 and abs(fix.longitude_deg) < 1e-6:
            return NULL_ISLAND
        sigma_m = self.sigma_m(fix)
        if math.isnan(sigma_m):
            return BAD_COVARIANCE
        if sigma_m > self.settings.max_sigma_m:
            return UNCERTAIN
        if 0.0 < self.settings.max_delay_s < now_s - fix.stamp_s:
            return DELAYED
        return JUMP if self._jumps(fix, sigma_m) else None

    def _jumps(self, fix: ReceiverFix, sigma_m: float) -> bool:
        """Farther from the last good fix than the speed limit and both sigmas explain.

        Against the last good one, and not the last: a receiver that jumps and stays there is believed again only once
        the robot could have driven there.
        """
        if self._last_good is None:
            return False
        elapsed_s = fix.stamp_s - self._last_good.stamp_s
        both_sigma_m = math.hypot(sigma_m, self.sigma_m(self._last_good))
        allowed_m = self.settings.max_speed_mps * elapsed_s + JUMP_SIGMAS * both_sigma_m
        return distance_m(fix, self._last_good) > allowed_m

    def _follow(self, now_s: float) -> Transition | None:
        """The hysteresis."""
        settings = self.settings
        if self.fault is None:
            self._bad, self._alike = _Streak(), _Streak()
            self._good.add(now_s)
            # nothing has failed yet, so nothing has to prove itself
            if self.state is GpsState.WAITING:
                return self._change(GpsState.HEALTHY, "first good fix")
            if not self._good.lasts(settings.recovery_min_count, settings.recovery_min_duration_s, now_s):
                return None
            elapsed_s = now_s - self._good.since_s
            return self._change(GpsState.HEALTHY, f"{self._good.count} good fixes in {elapsed_s:.1f} s")
        verdict = GpsState.LOST if self.fault in _NO_POSITION else GpsState.DEGRADED
        self._good = _Streak()
        self._bad.add(now_s)
        if verdict is not self._verdict:
            self._alike, self._verdict = _Streak(), verdict
        self._alike.add(now_s)
        # a mixture of faults leaves HEALTHY too; between the unhealthy states only one and the same counts
        streak = self._bad if self.state in (GpsState.HEALTHY, GpsState.WAITING) else self._alike
        if not streak.lasts(settings.fault_min_count, settings.fault_min_duration_s, now_s):
            return None
        return self._change(verdict, f"{self.fault}: {streak.count} bad fixes in {now_s - streak.since_s:.1f} s")

    def _change(self, state: GpsState, reason: str) -> Transition | None:
        if state is self.state:
            return None
        transition = Transition(self.state, state, reason)
        self.state, self.reason = state, reason
        return transition


def is_unknown(cov_enu_m2: np.ndarray) -> bool:
    """Whether both horizontal variances are zero, as drivers leave them that know none."""
    return bool(cov_enu_m2[0, 0] == 0.0 and cov_enu_m2[1, 1] == 0.0)


def distance_m(one: ReceiverFix, other: ReceiverFix) -> float:
    """Great-circle distance in metres; at the scale of a site the sphere is good to half a percent."""
    lat1, lon1, lat2, lon2 = map(
        math.radians, (one.latitude_deg, one.longitude_deg, other.latitude_deg, other.longitude_deg)
    )
    chord = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2.0 * EARTH_RADIUS_M * math.asin(math.sqrt(min(chord, 1.0)))
