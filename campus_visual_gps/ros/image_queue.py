"""How frames flow through the node, without ROS: which are admitted, and the one-frame slot with its worker.

The executor's thread admits frames and puts them into the slot; one worker thread takes the newest. So services and
transitions are answered while an image is in work, and a slow model never builds up a queue of old images.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

NANOSECONDS = 1_000_000_000

UNSTAMPED = "unstamped"
STAMP_NOT_NEWER = "stamp_not_newer"
RATE_LIMIT = "rate_limit"
TOO_OLD = "too_old"
FROM_FUTURE = "from_future"
BEFORE_TIME_JUMP = "before_time_jump"

# Less is a camera that delivers out of order; more is a looping bag or a restarted simulation.
CLOCK_JUMP_NS = NANOSECONDS
# Clocks of two computers, or /clock behind the images of a fast replay, differ by less.
FUTURE_NS = NANOSECONDS


class StampedImage(NamedTuple):
    """An admitted image message, its stamp, when it arrived on the monotonic clock, and in which run of time."""

    message: Any
    stamp_ns: int
    received_s: float
    epoch: int = 0


class StampFilter:
    """Which stamps may become fixes: strictly increasing ones, at most `max_rate_hz` of them (0: all).

    None from the future of the ROS time, and none older than `max_age_s` (0: any age). A stamp that jumps back by more
    than a second starts over. Rate is counted in stamps and not in arrivals, so that a bag gives the same fixes at any
    replay speed.
    """

    def __init__(self, max_rate_hz: float = 0.0, max_age_s: float = 0.0):
        self._period_ns = round(NANOSECONDS / max_rate_hz) if max_rate_hz > 0 else 0
        self._max_age_ns = round(NANOSECONDS * max_age_s)
        self._newest_ns: int | None = None
        self._due_ns = 0
        self.epoch = 0

    def restart(self) -> None:
        """Time jumped back: what was admitted before belongs to another epoch."""
        self._newest_ns, self._due_ns = None, 0
        self.epoch += 1

    def check(self, stamp_ns: int, now_ns: int | None = None) -> str | None:
        """Name of the rule that drops the frame with this stamp, or None if it is admitted.

        `now_ns` is the ROS time; without it nothing is too old or from the future.
        """
        if stamp_ns <= 0:
            return UNSTAMPED
        if now_ns is not None and stamp_ns > now_ns + FUTURE_NS:
            return FROM_FUTURE
        if now_ns is not None and 0 < self._max_age_ns < now_ns - stamp_ns:
            return TOO_OLD
        if self._newest_ns is not None and stamp_ns < self._newest_ns - CLOCK_JUMP_NS:
            self.restart()
        if self._newest_ns is not None and stamp_ns <= self._newest_ns:
            return STAMP_NOT_NEWER
        self._newest_ns = stamp_ns
        # A camera of just this rate jitters around what is due: half of its frames must not be lost for that. The mean
        # rate stays within the limit, because what is due moves on by whole periods.
        if stamp_ns < self._due_ns - self._period_ns // 4:
            return RATE_LIMIT
        # from the time that was due, not from this stamp: else 30 Hz would be thinned to 7.5 Hz where 10 are allowed
        late_ns = stamp_ns - self._due_ns
        self._due_ns = (self._due_ns if late_ns < self._period_ns else stamp_ns) + self._period_ns
        return None


class LatestImageBuffer:
    """Holds the newest frame only. Thread-safe."""

    def __init__(self):
        self._changed = threading.Condition()
        self._frame: StampedImage | None = None
        self._closed = False

    def put(self, frame: StampedImage) -> bool:
        """Put a frame; True if an older one was never taken and is gone."""
        with self._changed:
            replaced = self._frame is not None
            self._frame = frame
            self._changed.notify()
        return replaced

    def take(self) -> StampedImage | None:
        """Wait for a frame and take it; None once the slot is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._frame is not None)
            frame, self._frame = self._frame, None
            return None if self._closed else frame

    def close(self) -> None:
        """Drop the frame and let `take` return."""
        with self._changed:
            self._closed, self._frame = True, None
            self._changed.notify_all()


class Worker:
    """One thread that runs `work` on each frame of its slot and hands the result to `deliver`.

    After `stop` returns, `deliver` is never called again, though a frame may still be in work; so a transition need
    not wait for it. Neither callable may raise.
    """

    def __init__(self, work: Callable[[StampedImage], Any], deliver: Callable[[Any], None]):
        self.slot = LatestImageBuffer()
        self._work = work
        self._deliver = deliver
        self._delivering = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="visual_gps_worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the frame in work, whose result is dropped."""
        with self._delivering:
            self._stopped = True
        self.slot.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; False if it is still at work."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (frame := self.slot.take()) is not None:
            result = self._work(frame)
            with self._delivering:
                if self._stopped:
                    break
                self._deliver(result)
        # they hold the model, which a stopped worker must not keep in memory
        self._work = self._deliver = None
