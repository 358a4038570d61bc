"""How images pass through the node, without ROS: a filter of stamps, a buffer of one image, and the worker thread.

The executor's thread filters images and puts them into the buffer; one worker thread takes the newest of each camera.
Services and transitions are therefore answered during inference, and a slow model never builds up a queue of old
images.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

from campus_visual_gps.ros.stamps import NS_PER_S

# A smaller step back is a camera that delivers out of order; a larger one is a looping bag or a restarted simulation.
TIME_JUMP_NS = NS_PER_S
# The clocks of two computers, or /clock behind the images of a fast replay, differ by less.
MAX_FUTURE_NS = NS_PER_S


class DropRule(str, Enum):
    """Why an image is dropped before inference, or its result afterwards. The values are names in diagnostics."""

    UNSTAMPED = "unstamped"
    STAMP_NOT_NEWER = "stamp_not_newer"
    RATE_LIMIT = "rate_limit"
    TOO_OLD = "too_old"
    FROM_FUTURE = "from_future"
    BEFORE_TIME_JUMP = "before_time_jump"
    BEHIND_OTHER_CAMERA = "behind_other_camera"

    def __str__(self) -> str:
        return str(self.value)


class StampedImage(NamedTuple):
    """An accepted image message.

    `stamp_ns` is the message's stamp, `received_s` its arrival on the monotonic clock, `epoch` counts the jumps back in
    time before it, and `camera` is the topic that it came on.
    """

    message: Any
    stamp_ns: int
    received_s: float
    epoch: int = 0
    camera: str = ""


class StampFilter:
    """Decides by its stamp whether an image is processed.

    Accepted stamps increase strictly. A stamp that jumps back by more than TIME_JUMP_NS starts a new epoch, in which
    stamps may be older. The rate is measured in stamps and not in arrivals, so that a bag gives the same fixes at any
    replay speed.

    Args:
        max_rate_hz: Highest mean rate of accepted images; 0 for no limit.
        max_age_s: Greatest age of an image on arrival; 0 for no limit.
    """

    def __init__(self, max_rate_hz: float = 0.0, max_age_s: float = 0.0):
        self._period_ns = round(NS_PER_S / max_rate_hz) if max_rate_hz > 0 else 0
        self._max_age_ns = round(NS_PER_S * max_age_s)
        self._newest_ns: int | None = None
        self._due_ns = 0
        self.epoch = 0

    def restart(self) -> None:
        """Time jumped back: start a new epoch."""
        self._newest_ns, self._due_ns = None, 0
        self.epoch += 1

    def check(self, stamp_ns: int, now_ns: int | None = None) -> DropRule | None:
        """The rule that drops an image with this stamp, or None if it is accepted.

        `now_ns` is the ROS time on arrival; without it no image is too old or from the future.
        """
        if stamp_ns <= 0:
            return DropRule.UNSTAMPED
        if now_ns is not None and stamp_ns > now_ns + MAX_FUTURE_NS:
            return DropRule.FROM_FUTURE
        if now_ns is not None and 0 < self._max_age_ns < now_ns - stamp_ns:
            return DropRule.TOO_OLD
        if self._newest_ns is not None and stamp_ns < self._newest_ns - TIME_JUMP_NS:
            self.restart()
        if self._newest_ns is not None and stamp_ns <= self._newest_ns:
            return DropRule.STAMP_NOT_NEWER
        self._newest_ns = stamp_ns
        # The stamps of a camera that runs at exactly this rate jitter around the due time; without the tolerance half
        # of its images would be dropped. The mean rate stays within the limit, because the due time advances by whole
        # periods.
        if stamp_ns < self._due_ns - self._period_ns // 4:
            return DropRule.RATE_LIMIT
        # Advance from the due time and not from this stamp: otherwise a limit of 10 Hz would thin 30 Hz to 7.5 Hz.
        late_ns = stamp_ns - self._due_ns
        self._due_ns = (self._due_ns if late_ns < self._period_ns else stamp_ns) + self._period_ns
        return None


class LatestImageBuffer:
    """A buffer that holds only the newest image of each camera. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._images: dict[str, StampedImage] = {}
        self._closed = False

    def put(self, image: StampedImage) -> bool:
        """Store an image; True if it overwrote one that was never taken. A closed buffer stores nothing."""
        with self._changed:
            if self._closed:
                return False
            overwritten = image.camera in self._images
            self._images[image.camera] = image
            self._changed.notify()
        return overwritten

    def take(self) -> StampedImage | None:
        """Wait for an image and remove it; None once the buffer is closed. The oldest of several cameras comes first.

        So no camera waits for ever, and the images of all go on in the order of their stamps as far as they are there.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._images))
            if self._closed:
                return None
            # an image from before a jump back in time goes first, and its result is dropped
            first = min(self._images.values(), key=lambda image: (image.epoch, image.stamp_ns))
            return self._images.pop(first.camera)

    def close(self) -> None:
        """Discard the image and let `take` return None."""
        with self._changed:
            self._closed = True
            self._images.clear()
            self._changed.notify_all()


class Worker:
    """One thread that calls `work` for each image of its buffer and passes the result to `deliver`.

    After `stop` has returned, `deliver` is not called again, although `work` may still be running; a transition
    therefore need not wait for it. Neither function may raise.
    """

    def __init__(self, work: Callable[[StampedImage], Any], deliver: Callable[[Any], None]):
        self.buffer = LatestImageBuffer()
        self._delivering = threading.Lock()
        self._stopped = False
        # The functions hold the model: they belong to the thread, which releases them when it ends, and not to self.
        self._thread = threading.Thread(target=self._run, args=(work, deliver), name="visual_gps_worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the image that it is processing, and drop that image's result."""
        with self._delivering:
            self._stopped = True
        self.buffer.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; False if it still runs after the timeout."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self, work: Callable[[StampedImage], Any], deliver: Callable[[Any], None]) -> None:
        while (image := self.buffer.take()) is not None:
            result = work(image)
            with self._delivering:
                if self._stopped:
                    break
                deliver(result)
