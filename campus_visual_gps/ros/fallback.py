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

from campus_visual_gps.gnss.arbiter import NEITHER, RECEIVER, FixArbiter, SourceChange
from campus_visual_gps.gnss.health import GpsState
from campus_visual_gps.gnss.monitor_settings import MonitorSettings
from campus_visual_gps.gnss.receiver_fix import ReceiverFix, Replacement, complete
from campus_visual_gps.gnss.visual_check import VisualFix
from campus_visual_gps.ros.contradiction import ContradictionLog, comparison_values, contradiction_text
from campus_visual_gps.ros.diagnostics import ERROR, OK, WARN, DiagnosticReport
from campus_visual_gps.ros.filter_gate import Gate, OpenGate
from campus_visual_gps.ros.stamps import NS_PER_S, stamp_to_ns
from campus_visual_gps.ros.tf_check import CAMERA
from campus_visual_gps.ros.tf_check import RECEIVER as RECEIVER_FRAME
from campus_visual_gps.ros.transform_tree import tf_name

# Over the ellipsoid, for a message without an altitude as long as that of the site is not known. Its standard
# deviation on `fix` is MISSING_VERTICAL_SIGMA_M, as that of the site's altitude would be.
UNKNOWN_SITE_ALTITUDE_M = 0.0


