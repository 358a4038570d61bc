"""Which of two streams of fixes a filter is given, without ROS: the receiver's while healthy, the visual one while not.

Judged by the GpsMonitor. Nothing that a filter must not see passes: a fix that the monitor faults is held back also
while the receiver still counts as healthy, and so is a stamp that is not newer than all before.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from campus_visual_gps.gnss.health import TIME_JUMP_S, GpsMonitor, GpsState, MonitorSettings, ReceiverFix, Transition

RECEIVER, VISUAL, NEITHER = "receiver", "visual", "none"
# How often silence has to be looked for.
TICK_S = 0.1
_TIME_JUMP_NS = round(TIME_JUMP_S * 1e9)
_SOURCES = {
    GpsState.WAITING: NEITHER,
    GpsState.HEALTHY: RECEIVER,
    GpsState.DEGRADED: VISUAL,
    GpsState.LOST: VISUAL,
}


class SourceChange(NamedTuple):
    """The source of before and the one from now on, which may be the same, and the receiver's change of state."""

    before: str
    after: str
    transition: Transition

    @property
    def changes_source(self) -> bool:
        return self.before != self.after


class Decision(NamedTuple):
    """Whether the fix goes into the one stream, and the change that it brought, if any."""

    passes: bool
    switch: SourceChange | None


class FixArbiter:
    """Feed `receiver` and `visual` with what arrives and `tick` every TICK_S. Stamps are nanoseconds, times seconds."""

    def __init__(self, settings: MonitorSettings | None = None):
        self.monitor = GpsMonitor(settings)
        self.source = NEITHER
        self.switches = 0
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._newest_ns = 0
        self._receiver_ns = 0

    def receiver(self, fix: ReceiverFix, stamp_ns: int, now_s: float) -> Decision:
        """A fix of the receiver arrived."""
        if stamp_ns < self._receiver_ns - _TIME_JUMP_NS:
            self._newest_ns = 0
        self._receiver_ns = stamp_ns
        switch = self._follow(self.monitor.fix(fix, now_s))
        if self.monitor.fault is not None:
            self.faults[self.monitor.fault] += 1
            return Decision(False, switch)
        return Decision(self.source == RECEIVER and self._newer(stamp_ns), switch)

    def visual(self, stamp_ns: int, now_s: float) -> Decision:
        """A visual fix arrived."""
        switch = self.tick(now_s)
        return Decision(self.source == VISUAL and self._newer(stamp_ns), switch)

    def tick(self, now_s: float) -> SourceChange | None:
        """Notice a receiver that fell silent."""
        return self._follow(self.monitor.tick(now_s))

    def restart(self) -> None:
        """Time jumped back: forget all that happened later."""
        self.monitor.reset()
        self._newest_ns = self._receiver_ns = 0

    def restart_stamps(self) -> None:
        """The visual fixes' stamps jumped back, as those of a looping bag: the stream may follow."""
        self._newest_ns = 0

    def _follow(self, transition: Transition | None) -> SourceChange | None:
        # by the state and not by the transition: a reset has none
        before, self.source = self.source, _SOURCES[self.monitor.state]
        if transition is None:
            return None
        self.switches += before not in (NEITHER, self.source)
        return SourceChange(before, self.source, transition)

    def _newer(self, stamp_ns: int) -> bool:
        """Only what is newer than all before: the streams cross at a switch, for images take longer."""
        if stamp_ns <= self._newest_ns:
            self.counts["not_newer"] += 1
            return False
        self._newest_ns = stamp_ns
        self.counts[self.source] += 1
        return True
