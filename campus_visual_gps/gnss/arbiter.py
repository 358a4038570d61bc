"""Chooses the source of the fixes for a filter: the receiver while it is healthy, the visual fixes otherwise.

Without ROS. The GpsMonitor judges the receiver. A faulty fix is held back even while the receiver still counts as
healthy, and so is a fix whose stamp is not newer than every fix before it.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from campus_visual_gps.gnss.health import TIME_JUMP_S, GpsMonitor, GpsState, MonitorSettings, Transition
from campus_visual_gps.gnss.receiver_fix import GnssFault, ReceiverFix
from campus_visual_gps.gnss.visual_check import VisualFix

RECEIVER, VISUAL, NEITHER = "receiver", "visual", "none"
# How often `FixArbiter.tick` has to be called, so that silence is detected in time.
TICK_S = 0.1
_TIME_JUMP_NS = round(TIME_JUMP_S * 1e9)
_WRONG_STAMPS = (GnssFault.UNSTAMPED, GnssFault.FROM_FUTURE)
_SOURCES = {
    GpsState.WAITING: NEITHER,
    GpsState.HEALTHY: RECEIVER,
    GpsState.DEGRADED: VISUAL,
    GpsState.LOST: VISUAL,
}


class SourceChange(NamedTuple):
    """A change of the receiver's state, with the source of the fixes before and after it, which may be the same."""

    before: str
    after: str
    transition: Transition

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
        self.published_counts: Counter[str] = Counter()
        self.fault_counts: Counter[str] = Counter()
        self.not_newer_count = 0
        self._newest_ns = 0
        self._receiver_ns = 0

    def receiver(self, fix: ReceiverFix, stamp_ns: int, now_s: float) -> Decision:
        """A fix of the receiver arrived at `now_s`."""
        change = self._update_source(self.monitor.fix(fix, now_s))
        if self.monitor.fault not in _WRONG_STAMPS:
            if stamp_ns < self._receiver_ns - _TIME_JUMP_NS:
                self._newest_ns = 0
            self._receiver_ns = stamp_ns
        if self.monitor.fault is not None:
            self.fault_counts[self.monitor.fault.value] += 1
            return Decision(False, change)
        return Decision(self.source == RECEIVER and self._is_newer(stamp_ns), change)

    def visual(self, fix: VisualFix, stamp_ns: int, now_s: float) -> Decision:
        """A visual fix arrived at `now_s`: compare the receiver with it."""
        change = self.tick(now_s)
        self.monitor.visual(fix, now_s)
        return Decision(self.source == VISUAL and self._is_newer(stamp_ns), change)

    def tick(self, now_s: float) -> SourceChange | None:
        """Detect a silent receiver."""
        return self._update_source(self.monitor.tick(now_s))

    def restart(self) -> None:
        """Time jumped back: reset the monitor and accept older stamps."""
        self.monitor.reset()
        self._newest_ns = self._receiver_ns = 0

    def restart_stamps(self) -> None:
        """The stamps of the visual fixes jumped back, as in a looping bag: accept older stamps."""
        self._newest_ns = 0
        self.monitor.visual_check.restart()

    def _update_source(self, transition: Transition | None) -> SourceChange | None:
        # from the state and not from the transition: a reset of the monitor has no transition
        before, self.source = self.source, _SOURCES[self.monitor.state]
        if transition is None:
            return None
        self.switch_count += before not in (NEITHER, self.source)
        return SourceChange(before, self.source, transition)

    def _is_newer(self, stamp_ns: int) -> bool:
        """Whether a stamp is newer than all before. Visual fixes arrive later, so the sources overlap at a switch."""
        if stamp_ns <= self._newest_ns:
            self.not_newer_count += 1
            return False
        self._newest_ns = stamp_ns
        self.published_counts[self.source] += 1
        return True