class Fallback:
    """Receiver's fixes and visual fixes in, one stream out. Thread-safe: they arrive on different threads.

    Args:
        settings: Limits of a healthy receiver.
        site_altitude_m: For messages without an altitude, over the ellipsoid; see UNKNOWN_SITE_ALTITUDE_M.
        publish: Called with each message of the output.
        log: Called with one line, and whether it is a warning.
        gps_frame: Frame of a receiver that leaves its frame_id empty: navsat_transform puts a fix without a frame at
            the origin.
        gate: Holds back fixes whose frame TF does not connect with the robot.
        why_no_visual: Says, in one line, why there are no visual fixes.

    Times `now_s` are seconds of ROS time.
    """

    def __init__(
        self,
        settings: MonitorSettings,
        site_altitude_m: float,
        publish: Callable[[NavSatFix], None],
        log: Callable[[str, bool], None],
        gps_frame: str = "gps",
        gate: Gate | None = None,
        why_no_visual: Callable[[], str] = str,
    ):
        self._lock = threading.Lock()
        self._arbiter = FixArbiter(settings)
        self._assumed_sigma_m = settings.assumed_sigma_m
        self._site_altitude_m = site_altitude_m
        self._replaced_counts: Counter[Replacement] = Counter()
        self._publish = publish
        self._log = log
        self._contradiction = ContradictionLog(log)
        self._gps_frame = tf_name(gps_frame)
        self._gate = gate or OpenGate()
        self._why_no_visual = why_no_visual
        self._now_s = 0.0

    def set_site_altitude(self, altitude_m: float) -> None:
        """The altitude of the site became known, or another one."""
        with self._lock:
            self._site_altitude_m = altitude_m

    def set_correlation_time(self, correlation_time_s: float | None) -> None:
        """Of the errors of consecutive images, which the comparison needs; None where the bundle has none."""
        with self._lock:
            self._arbiter.set_correlation_time(correlation_time_s)

    def receiver(self, message: NavSatFix, now_s: float) -> None:
        """A message of the receiver arrived."""
        with self._lock:
            self._now_s = now_s
            stamp_ns = stamp_to_ns(message.header.stamp)
            frame = self._receiver_frame(message)
            is_held = not self._gate.passes(RECEIVER_FRAME, frame)
            fix = _receiver_fix(message, stamp_ns, self._gate.is_missing(RECEIVER_FRAME, frame))
            passes, change = self._arbiter.receiver(fix, stamp_ns, now_s, is_held)
            self._log_change(change)
            self._contradiction.log(self._arbiter.monitor)
            if passes:
                self._publish(self._completed(message, fix))

    def visual(
        self, message: NavSatFix, now_s: float, for_filter: Callable[[NavSatFix], NavSatFix | None] = lambda fix: fix
    ) -> None:
        """There is a visual fix, with the covariance of its image.

        `for_filter` is called for one that passes, and gives what is published of it, or None for nothing.
        """
        with self._lock:
            frame = message.header.frame_id
            is_held = not self._gate.passes(CAMERA, frame)
            if self._gate.is_missing(CAMERA, frame):
                return  # no stand-in for the receiver
            self._now_s = now_s
            stamp_ns = stamp_to_ns(message.header.stamp)
            passes, change = self._arbiter.visual(_visual_fix(message, stamp_ns), stamp_ns, now_s, is_held)
            self._log_change(change)
            self._contradiction.log(self._arbiter.monitor)
            if not passes:
                return
            if (passed := for_filter(message)) is not None:
                self._publish(passed)
            else:
                self._arbiter.withhold()

    def tick(self, now_s: float) -> None:
        """Detect a silent receiver, and visual fixes that have ended; call it every TICK_S."""
        with self._lock:
            self._now_s = now_s
            self._log_change(self._arbiter.tick(now_s))

    def end_visual(self, now_s: float) -> None:
        """No visual fix will come for now."""
        with self._lock:
            self._now_s = now_s
            self._log_change(self._arbiter.end_visual(now_s))

    def restart(self) -> None:
        """Time jumped back: judge the receiver anew."""
        with self._lock:
            self._arbiter.restart()

    def restart_stamps(self) -> None:
        """The stamps of the images jumped back, as in a looping bag: accept older stamps."""
        with self._lock:
            self._arbiter.restart_stamps()

    def report(self) -> DiagnosticReport:
        """Diagnostic: OK while the receiver is healthy, ERROR without any source, else WARN."""
        with self._lock:
            arbiter, monitor = self._arbiter, self._arbiter.monitor
            absent = self._absent_visual()
            values: dict[str, object] = {
                "state": monitor.state.value,
                "reason": monitor.reason,
                "fault": str(monitor.fault or "none"),
                "source": arbiter.source,
                "visual_fixes": absent or "available",
                "source_changes": arbiter.switch_count,
                "visual_sigma_m": arbiter.visual_sigma_m(self._now_s) or "none",
                **comparison_values(monitor.visual_check),
                **{f"published.{name}": count for name, count in sorted(arbiter.published_counts.items())},
                "dropped.stamp_not_newer": arbiter.not_newer_count,
                **{f"fault.{name}": count for name, count in sorted(arbiter.fault_counts.items())},
                **{f"replaced.{name}": count for name, count in sorted(self._replaced_counts.items())},
            }
            contradicts = contradiction_text(monitor) if monitor.visual_check.contradicts else ""
            level = OK if monitor.state is GpsState.HEALTHY else ERROR if self._is_without_source() else WARN
            parts = [f"receiver {monitor.state.value}, {monitor.reason}", f"source of fix: {arbiter.source}", absent]
            text = "; ".join(part for part in (*parts, contradicts) if part)
            return DiagnosticReport(max(level, WARN) if contradicts else level, text, values)

    def _log_change(self, change: SourceChange | None) -> None:
        if change is None:
            return
        monitor = self._arbiter.monitor
        text = f"receiver {monitor.state.value}, {monitor.reason}"
        if change.changes_source or self._is_without_source():
            absent = f"; {self._absent_visual()}" if self._is_without_source() else ""
            self._log(f"source of fix: {change.after}; {text}{absent}", change.after != RECEIVER)
        else:
            self._log(text, False)

    def _is_without_source(self) -> bool:
        """Whether nothing is published although the receiver is no longer waited for."""
        return self._arbiter.source == NEITHER and self._arbiter.monitor.state is not GpsState.WAITING

    def _absent_visual(self) -> str:
        """Why there are no visual fixes; empty while they come."""
        if self._arbiter.has_visual(self._now_s):
            return ""
        why = self._why_no_visual()
        return f"no visual fixes: {why}" if why else "no visual fixes"

    def _receiver_frame(self, message: NavSatFix) -> str:
        return tf_name(message.header.frame_id) or self._gps_frame

    def _completed(self, message: NavSatFix, fix: ReceiverFix) -> NavSatFix:
        """The message itself, or a copy in which what is missing is filled in."""
        completed, replaced = complete(fix, self._assumed_sigma_m, self._site_altitude_m)
        frame = self._receiver_frame(message)
        if message.header.frame_id != frame:
            replaced += (Replacement.FRAME_ID,)
        if not replaced:
            return message
        for name in replaced:
            if not self._replaced_counts[name]:
                self._log(f"a message of the receiver has no usable {name}: topic fix carries a substitute", False)
            self._replaced_counts[name] += 1
        message = deepcopy(message)  # with its header: other callbacks may hold the receiver's message
        message.header.frame_id = frame
        message.altitude = float(completed.altitude_m)
        message.position_covariance = completed.cov_enu_m2.ravel().tolist()
        message.position_covariance_type = completed.covariance_type
        return message


def _receiver_fix(message: NavSatFix, stamp_ns: int, frame_is_missing: bool) -> ReceiverFix:
    covariance = np.asarray(message.position_covariance, dtype=np.float64).reshape(3, 3)
    position = (message.latitude, message.longitude, message.altitude)
    kind = message.position_covariance_type
    return ReceiverFix(stamp_ns / NS_PER_S, message.status.status, *position, covariance, kind, frame_is_missing)


def _visual_fix(message: NavSatFix, stamp_ns: int) -> VisualFix:
    covariance = np.asarray(message.position_covariance, dtype=np.float64).reshape(3, 3)
    return VisualFix(stamp_ns / NS_PER_S, message.latitude, message.longitude, covariance[:2, :2])
