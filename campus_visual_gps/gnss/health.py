"""Health of a GNSS receiver, judged from its stream of fixes: healthy, degraded or lost, with the reason. Without ROS.

Each fix is checked by itself (status, horizontal position and covariance, see receiver_fix.py), against the last good
fix (a jump faster than the robot can drive), against the clock (silence, delay), against the visual fixes of the same
time (see visual_check.py) and against what these claim (see visual_accuracy.py). The state changes with hysteresis in
both directions: a minimum number of consecutive fixes and a minimum duration. Silence has no hysteresis, because it is
a duration already.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import NamedTuple

from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.gnss.receiver_fix import (
    GnssFault,
    ReceiverFix,
    axis_sigma_m,
    covariance_fault,
    distance_m,
    horizontal_sigma_m,
    is_covariance_unknown,
    position_fault,
)
from campus_visual_gps.gnss.streak import Streak
from campus_visual_gps.gnss.track_jump import JUMP_SIGMAS
from campus_visual_gps.gnss.visual_check import SHORT_WINDOW_S, VisualCheck, VisualFix

# A smaller step back in time is a receiver that delivers out of order; a larger one is a looping bag or a restarted
# simulation.
TIME_JUMP_S = 1.0
# The clocks of two computers differ by less. A stamp further ahead, as of a receiver whose clock counts GPS time (18 s
# ahead of UTC), would hold back every fix of the camera that follows on the same topic.
MAX_FUTURE_S = 1.0


class GpsState(Enum):
    """State of the receiver: WAITING before the first fix, DEGRADED with unusable positions, LOST without positions."""

    WAITING = "waiting"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    LOST = "lost"


_NO_POSITION = frozenset(
    {
        GnssFault.NO_FIX_STATUS,
        GnssFault.STATUS_UNKNOWN,
        GnssFault.NOT_FINITE,
        GnssFault.OFF_THE_GLOBE,
        GnssFault.NULL_ISLAND,
        GnssFault.SILENT,
    }
)
# A receiver that is not in use must claim this part of what it may claim in use, with the default no more than the
# visual fixes: the hysteresis.
_RETURN_SHARE = 5.0 / 6.0
# A receiver that is out of use for one of these is compared with the visual fixes all the same.
_STILL_COMPARED = (GnssFault.CONTRADICTS_VISUAL, GnssFault.LESS_CERTAIN_THAN_VISUAL)


class Transition(NamedTuple):
    """A change of the receiver's state and its reason, one line."""

    before: GpsState
    after: GpsState
    reason: str


