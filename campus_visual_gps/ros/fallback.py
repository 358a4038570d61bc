"""The topic `fix`: the receiver's messages while it is healthy, the visual fixes while it is not.

A filter takes one stream of fixes (navsat_transform has a single input), so the choice is made here. Nothing that a
filter must not see passes: a fix that the monitor faults is held back also while the receiver still counts as healthy.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from copy import copy

import numpy as np
from sensor_msgs.msg import NavSatFix

from campus_visual_gps.gps_monitor import GpsMonitor, GpsState, MonitorSettings, ReceiverFix, Transition, is_unknown
from campus_visual_gps.ros.flow import CLOCK_JUMP_NS, NANOSECONDS
from campus_visual_gps.ros.status import OK, WARN, Health

RECEIVER, VISUAL, NEITHER = "receiver", "visual", "none"
# navsat_transform puts a fix without a frame at the robot's origin.
RECEIVER_FRAME_ID = "gps"
_SOURCES = {
    GpsState.WAITING: NEITHER,
    GpsState.HEALTHY: RECEIVER,
    GpsState.DEGRADED: VISUAL,
    GpsState.LOST: VISUAL,
}


class Fallback:
    """Receiver's and visual fixes in, one stream out. Thread-safe: they come on different threads.

    `publish` takes the messages of the stream, `log` one line and whether it is a warning. Seconds are ROS time.
    """

    def __init__(
        self, settings: MonitorSettings, publish: Callable[[NavSatFix], None], log: Callable[[str, bool], None]
    ):
        self._lock = threading.Lock()
        self._monitor = GpsMonitor(settings)
        self._assumed_m2 = settings.assumed_sigma_m**2
        self._publish = publish
        self._log = log
        self._counts: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._switches = 0
        self._newest_ns = 0
        self._receiver_ns = 0
        self._source = NEITHER

    def receiver(self, message: NavSatFix, now_s: float) -> None:
        """A message of the receiver arrived."""
        with self._lock:
            stamp_ns = _stamp_ns(message)
            if stamp_ns < self._receiver_ns - CLOCK_JUMP_NS:
                self._newest_ns = 0
            self._receiver_ns = stamp_ns
            self._note(self._monitor.fix(_receiver_fix(message, stamp_ns), now_s))
            if self._monitor.fault is not None:
                self._faults[self._monitor.fault] += 1
            elif self._source == RECEIVER:
                self._forward(self._sound(message), stamp_ns)

    def visual(self, message: NavSatFix, now_s: float) -> None:
        """A visual fix was published."""
        with self._lock:
            self._note(self._monitor.tick(now_s))
            if self._source == VISUAL:
                self._forward(message, _stamp_ns(message))

    def tick(self, now_s: float) -> None:
        """Notice a receiver that fell silent; to be called a few times a second."""
        with self._lock:
            self._note(self._monitor.tick(now_s))

    def restart(self) -> None:
        """Time jumped back: forget all that happened later."""
        with self._lock:
            self._monitor.reset()
            self._newest_ns = self._receiver_ns = 0

    def restart_stamps(self) -> None:
        """The images' stamps jumped back, as those of a looping bag: `fix` may follow."""
        with self._lock:
            self._newest_ns = 0

    def health(self) -> Health:
        """OK while the receiver is healthy; WARN while the visual fixes stand in for it, or nothing is known yet."""
        with self._lock:
            monitor = self._monitor
            values: dict[str, object] = {
                "state": monitor.state.value,
                "reason": monitor.reason,
                "source": self._source,
                "switches": self._switches,
                **{f"published.{name}": count for name, count in sorted(self._counts.items())},
                **{f"fault.{name}": count for name, count in sorted(self._faults.items())},
            }
            level = OK if monitor.state is GpsState.HEALTHY else WARN
            return Health(level, f"receiver {monitor.state.value}, {monitor.reason}; fix from: {self._source}", values)

    def _note(self, transition: Transition | None) -> None:
        # by the state and not by the transition: a reset has none
        before, self._source = self._source, _SOURCES[self._monitor.state]
        if transition is None:
            return
        text = f"receiver {transition.after.value}, {transition.reason}"
        if before == self._source:
            self._log(text, False)
            return
        self._switches += before != NEITHER
        self._log(f"fix now from: {self._source}; {text}", self._source == VISUAL)

    def _forward(self, message: NavSatFix, stamp_ns: int) -> None:
        """Only what is newer than all before: the streams cross at a switch, for images take longer."""
        if stamp_ns <= self._newest_ns:
            self._counts["not_newer"] += 1
            return
        self._newest_ns = stamp_ns
        self._publish(message)
        self._counts[self._source] += 1

    def _sound(self, message: NavSatFix) -> NavSatFix:
        """The message, or a copy with what would mislead a filter replaced: no covariance, no frame."""
        unknown = is_unknown(_covariance(message))
        if message.header.frame_id and not unknown:
            return message
        message = copy(message)
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
