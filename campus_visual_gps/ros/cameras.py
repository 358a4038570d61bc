"""The cameras of an active node: each has its own subscription and its own filter of stamps; one buffer takes all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import NamedTuple

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from campus_visual_gps.ros.clock_hint import ClockCheck
from campus_visual_gps.ros.diagnostics import NO_IMAGE_S, OK, STALE, WARN, DiagnosticReport, NodeStatistics
from campus_visual_gps.ros.drop_log import DropLog
from campus_visual_gps.ros.image_queue import LatestImageBuffer, StampedImage, StampFilter
from campus_visual_gps.ros.image_subscription import ImageSubscription, image_topics
from campus_visual_gps.ros.parameters import NodeParameters
from campus_visual_gps.ros.stamps import NS_PER_S, stamp_to_ns

# So many cameras can have an image of the same time: a nanosecond for each.
_SAME_TIME_NS = 100


class _Camera(NamedTuple):
    """What belongs to one topic of images."""

    stamp_filter: StampFilter
    drop_log: DropLog
    clock_check: ClockCheck


class Cameras:
    """Images of all cameras in, the newest of each into the worker's buffer.

    Args:
        node: Owns the subscriptions, the clock and the logger.
        settings: The node's parameters.
        buffer: The worker's.
        watch_frame: Called with the frame_id and the topic of every accepted image.
        on_jump: Called when the stamps of a camera jumped back.
    """

    def __init__(
        self,
        node: Node,
        settings: NodeParameters,
        buffer: LatestImageBuffer,
        watch_frame: Callable[[str, str], None],
        on_jump: Callable[[], None],
    ):
        self.topics = image_topics(node, settings)
        self._node, self._settings, self._buffer = node, settings, buffer
        self._watch_frame, self._on_jump = watch_frame, on_jump
        simulated = bool(node.get_parameter("use_sim_time").value)
        rate_hz, age_s = settings.max_rate_hz, settings.max_age_s
        self._cameras = {
            topic: _Camera(
                StampFilter(rate_hz, age_s), DropLog(rate_hz, age_s, simulated=simulated), ClockCheck(simulated)
            )
            for topic in self.topics
        }
        self._subscriptions: list[ImageSubscription] = []

    @property
    def epoch(self) -> int:
        """Number of jumps back in time, of whichever camera."""
        return sum(camera.stamp_filter.epoch for camera in self._cameras.values())

    def subscribe(self, on_image: Callable[[str, Image | CompressedImage], None]) -> None:
        """Subscribe; `on_image` gets the topic and the message, and must not hold the model."""
        self._subscriptions = [
            ImageSubscription(self._node, self._settings, topic, partial(on_image, topic)) for topic in self.topics
        ]

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            subscription.close()

    def restart(self) -> None:
        """Time jumped back: stamps may be older from now on."""
        for camera in self._cameras.values():
            camera.stamp_filter.restart()

    def on_image(self, topic: str, message: Image | CompressedImage, statistics: NodeStatistics) -> None:
        """On the executor's thread: filter the image by its stamp and put it into the buffer."""
        camera, before = self._cameras[topic], self.epoch
        now_ns, stamp_ns = self._node.get_clock().now().nanoseconds, stamp_to_ns(message.header.stamp)
        dropped = camera.stamp_filter.check(stamp_ns, now_ns)
        if self.epoch != before:
            self._restart_others(camera)
            self._on_jump()
        statistics.record_image(dropped, age_s=(now_ns - stamp_ns) / NS_PER_S)
        if dropped is None:
            self._watch_frame(message.header.frame_id, topic)
            if self._buffer.put(StampedImage(message, stamp_ns, monotonic(), self.epoch, topic)):
                statistics.record_overwritten()
            if text := camera.clock_check.record(stamp_ns, now_ns):
                self._node.get_logger().warning(self._named(topic, text))
        elif line := camera.drop_log.record(dropped, offset_s=(stamp_ns - now_ns) / NS_PER_S):
            # two calls, because rclpy ties the severity to the line of code that logs
            if line.warning:
                self._node.get_logger().warning(self._named(topic, line.text))
            else:
                self._node.get_logger().info(self._named(topic, line.text))

    def complete(self, report: DiagnosticReport) -> DiagnosticReport:
        """The node's diagnostic with each camera's transport; a camera that is silent beside others is a warning."""
        if len(self._subscriptions) < 2:
            return self._subscriptions[0].complete(report) if self._subscriptions else report
        level, message, values = report
        texts = []
        for number, subscription in enumerate(self._subscriptions, 1):
            silent_s = subscription.silence_s
            own_level, own_text = (STALE, _silence(subscription, silent_s)) if silent_s > NO_IMAGE_S else (OK, "")
            own = subscription.complete(DiagnosticReport(own_level, own_text, {"topic": subscription.topic}))
            texts += [own.message] if own.level != OK else []
            values = {**values, **{f"camera_{number}.{key}": value for key, value in own.values.items()}}
        if texts and level in (OK, STALE):
            level, message = (WARN if level == OK else level), "; ".join(texts)
        return DiagnosticReport(level, message, values)

    def _restart_others(self, jumped: _Camera) -> None:
        """A bag that begins again does so for all cameras, although one is the first."""
        for camera in self._cameras.values():
            if camera is not jumped:
                camera.stamp_filter.restart()

    def _named(self, topic: str, text: str) -> str:
        return f"{topic}: {text}" if len(self.topics) > 1 else text


class FixStamps:
    """Stamps of the fixes of all cameras on one topic: they increase strictly."""

    def __init__(self) -> None:
        self._newest_ns, self._epoch = 0, -1

    def next_ns(self, stamp_ns: int, epoch: int) -> int | None:
        """The stamp of the fix of an image; None for one that is older than that of another camera.

        Cameras with one trigger have the same stamp, and the second fix gets one that is a nanosecond later.
        """
        if epoch != self._epoch:
            self._newest_ns, self._epoch = 0, epoch
        nudged_ns = self._newest_ns + 1 - stamp_ns
        if nudged_ns > _SAME_TIME_NS:
            return None
        self._newest_ns = max(stamp_ns, self._newest_ns + 1)
        return self._newest_ns


def _silence(subscription: ImageSubscription, silent_s: float) -> str:
    return f"no image on {subscription.topic} for {silent_s:.1f} s"