class GpsMonitor:
    """State machine of the receiver's health.

    Call `fix` for each arriving fix and `tick` regularly. Each returns the change of state that it caused, or None.
    """

    def __init__(self, settings: MonitorSettings | None = None):
        self.settings = settings or MonitorSettings()
        self.visual_check = VisualCheck(self.settings.contradiction_sigmas, self.settings.contradiction_min_duration_s)
        self.reset()

    def reset(self) -> None:
        """Back to WAITING, as after construction."""
        self.state = GpsState.WAITING
        self.reason = "no fix yet"
        self.fault: GnssFault | None = None
        self._newest_stamp_s = -math.inf
        self._started_s: float | None = None
        self._heard_s: float | None = None
        self._last_good: ReceiverFix | None = None
        self._sigma_m = self._last_good_sigma_m = math.nan
        self.visual_check.restart()
        # of the consecutive faulty fixes that lead to the same state, which state that is
        self._failed_state = GpsState.WAITING
        # nothing has been wrong with the receiver but that it is less certain than the camera
        self._is_trusted = False
        self._visual_sigma_m: float | None = None
        self._clear_streaks()

    def fix(self, fix: ReceiverFix, now_s: float, visual_sigma_m: float | None = None) -> Transition | None:
        """Check a fix that arrives at `now_s`; afterwards `fault` names what is wrong with it, None for a good fix.

        `visual_sigma_m` is the standard deviation per axis that is usual for the visual fixes, None while none come.

        A fix whose stamp is not newer than the last does not count as new: a receiver that repeats its fixes becomes
        SILENT. A stamp more than TIME_JUMP_S older resets the monitor.
        """
        fault = self._stamp_fault(fix.stamp_s, now_s)
        if fault is None and fix.stamp_s < self._newest_stamp_s - TIME_JUMP_S:
            self.reset()
        # the receiver may have been silent for too long before this fix, with no tick in between
        transition = self.tick(now_s)
        if fault is None and fix.stamp_s <= self._newest_stamp_s:
            self.fault = GnssFault.STAMP_NOT_NEWER
            return transition
        self._heard_s = now_s
        if fault is None:  # otherwise one wrong stamp would make those that follow look old
            self._newest_stamp_s = fix.stamp_s
            fault = self._compare(fix, self._check(fix, now_s), now_s)
            if fault is None and self._is_less_certain(fix, visual_sigma_m):
                fault = GnssFault.LESS_CERTAIN_THAN_VISUAL
        self.fault, self._visual_sigma_m = fault, visual_sigma_m
        if fault is None:
            self._last_good, self._last_good_sigma_m = fix, self._sigma_m
        return self._update_state(now_s) or transition

    def visual(self, fix: VisualFix, now_s: float) -> None:
        """An accepted visual fix arrived: compare the receiver with it. The next fix of the receiver has the result."""
        self.visual_check.visual(fix, now_s, in_use=self._is_trusted)

    def tick(self, now_s: float) -> Transition | None:
        """Detect silence. A clock that jumps back by more than TIME_JUMP_S resets the monitor."""
        if self._started_s is not None and now_s < max(self._started_s, self._heard_s or 0.0) - TIME_JUMP_S:
            self.reset()
        if self._started_s is None:
            self._started_s = now_s
        age_s = now_s - (self._started_s if self._heard_s is None else self._heard_s)
        if self._is_in_grace(now_s) or (self._heard_s is not None and age_s <= self.settings.max_age_s):
            return None
        self.fault = GnssFault.SILENT
        self._clear_streaks()
        return self._change(GpsState.LOST, f"{GnssFault.SILENT}: no new fix for {age_s:.1f} s")

    def sigma_m(self, fix: ReceiverFix) -> float:
        """Standard deviation along the worst horizontal direction, metres; NaN for an invalid covariance."""
        return horizontal_sigma_m(fix, self.settings.assumed_sigma_m)

    @property
    def _in_use(self) -> bool:
        return self.state is GpsState.HEALTHY

    def _clear_streaks(self) -> None:
        # `_sound` are those without a fault but that they are less certain than the visual fixes
        self._good, self._sound, self._bad, self._same_state = Streak(), Streak(), Streak(), Streak()

    def _is_less_certain(self, fix: ReceiverFix, visual_sigma_m: float | None) -> bool:
        """Whether a fix claims clearly more than is usual for visual fixes; an unknown covariance claims nothing."""
        ratio = self.settings.max_sigma_ratio
        if visual_sigma_m is None or ratio == 0.0 or is_covariance_unknown(fix):
            return False
        limit_m = visual_sigma_m * ratio * (1.0 if self._in_use else _RETURN_SHARE)
        return axis_sigma_m(fix) > limit_m

    def _compare(self, fix: ReceiverFix, fault: GnssFault | None, now_s: float) -> GnssFault | None:
        """The fault of a fix, after its comparison with the visual fixes.

        A receiver in use is compared without the fixes that jump, which are held back one by one. Of one that is not in
        use they are what it may come to stay at.
        """
        if fault not in (None, GnssFault.JUMP) or (fault is GnssFault.JUMP and self._in_use):
            return fault
        check, position = self.visual_check, (fix.stamp_s, fix.latitude_deg, fix.longitude_deg, self._sigma_m)
        check.receiver(*position, now_s, in_use=self._is_trusted)
        if not self.settings.check_against_visual:
            return fault
        if check.contradicts:
            return GnssFault.CONTRADICTS_VISUAL
        is_known = self._is_trusted or self.state is GpsState.WAITING
        return (
            fault if is_known or not check.is_beyond_reach(*position, self.settings.max_speed_mps) else GnssFault.JUMP
        )

    def _is_in_grace(self, now_s: float) -> bool:
        """Whether a receiver without a good fix yet may still be starting, as the whole robot may be."""
        started_s = now_s if self._started_s is None else self._started_s
        return self.state is GpsState.WAITING and now_s - started_s <= self.settings.startup_grace_s

    def _stamp_fault(self, stamp_s: float, now_s: float) -> GnssFault | None:
        if stamp_s <= 0.0:
            return GnssFault.UNSTAMPED
        return GnssFault.FROM_FUTURE if stamp_s > now_s + MAX_FUTURE_S else None

    def _check(self, fix: ReceiverFix, now_s: float) -> GnssFault | None:
        fault = position_fault(fix) or covariance_fault(fix)
        if fault is not None:
            return fault
        sigma_m = self._sigma_m = self.sigma_m(fix)
        if not sigma_m <= self.settings.max_sigma_m:  # also where a number near the largest float overflows
            return GnssFault.UNCERTAIN
        if 0.0 < self.settings.max_delay_s < now_s - fix.stamp_s:
            return GnssFault.DELAYED
        if fix.frame_is_missing:
            return GnssFault.FRAME_NOT_IN_TF
        return GnssFault.JUMP if self._jumps(fix, sigma_m) else None

    def _jumps(self, fix: ReceiverFix, sigma_m: float) -> bool:
        """Whether the distance from the last good fix exceeds what the maximum speed and both sigmas allow.

        The reference is the last good fix and not the last fix: a receiver that jumps and stays at the new position
        is accepted again only after the robot could have driven there.
        """
        if self._last_good is None:
            return False
        elapsed_s = fix.stamp_s - self._last_good.stamp_s
        both_sigma_m = math.hypot(sigma_m, self._last_good_sigma_m)
        allowed_m = self.settings.max_speed_mps * elapsed_s + JUMP_SIGMAS * both_sigma_m
        return distance_m(fix, self._last_good) > allowed_m

    def _update_state(self, now_s: float) -> Transition | None:
        """Apply the hysteresis to the fix that was just checked."""
        settings = self.settings
        if self.fault is None:
            self._bad, self._same_state = Streak(), Streak()
            self._good.add(now_s)
            self._sound.add(now_s)
            # before the first failure there is nothing to recover from
            if self.state is GpsState.WAITING:
                return self._change(GpsState.HEALTHY, "first good fix")
            # what a receiver is less certain than has gone: it does not have to become good
            good = self._good if self._visual_sigma_m is not None else self._sound
            if not good.reaches(settings.recovery_min_count, settings.recovery_min_duration_s, now_s):
                return None
            elapsed_s = now_s - good.since_s
            if self._awaits_comparison(elapsed_s, now_s):
                return None
            return self._change(GpsState.HEALTHY, f"{good.count} good fixes in {elapsed_s:.1f} s")
        failed = GpsState.LOST if self.fault in _NO_POSITION else GpsState.DEGRADED
        self._good = Streak()
        if self.fault is GnssFault.LESS_CERTAIN_THAN_VISUAL:
            self._sound.add(now_s)
        else:
            self._sound = Streak()
        self._bad.add(now_s)
        if failed is not self._failed_state:
            self._same_state, self._failed_state = Streak(), failed
        self._same_state.add(now_s)
        if self._is_in_grace(now_s):
            return None
        # HEALTHY ends after faults of any kind; DEGRADED and LOST change only after faults that lead to the same state
        streak = self._bad if self.state in (GpsState.HEALTHY, GpsState.WAITING) else self._same_state
        if not streak.reaches(settings.fault_min_count, settings.fault_min_duration_s, now_s):
            return None
        reason = f"{self.fault}: {streak.count} bad fixes in {now_s - streak.since_s:.1f} s"
        if self.fault is GnssFault.CONTRADICTS_VISUAL:
            reason = f"{self.fault}: {self.visual_check.verdict}"
        elif self.fault is GnssFault.LESS_CERTAIN_THAN_VISUAL:
            reason = f"{reason}, visual fixes claim {self._visual_sigma_m:.1f} m"
        return self._change(failed, reason)

    def _awaits_comparison(self, good_s: float, now_s: float) -> bool:
        """Whether a receiver that was good for `good_s` has still to be compared with the visual fixes that arrive."""
        settings = self.settings
        if not settings.check_against_visual or good_s > settings.recovery_min_duration_s + SHORT_WINDOW_S:
            return False
        return self.visual_check.awaits_verdict(now_s)

    def _change(self, state: GpsState, reason: str) -> Transition | None:
        if state is self.state:
            return None
        if state is not GpsState.HEALTHY and self.fault not in _STILL_COMPARED:
            self.visual_check.clear()
        less_certain = self._is_trusted and self.fault is GnssFault.LESS_CERTAIN_THAN_VISUAL
        self._is_trusted = state is GpsState.HEALTHY or less_certain
        transition = Transition(self.state, state, reason)
        self.state, self.reason = state, reason
        return transition
