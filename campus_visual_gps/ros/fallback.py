"""The topic `fix`: the receiver's messages while it is healthy, the visual fixes while it is not.

A filter takes one stream of fixes (navsat_transform has a single input), so the choice is made here, by FixArbiter.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import deepcopy

import numpy as np
from sensor_msgs.msg import NavSatFix

from campus_visual_gps.gnss.arbiter import VISUAL, FixArbiter, SourceChange
from campus_visual_gps.gnss.health import GpsState, MonitorSettings, ReceiverFix, is_unknown
from campus_visual_gps.ros.diagnostics import OK, WARN, DiagnosticReport
from campus_visual_gps.ros.image_queue import NANOSECONDS

# navsat_transform puts a fix without a frame at the robot's origin.
RECEIVER_FRAME_ID = "gps"


class Fallback:
    """Receiver's and visual fixes in, one stream out. Thread-safe: they come on different threads.

    `publish` takes the messages of the stream, `log` one line and whether it is a warning. Seconds are ROS time.
    """

    def __init__(
        self, settings: MonitorSettings, publish: Callable[[NavSatFix], None], log: Callable[[str, bool], None]
    ):
        self._lock = threading.Lock()
        self._switch = FixArbiter(settings)
        self._assumed_m2 = settings.assumed_sigma_m**2
        self._publish = publish
        self._log = log

    def receiver(self, message: NavSatFix, now_s: float) -> None:
        """A message of the receiver arrived."""
        with self._lock:
            stamp_ns = _stamp_ns(message)
            passes, switch = self._switch.receiver(_receiver_fix(message, stamp_ns), stamp_ns, now_s)
            self._note(switch)
            if passes:
                self._publish(self._sound(message))

    def visual(self, message: NavSatFix, now_s: float) -> None:
        """A visual fix was published."""
        with self._lock:
            passes, switch = self._switch.visual(_stamp_ns(message), now_s)
            self._note(switch)
            if passes:
                self._publish(message)

    def tick(self, now_s: float) -> None:
        """Notice a receiver that fell silent; to be called every TICK_S."""
        with self._lock:
            self._note(self._switch.tick(now_s))

    def restart(self) -> None:
        """Time jumped back: forget all that happened later."""
        with self._lock:
            self._switch.restart()

    def restart_stamps(self) -> None:
        """The images' stamps jumped back, as those of a looping bag: `fix` may follow."""
        with self._lock:
            self._switch.restart_stamps()

    def health(self) -> DiagnosticReport:
        """OK while the receiver is healthy; WARN while the visual fixes stand in for it, or nothing is known yet."""
        with self._lock:
            switch, monitor = self._switch, self._switch.monitor
            values: dict[str, object] = {
                "state": monitor.state.value,
                "reason": monitor.reason,
                "source": switch.source,
                "switches": switch.switches,
                **{f"published.{name}": count for name, count in sorted(switch.counts.items())},
                **{f"fault.{name}": count for name, count in sorted(switch.faults.items())},
            }
            level = OK if monitor.state is GpsState.HEALTHY else WARN
            return DiagnosticReport(
                level, f"receiver {monitor.state.value}, {monitor.reason}; fix from: {switch.source}", values
            )

    def _note(self, switch: SourceChange | None) -> None:
        if switch is None:
            return
        text = f"receiver {switch.transition.after.value}, {switch.transition.reason}"
        if switch.changes_source:
            self._log(f"fix now from: {switch.after}; {text}", switch.after == VISUAL)
        else:
            self._log(text, False)

    def _sound(self, message: NavSatFix) -> NavSatFix:
        """The message, or a copy with what would mislead a filter replaced: no covariance, no frame."""
        unknown = is_unknown(_covariance(message))
        if message.header.frame_id and not unknown:
            return message
        message = deepcopy(message)  # the header too: others may read the receiver's message
        if unknown:
            message.position_covariance = (np.eye(3) * self._assumed_m2).ravel().tolist()
            message.position_covariance_type = NavSatFix.COVARIANCE_TYPE_APPROXIMATED
        message.header.frame_id = message.header.frame_id or RECEIVER_FRAME_ID
        return message


def _stamp_ns(message: NavSatFix) -> int:
    return message.header.stamp.sec * NANOSECONDS + message.header.stamp.nanosec


def _covariance(message: NavSatFix) -> np.ndarray:
    return np.asarray(message.position_covariance, dtype=np.float64).reshape(3, 3)


def _receiver_fix(message: NavSatFix, stamp_ns: int) -> ReceiverFix:
    position = (message.latitude, message.longitude, message.altitude)
    return ReceiverFix(stamp_ns / NANOSECONDS, message.status.status, *position, _covariance(message))
