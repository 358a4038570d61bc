"""The topic `fix` that a node with output `fallback` would have published along a drive, from the node's own logic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from typing import NamedTuple

import numpy as np
import pandas as pd

from campus_visual_gps.estimation.correlated_errors import ErrorDecorrelator, inflated
from campus_visual_gps.gnss.arbiter import RECEIVER, TICK_S, FixArbiter, SourceChange
from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.gnss.receiver_fix import GnssFault, ReceiverFix, complete
from campus_visual_gps.gnss.visual_check import VisualFix
from campus_visual_gps.ros.stamps import stamp_to_ns
from training.evaluate.predict import covariances_m2
from training.replay.bags import Bag
from training.replay.fixes import Fixes

_RECEIVER, _VISUAL, _TICK = range(3)


class Arrival(NamedTuple):
    """A receiver's message and when the bag received it, nanoseconds."""

    time_ns: int
    stamp_ns: int
    fix: ReceiverFix


class SwitchEvent(NamedTuple):
    """A change of the source: when (nanoseconds), from and to what, the monitor's reason.

    `latency_s` counts from its cause: the receiver's last good fix, or the first good one of those that restored it. By
    the settings it may take up to `deadline_s`, of which one interval of the receiver is until the next fix tells.
    Both are 0 where the visual fixes began or ended.
    """

    time_ns: int
    before: str
    after: str
    reason: str
    latency_s: float
    deadline_s: float


@dataclass(frozen=True)
class FallbackRun:
    """What `fix` carried, (N,) by stamp with the arrival of each, nanoseconds; the changes of its source, in order."""

    fixes: Fixes
    arrivals_ns: np.ndarray
    switches: list[SwitchEvent]


def read_arrivals(bag: Bag, topic: str) -> list[Arrival]:
    """All NavSatFix messages of a topic in the order in which they came."""
    arrivals = []
    for message, content in bag.contents(topic):
        stamp = stamp_to_ns(content.header.stamp)
        covariance = np.asarray(content.position_covariance).reshape(3, 3)
        position = (content.latitude, content.longitude, content.altitude)
        kind = content.position_covariance_type
        fix = ReceiverFix(stamp / 1e9, content.status.status, *position, covariance, kind)
        arrivals.append(Arrival(message.time_ns, stamp, fix))
    return arrivals


def visual_fixes(
    accepted: pd.DataFrame, image_delays_s: dict[int, float], fix_delays_s: dict[int, float]
) -> tuple[Fixes, np.ndarray]:
    """Rows of predictions.csv as fixes, and when they arrived, (N,) ns.

    The delays are of stamps. A fix that was not recorded comes after its image, later by what the model took.
    """
    stamps_ns = accepted["stamp_ns"].to_numpy(dtype=np.int64)
    covariances = np.tile(np.eye(3), (len(accepted), 1, 1))
    covariances[:, :2, :2] = covariances_m2(accepted)
    positions = np.column_stack([accepted["latitude_deg"], accepted["longitude_deg"], np.zeros(len(accepted))])
    taken_s = (accepted["transform_s"] + accepted["ensemble_s"]).to_numpy(dtype=np.float64)
    latency_s = [
        fix_delays_s.get(stamp, image_delays_s.get(stamp, 0.0) + taken)
        for stamp, taken in zip(stamps_ns.tolist(), taken_s, strict=True)
    ]
    arrivals_ns = stamps_ns + np.round(np.array(latency_s) * 1e9).astype(np.int64)
    return Fixes(stamps_ns, positions, covariances, np.zeros(len(accepted), dtype=np.int64)), arrivals_ns


def run_fallback(
    receiver: list[Arrival],
    visual: Fixes,
    visual_arrivals_ns: np.ndarray,
    settings: MonitorSettings | None = None,
    decorrelator: ErrorDecorrelator | None = None,
    correlation_time_s: float | None = None,
) -> FallbackRun:
    """What the node would have done from the first arrival to the last.

    Settings are by default the node's. Without a decorrelator visual fixes pass with the covariance of their image. The
    correlation time is the bundle's, None where it was not measured.
    """
    times_ns = np.array([arrival.time_ns for arrival in receiver], dtype=np.int64)
    period_s = float(np.median(np.diff(times_ns))) / 1e9 if len(times_ns) > 1 else 0.0
    run = _Run(settings or MonitorSettings(), period_s, decorrelator, correlation_time_s)
    return run.of(receiver, visual, visual_arrivals_ns)


