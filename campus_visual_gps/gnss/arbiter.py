"""Chooses the source of the fixes for a filter: the receiver while it is healthy, the visual fixes otherwise.

Without ROS. The GpsMonitor judges the receiver. The visual fixes are a source only while they come: without them there
is none. A faulty fix is held back even while the receiver still counts as healthy, and so is a fix whose stamp is not
newer than every fix before it.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from campus_visual_gps.gnss.health import TIME_JUMP_S, GpsMonitor, GpsState, Transition
from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.gnss.receiver_fix import GnssFault, ReceiverFix
from campus_visual_gps.gnss.visual_accuracy import VisualAccuracy
from campus_visual_gps.gnss.visual_check import DEFAULT_CORRELATION_TIME_S, VisualFix

RECEIVER, VISUAL, NEITHER = "receiver", "visual", "none"
# How often `FixArbiter.tick` has to be called, so that silence is detected in time.
TICK_S = 0.1
# The visual fixes have ended after this time without one, or after so many of their last interval where they are rare:
# by the parameter max_rate_hz, or on a slow computer. A longer pause is no interval but a gap.
VISUAL_MAX_AGE_S = 5.0
_VISUAL_MAX_INTERVALS = 2.5
_VISUAL_MAX_INTERVAL_S = 20.0
_TIME_JUMP_NS = round(TIME_JUMP_S * 1e9)
_FAILED = (GpsState.DEGRADED, GpsState.LOST)
_WRONG_STAMPS = (GnssFault.UNSTAMPED, GnssFault.FROM_FUTURE)


class SourceChange(NamedTuple):
    """A change of the receiver's state, or a begin or end of the visual fixes that are needed.

    Attributes:
        before: The source of the fixes before it.
        after: The source after it, which may be the same.
        transition: Of the receiver's state; None where the visual fixes began or ended.
        reason: One line.
    """

    before: str
    after: str
    transition: Transition | None
    reason: str

    @property
    def changes_source(self) -> bool:
        """Whether the source before and after differ."""
        return self.before != self.after


class Decision(NamedTuple):
    """Whether a fix passes to the output, and the change of state that it caused, if any."""

    passes: bool
    change: SourceChange | None


class FixArbiter:
    """Merges the receiver's fixes and the visual fixes into one output with strictly increasing stamps.

    Call `receiver` and `visual` for each arriving fix and `tick` every TICK_S. Stamps are nanoseconds, times seconds.
    """

    def __init__(self, settings: MonitorSettings | None = None):
        self.monitor = GpsMonitor(settings)
        self.source = NEITHER
        self.switch_count = 0
        self._had_source = False
        self.published_counts: Counter[str] = Counter()
        self.fault_counts: Counter[str] = Counter()
        self.not_newer_count = 0
        self._newest_ns = 0
        self._receiver_ns = 0
        self._visual_s: float | None = None
        self._visual_interval_s = 0.0
        self._visual_accuracy = VisualAccuracy()

    def receiver(self, fix: ReceiverFix, stamp_ns: int, now_s: float, is_held: bool = False) -> Decision:
        """A fix of the receiver arrived at `now_s`. One that is held back counts for its state, but does not pass."""
        change = self._update_source(self.monitor.fix(fix, now_s, self.visual_sigma_m(now_s)), now_s)
        if self.monitor.fault not in _WRONG_STAMPS:
            if stamp_ns < self._receiver_ns - _TIME_JUMP_NS:
                self._newest_ns = 0
            self._receiver_ns = stamp_ns
        if self.monitor.fault is not None:
            self.fault_counts[self.monitor.fault.value] += 1
            return Decision(False, change)
        return Decision(self.source == RECEIVER and not is_held and self._is_newer(stamp_ns), change)

    def visual(self, fix: VisualFix, stamp_ns: int, now_s: float, is_held: bool = False) -> Decision:
        """A visual fix arrived at `now_s`: compare the receiver with it.

        One that is held back does not pass, and is none that comes.
        """
        if not is_held:
            interval_s = math.inf if self._visual_s is None else now_s - self._visual_s
            if 0.0 < interval_s <= _VISUAL_MAX_INTERVAL_S:
                self._visual_interval_s = interval_s
            self._visual_s = now_s
            self._visual_accuracy.add(fix)
        change = self.tick(now_s)
        self.monitor.visual(fix, now_s)
        return Decision(self.source == VISUAL and not is_held and self._is_newer(stamp_ns), change)

    def withhold(self) -> None:
        """The fix that passed last is not published after all: it does not count."""
        self.published_counts[self.source] -= 1

    def tick(self, now_s: float) -> SourceChange | None:
        """Detect a silent receiver, and visual fixes that have ended."""
        return self._update_source(self.monitor.tick(now_s), now_s)

    def has_visual(self, now_s: float) -> bool:
        """Whether visual fixes come."""
        if self._visual_s is None:
            return False
        max_age_s = max(VISUAL_MAX_AGE_S, _VISUAL_MAX_INTERVALS * self._visual_interval_s)
        return -TIME_JUMP_S <= now_s - self._visual_s <= max_age_s

    def visual_sigma_m(self, now_s: float) -> float | None:
        """Standard deviation per axis that is usual for the visual fixes; None while none come, or after too few."""
        return self._visual_accuracy.sigma_m if self.has_visual(now_s) else None

    def set_correlation_time(self, correlation_time_s: float | None) -> None:
        """Of the visual errors, as measured with the bundle; None where it was not measured."""
        self.monitor.visual_check.correlation_time_s = correlation_time_s or DEFAULT_CORRELATION_TIME_S

    def end_visual(self, now_s: float) -> SourceChange | None:
        """No visual fix will come, because the model is unloaded. The next ones may be those of another model."""
        self._visual_s = None
        self._visual_accuracy.restart()
        return self.tick(now_s)

    def restart(self) -> None:
        """Time jumped back: reset the monitor and accept older stamps."""
        self.monitor.reset()
        self._newest_ns = self._receiver_ns = 0
        self._visual_s = None
        self._visual_accuracy.restart()

    def restart_stamps(self) -> None:
        """The stamps of the visual fixes jumped back, as in a looping bag: accept older stamps."""
        self._newest_ns = 0
        self.monitor.visual_check.restart()
        self._visual_accuracy.restart()

    def _update_source(self, transition: Transition | None, now_s: float) -> SourceChange | None:
        # from the state and not from the transition: a reset of the monitor has no transition
        before, self.source = self.source, self._source_of(self.monitor.state, now_s)
        visual_changed = self.monitor.state in _FAILED and self.source != before
        if transition is None and not visual_changed:
            return None
        self.switch_count += self._had_source and before != self.source
        self._had_source |= self.source != NEITHER
        if transition is not None:
            return SourceChange(before, self.source, transition, transition.reason)
        return SourceChange(before, self.source, None, "visual fixes" if self.source == VISUAL else "no visual fix")

    def _source_of(self, state: GpsState, now_s: float) -> str:
        if state is GpsState.HEALTHY:
            return RECEIVER
        return VISUAL if state in _FAILED and self.has_visual(now_s) else NEITHER

    def _is_newer(self, stamp_ns: int) -> bool:
        """Whether a stamp is newer than all before. Visual fixes arrive later, so the sources overlap at a switch."""
        if stamp_ns <= self._newest_ns:
            self.not_newer_count += 1
            return False
        self._newest_ns = stamp_ns
        self.published_counts[self.source] += 1
        return True
