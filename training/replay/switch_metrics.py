"""When the fallback switched its source along a drive, and whether within the configured time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from campus_visual_gps.gnss.arbiter import RECEIVER, VISUAL
from training.replay.outages import Outage
from training.replay.switches import FallbackRun, SwitchEvent


@dataclass(frozen=True)
class SwitchMetrics:
    """All changes of the source, in order, and where the drive's time is 0, nanoseconds.

    Those to the visual fix and back are counted without the first choice of a source, which has no latency.
    """

    events: list[SwitchEvent]
    start_ns: int

    @property
    def in_count(self) -> int:
        """Switches to the visual fix."""
        return sum(event.after == VISUAL for event in changes(self.events))

    @property
    def out_count(self) -> int:
        """Switches back to the receiver."""
        return sum(event.after == RECEIVER for event in changes(self.events))

    @property
    def late_count(self) -> int:
        """Switches that took longer than configured."""
        return sum(event.latency_s > event.deadline_s for event in changes(self.events))

    def time_s(self, event: SwitchEvent) -> float:
        """Of the drive."""
        return (event.time_ns - self.start_ns) / 1e9


@dataclass(frozen=True)
class OutageSwitches:
    """Switches of one outage: how many to the visual fix, and how long after its begin the first; likewise back.

    `in_s` is negative where the visual fix was in use when the outage began. `out_s` counts from the outage's end. None
    where there was no such switch.
    """

    in_count: int
    in_s: float | None
    out_count: int
    out_s: float | None


def changes(events: list[SwitchEvent]) -> list[SwitchEvent]:
    """Without the first choice of a source, and those after time jumped back, which starts the fallback anew."""
    return [event for last, event in pairwise(events) if event.before == last.after]


def outage_switches(run: FallbackRun, outages: list[Outage], received_ns: dict[int, int]) -> list[OutageSwitches]:
    """For each outage, those from its begin to the next one's.

    Args:
        run: the fallback along the drive.
        outages: in order.
        received_ns: stamp -> arrival of the receiver's fixes, nanoseconds.
    """
    begins_ns: list[float] = [received_ns.get(outage.start_ns, outage.start_ns) for outage in outages]
    ends_ns = [received_ns.get(outage.end_ns, outage.end_ns) for outage in outages]
    spans = zip(begins_ns, ends_ns, [*begins_ns[1:], np.inf], strict=False)
    return [_switches_between(changes(run.switches), *span) for span in spans]


def _switches_between(events: list[SwitchEvent], begin_ns: float, end_ns: float, until_ns: float) -> OutageSwitches:
    mine = [event for event in events if begin_ns <= event.time_ns < until_ns]
    before = [event for event in events if event.time_ns < begin_ns][-1:]
    ins = [event for event in mine if event.after == VISUAL]
    outs = [event for event in mine if event.after == RECEIVER]
    return OutageSwitches(
        in_count=len(ins),
        in_s=next(((event.time_ns - begin_ns) / 1e9 for event in before + ins if event.after == VISUAL), None),
        out_count=len(outs),
        out_s=(outs[0].time_ns - end_ns) / 1e9 if outs else None,
    )