class _Run:
    """One pass through the events."""

    def __init__(
        self,
        settings: MonitorSettings,
        period_s: float,
        decorrelator: ErrorDecorrelator | None,
        correlation_time_s: float | None,
    ):
        self._decorrelator = decorrelator
        self._arbiter = FixArbiter(settings)
        self._arbiter.set_correlation_time(correlation_time_s)
        self._settings = settings
        self._period_s = period_s
        self._switches: list[SwitchEvent] = []
        self._rows: list[tuple[int, int, tuple[float, float, float], np.ndarray]] = []
        # arrival of the receiver's last fix, of its last good fix, and of the first good one since its last fault
        self._heard_ns = self._good_ns = self._good_since_ns = 0

    def of(self, receiver: list[Arrival], visual: Fixes, visual_arrivals_ns: np.ndarray) -> FallbackRun:
        for time_ns, kind, row in _events(receiver, visual_arrivals_ns):
            # with nothing good yet, the fault has lasted since the start
            self._heard_ns, self._good_ns = self._heard_ns or time_ns, self._good_ns or time_ns
            if kind == _RECEIVER:
                self._receive_receiver(receiver[row])
            elif kind == _VISUAL:
                self._receive_visual(visual, row, time_ns)
            else:
                self._record(self._arbiter.tick(time_ns / 1e9), time_ns)
        return FallbackRun(*self._passed(), self._switches)

    def _receive_receiver(self, arrival: Arrival) -> None:
        time_ns, stamp, fix = arrival
        passes, change = self._arbiter.receiver(fix, stamp, time_ns / 1e9)
        fault = self._arbiter.monitor.fault
        if fault is None:
            self._good_since_ns = self._good_since_ns or time_ns
        self._record(change, time_ns)
        if fault is None:
            self._good_ns = time_ns
        if fault != GnssFault.STAMP_NOT_NEWER:
            self._heard_ns = time_ns
        if passes:
            # drives are evaluated horizontally
            completed, _ = complete(fix, self._settings.assumed_sigma_m, site_altitude_m=0.0)
            self._rows.append((stamp, time_ns, completed[2:5], completed.cov_enu_m2))

    def _receive_visual(self, visual: Fixes, row: int, time_ns: int) -> None:
        stamp = int(visual.stamps_ns[row])
        latitude, longitude, _ = visual.positions[row].tolist()
        fix = VisualFix(stamp / 1e9, latitude, longitude, visual.covariances_enu_m2[row, :2, :2])
        passes, change = self._arbiter.visual(fix, stamp, time_ns / 1e9)
        self._record(change, time_ns)
        factor = 1.0 if self._decorrelator is None or not passes else self._decorrelator.factor(stamp)
        if factor is None:
            self._arbiter.withhold()
        elif passes:
            covariance = inflated(visual.covariances_enu_m2[row], factor)
            self._rows.append((stamp, time_ns, tuple(visual.positions[row]), covariance))

    def _record(self, change: SourceChange | None, time_ns: int) -> None:
        if change is not None and change.changes_source:
            latency_s = deadline_s = 0.0
            if change.transition is not None:  # otherwise the visual fixes began or ended, which no setting delays
                cause_ns = self._good_since_ns if change.after == RECEIVER else self._good_ns
                latency_s, deadline_s = (time_ns - cause_ns) / 1e9, self._deadline_s(change.after)
            row = SwitchEvent(time_ns, change.before, change.after, change.reason, latency_s, deadline_s)
            self._switches.append(row)
        if self._arbiter.monitor.fault is not None:
            self._good_since_ns = 0

    def _deadline_s(self, after: str) -> float:
        settings, period_s = self._settings, self._period_s
        if after == RECEIVER:
            return max(settings.recovery_min_duration_s, (settings.recovery_min_count - 1) * period_s) + period_s
        if self._arbiter.monitor.fault == GnssFault.SILENT:
            return (self._heard_ns - self._good_ns) / 1e9 + settings.max_age_s + TICK_S
        # the first faulty fix comes an interval after the last good one
        return period_s + max(settings.fault_min_duration_s, (settings.fault_min_count - 1) * period_s) + period_s

    def _passed(self) -> tuple[Fixes, np.ndarray]:
        # by stamp: a looping bag goes back in them
        rows = sorted(self._rows, key=lambda row: row[0])
        stamps, arrivals, positions, covariances = zip(*rows, strict=True) if rows else ((), (), (), ())
        fixes = Fixes(
            np.array(stamps, dtype=np.int64),
            np.array(positions, dtype=np.float64).reshape(-1, 3),
            np.array(covariances, dtype=np.float64).reshape(-1, 3, 3),
            np.zeros(len(rows), dtype=np.int64),
        )
        return fixes, np.array(arrivals, dtype=np.int64)


def _events(receiver: list[Arrival], visual_arrivals_ns: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(time, kind, row) in the order of time, and at the same time of kind."""
    heard = sorted((arrival.time_ns, _RECEIVER, row) for row, arrival in enumerate(receiver))
    seen = sorted((int(time_ns), _VISUAL, row) for row, time_ns in enumerate(visual_arrivals_ns))
    both = list(merge(heard, seen))
    ticks = range(both[0][0], both[-1][0] + 1, round(TICK_S * 1e9)) if both else ()
    return merge(both, ((time_ns, _TICK, 0) for time_ns in ticks))
