"""The topic `fix`: the receiver's messages while it is healthy, the visual fixes otherwise.

navsat_transform has a single input of fixes, so the source is chosen here, by the FixArbiter.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from copy import deepcopy

import numpy as np
from sensor_msgs.msg import NavSatFix

from campus_visual_gps.gnss.arbiter import VISUAL, FixArbiter, SourceChange
from campus_visual_gps.gnss.health import GpsState, MonitorSettings
from campus_visual_gps.gnss.receiver_fix import ReceiverFix, Replacement, complete
from campus_visual_gps.gnss.visual_check import VisualFix
from campus_visual_gps.ros.contradiction import ContradictionLog, comparison_values, contradiction_text
from campus_visual_gps.ros.diagnostics import OK, WARN, DiagnosticReport
from campus_visual_gps.ros.stamps import NS_PER_S, stamp_to_ns

# For a receiver that leaves its frame_id empty: navsat_transform puts a fix without a frame at the robot's origin.
RECEIVER_FRAME_ID = "gps"


class Fallback:
    """Receiver's fixes and visual fixes in, one stream out. Thread-safe: they arrive on different threads.

    Args:
        settings: Limits of a healthy receiver.
        site_altitude_m: For messages without an altitude, over the ellipsoid.
        publish: Called with each message of the output.
        log: Called with one line, and whether it is a warning.

    Times `now_s` are seconds of ROS time.
    """

    def __init__(
        self,
        settings: MonitorSettings,
        site_altitude_m: float,
        publish: Callable[[NavSatFix], None],
        log: Callable[[str, bool], None],
    ):
        self._lock = threading.Lock()
        self._arbiter = FixArbiter(settings)
        self._assumed_sigma_m = settings.assumed_sigma_m
        self._site_altitude_m = site_altitude_m
        self._replaced_counts: Counter[Replacement] = Counter()
        self._publish = publish
        self._log = log
        self._contradiction = ContradictionLog(log)

    def receiver(self, message: NavSatFix, now_s: float) -> None:
        """A message of the receiver arrived."""
        with self._lock:
            stamp_ns = stamp_to_ns(message.header.stamp)
            fix = _receiver_fix(message, stamp_ns)
            passes, change = self._arbiter.receiver(fix, stamp_ns, now_s)
            self._log_change(change)
            self._contradiction.log(self._arbiter.monitor)
            if passes:
                self._publish(self._completed(message, fix))

    def visual(self, message: NavSatFix, now_s: float) -> None:
        """A visual fix was published."""
        with self._lock:
            stamp_ns = stamp_to_ns(message.header.stamp)
            passes, change = self._arbiter.visual(_visual_fix(message, stamp_ns), stamp_ns, now_s)
            self._log_change(change)
            self._contradiction.log(self._arbiter.monitor)
            if passes:
                self._publish(message)

    def tick(self, now_s: float) -> None:
        """Detect a silent receiver; call it every TICK_S."""
        with self._lock:
            self._log_change(self._arbiter.tick(now_s))

    def restart(self) -> None:
        """Time jumped back: judge the receiver anew."""
        with self._lock:
            self._arbiter.restart()

    def restart_stamps(self) -> None:
        """The stamps of the images jumped back, as in a looping bag: accept older stamps."""
        with self._lock:
            self._arbiter.restart_stamps()

    def report(self) -> DiagnosticReport:
        """Diagnostic: OK while the receiver is healthy, else WARN."""
        with self._lock:
            arbiter, monitor = self._arbiter, self._arbiter.monitor
            values: dict[str, object] = {
                "state": monitor.state.value,
                "reason": monitor.reason,
                "fault": str(monitor.fault or "none"),
                "source": arbiter.source,
                "source_changes": arbiter.switch_count,
                **comparison_values(monitor.visual_check),
                **{f"published.{name}": count for name, count in sorted(arbiter.published_counts.items())},
                "dropped.stamp_not_newer": arbiter.not_newer_count,
                **{f"fault.{name}": count for name, count in sorted(arbiter.fault_counts.items())},
                **{f"replaced.{name}": count for name, count in sorted(self._replaced_counts.items())},
            }
            text = f"receiver {monitor.state.value}, {monitor.reason}; source of fix: {arbiter.source}"
            if monitor.visual_check.contradicts:
                text += f"; {contradiction_text(monitor)}"
            healthy = monitor.state is GpsState.HEALTHY and not monitor.visual_check.contradicts
            return DiagnosticReport(OK if healthy else WARN, text, values)

    def _log_change(self, change: SourceChange | None) -> None:
        if change is None:
            return
        text = f"receiver {change.transition.after.value}, {change.transition.reason}"
        if change.changes_source:
            self._log(f"source of fix: {change.after}; {text}", change.after == VISUAL)
        else:
            self._log(text, False)

    def _completed(self, message: NavSatFix, fix: ReceiverFix) -> NavSatFix:
        """The message itself, or a copy in which what is missing is filled in."""
        completed, replaced = complete(fix, self._assumed_sigma_m, self._site_altitude_m)
        if not message.header.frame_id:
            replaced += (Replacement.FRAME_ID,)
        if not replaced:
            return message
        for name in replaced:
            if not self._replaced_counts[name]:
                self._log(f"a message of the receiver has no usable {name}: topic fix carries a substitute", False)
            self._replaced_counts[name] += 1
        message = deepcopy(message)  # with its header: other callbacks may hold the receiver's message
        message.header.frame_id = message.header.frame_id or RECEIVER_FRAME_ID
        message.altitude = float(completed.altitude_m)
        message.position_covariance = completed.cov_enu_m2.ravel().tolist()
        message.position_covariance_type = completed.covariance_type
        return message


def _receiver_fix(message: NavSatFix, stamp_ns: int) -> ReceiverFix:
    covariance = np.asarray(message.position_covariance, dtype=np.float64).reshape(3, 3)
    position = (message.latitude, message.longitude, message.altitude)
    kind = message.position_covariance_type
    return ReceiverFix(stamp_ns / NS_PER_S, message.status.status, *position, covariance, kind)


def _visual_fix(message: NavSatFix, stamp_ns: int) -> VisualFix:
    covariance = np.asarray(message.position_covariance, dtype=np.float64).reshape(3, 3)
    return VisualFix(stamp_ns / NS_PER_S, message.latitude, message.longitude, covariance[:2, :2])
