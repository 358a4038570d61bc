"""Checks whether TF connects the frames of the fixes with the robot's base frame, and the base frame with the map.

navsat_transform puts a fix at the origin, (0, 0, 0) with the fix's covariance, as long as TF lacks one of both.

A frame is watched until it is connected. Then /tf, which may arrive at hundreds of hertz, is left alone until a fix
comes in another frame. Without a base frame only the name is looked for. Without tf2_msgs, which the ROS wheels of PyPI
lack, nothing is checked and nothing is reported.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.subscription import Subscription

from campus_visual_gps.ros.qos import QosOverrides
from campus_visual_gps.ros.stamps import NS_PER_S, stamp_to_ns
from campus_visual_gps.ros.transform_tree import TransformTree, tf_name

# Static transforms arrive at once, those of a robot that starts at the same time within seconds.
TF_TIMEOUT_S = 5.0
UNCHECKED, WAITING, CONNECTED, MISSING = "unchecked", "waiting", "yes", "no"
CAMERA, RECEIVER, WORLD = "camera", "receiver", "world"
TF, TF_STATIC = "/tf", "/tf_static"
# Absolute names, as tf2's own listener has them: a robot in a namespace remaps /tf:=tf.
TF_TOPICS = {
    TF_STATIC: QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    TF: QoSProfile(depth=100),
}
# What mends a missing connection, by source, given the frame.
_ADVICE: dict[str, Callable[[str], str]] = {
    CAMERA: lambda frame: _static_transform("camera", frame),
    RECEIVER: lambda frame: _static_transform("gps", frame),
    WORLD: lambda _: (
        "the filters publish both parts of it as soon as they have odometry or an IMU: check odom_topic and imu_topic "
        "of the launch file, publish_tf of the filters, and map_frame, odom_frame and base_frame"
    ),
}
# A topic whose messages change their frame for ever would fill the memory.
_MAX_FRAMES = 16


class _Watch:
    """A frame that is to be connected with another; without another, that is to be in TF."""

    def __init__(self, source: str, frame: str, other: str):
        self.source, self.frame, self.other = source, frame, other
        self.state = UNCHECKED
        self.connected_s = 0.0
        self.warned = False
        self._since_s = 0.0
        self._looked = False

    @property
    def pending(self) -> bool:
        return self.state != CONNECTED

    def start(self, now_s: float) -> None:
        if self.state == UNCHECKED:
            self.state, self._since_s = WAITING, now_s

    def update(self, tree: TransformTree, changed_s: float, now_s: float) -> None:
        if self.pending and not self.gap(tree):
            # the frame of a late fix may have been connected for long
            self.state, self.connected_s = CONNECTED, now_s if self._looked else changed_s
        elif self.state == WAITING and now_s - self._since_s > TF_TIMEOUT_S:
            self.state = MISSING
        self._looked = True

    def gap(self, tree: TransformTree) -> str:
        if self.other:
            return tree.gap(self.frame, self.other)
        return "" if tree.has(self.frame) else f"no transform names {self.frame!r}"


class TfFrameMonitor:
    """Says of each source's frame whether TF connects it with the base frame.

    Args:
        node: The node that subscribes to /tf and /tf_static; call `check` on its executor's thread.
        log: Called with one line, and whether it is a warning: once for a frame that is not connected within
            TF_TIMEOUT_S, and again when it is.
        base_frame: The robot's frame; empty: a frame counts as connected once TF names it.
        world_frame: The filter's frame, which TF must connect with the base frame; empty: not watched.
        holds: Whether fixes are held back meanwhile; for the text of the warning.
    """

    def __init__(
        self,
        node: Node,
        log: Callable[[str, bool], None],
        base_frame: str = "",
        world_frame: str = "",
        holds: bool = False,
    ):
        self._node, self._log, self._holds = node, log, holds
        self._base_frame, self._world_frame = tf_name(base_frame), tf_name(world_frame)
        self._tree = TransformTree()
        self._changed_s = -math.inf
        self._lock = threading.Lock()
        self._watches: dict[tuple[str, str], _Watch] = {}
        self._newest: dict[str, dict[str, str]] = {}
        self._subscriptions: list[Subscription] = []
        self._message = transform_message()
        self._closed = False
        # with a base frame also before the first fix, whose frame may so be known already
        self._listen_until_s = monotonic() + TF_TIMEOUT_S if self._base_frame else -math.inf
        # subscriptions belong on the executor's thread, and the first fix in a frame may come from another
        self._wake = node.create_guard_condition(self._update)
        if self._message is None:
            node.get_logger().info(
                "tf2_msgs is not installed: it is not checked whether the frames of the fixes are in TF"
            )
        elif self._base_frame:
            if self._world_frame:
                self.watch(WORLD, self._base_frame)
            self._wake.trigger()

    def watch(self, source: str, frame_id: str, topic: str = "") -> None:
        """A fix of the source has this frame. Any thread may call this. `topic` tells several cameras apart."""
        if self._message is None or self._closed:
            return
        frame = tf_name(frame_id)
        with self._lock:
            newest = self._newest.get(source, {})
            if topic:
                self._newest[source] = {**{name: own for name, own in newest.items() if name}, topic: frame}
            elif not any(newest):
                self._newest[source] = {topic: frame}
            if (source, frame) in self._watches:
                return
            if len(self._watches) >= _MAX_FRAMES:
                self._watches = {key: item for key, item in self._watches.items() if key[0] == WORLD}
            other = self._world_frame if source == WORLD else self._base_frame
            self._watches[source, frame] = _Watch(source, frame, other)
        self._wake.trigger()

    def is_missing(self, source: str, frame_id: str) -> bool:
        """Whether the frame has not been connected within TF_TIMEOUT_S."""
        return self._state(source, frame_id) == MISSING

    def connected_since_s(self, source: str, frame_id: str) -> float | None:
        """Since when, on the monotonic clock, TF connects the frame with the base frame and, where it is watched, the
        base frame with the map; None while it does not. Without tf2_msgs always.
        """
        if self._message is None:
            return 0.0
        watches = [self._watches.get((source, tf_name(frame_id)))]
        if self._world_frame and self._base_frame:
            watches.append(self._watches.get((WORLD, self._base_frame)))
        if any(watch is None or watch.pending for watch in watches):
            return None
        return max(watch.connected_s for watch in watches if watch is not None)

    def check(self, source: str) -> dict[str, object]:
        """Key-value pairs for the diagnostics of a source; call it about once a second. Warns once of each frame."""
        self._update()
        frames = self._frames(source)
        if not frames:
            return {}
        states = [self._state(source, frame) for frame in frames]
        values: dict[str, object] = {"frame_id": ", ".join(frames), "frame_in_tf": ", ".join(states)}
        if self._base_frame and self._world_frame:
            values["world_frame_in_tf"] = self._state(WORLD, self._base_frame)
        return values

    def problem(self, source: str) -> str:
        """What TF lacks for the newest frames of the source, after TF_TIMEOUT_S and in one line; empty: nothing."""
        keys = [*((source, frame) for frame in self._frames(source)), (WORLD, self._base_frame)]
        missing = [watch for key in keys if (watch := self._watches.get(key)) is not None and watch.state == MISSING]
        return self._lack(missing[0]) if missing else ""

    def restart(self) -> None:
        """Time jumped back: tf2's buffers are empty but for static transforms, so all is watched again."""
        self._tree.forget_dynamic()
        with self._lock:
            self._watches = {
                key: _Watch(watch.source, watch.frame, watch.other) for key, watch in self._watches.items()
            }
        if not self._closed:
            self._wake.trigger()

    def close(self) -> None:
        """Unsubscribe for good."""
        if not self._closed:
            self._closed = True
            self._unsubscribe()
            self._node.destroy_guard_condition(self._wake)

    def _frames(self, source: str) -> list[str]:
        """The newest frame of each topic of a source."""
        return list(dict.fromkeys(self._newest.get(source, {}).values()))

    def _state(self, source: str, frame_id: str) -> str:
        watch = self._watches.get((source, tf_name(frame_id)))
        return watch.state if watch is not None else UNCHECKED

    def _update(self) -> None:
        """On the executor's thread: subscribe or unsubscribe, and report what has changed."""
        if self._message is None or self._closed:
            return
        now_s = monotonic()
        with self._lock:
            watches = list(self._watches.values())
        for watch in watches:
            watch.start(now_s)
            watch.update(self._tree, self._changed_s, now_s)
            self._report(watch)
        if now_s > self._listen_until_s and not any(watch.pending for watch in watches):
            self._unsubscribe()
        elif not self._subscriptions:
            self._subscribe(self._message)

    def _report(self, watch: _Watch) -> None:
        if watch.state == MISSING and not watch.warned:
            watch.warned = True
            self._log(self._lack(watch), True)
        elif watch.warned and not watch.pending:
            watch.warned = False
            found = f"TF connects {watch.frame!r} with {watch.other!r}" if watch.other else f"TF has {watch.frame!r}"
            self._log(found, False)

    def _lack(self, watch: _Watch) -> str:
        fixes = "all fixes" if watch.source == WORLD else f"the {watch.source}'s fixes"
        effect = "are held back" if self._holds else "are put at the origin by navsat_transform"
        topic = self._node.resolve_topic_name(TF)
        lack = f"does not connect {watch.frame!r} with {watch.other!r}" if watch.other else f"has no {watch.frame!r}"
        return f"{fixes} {effect}: {topic} {lack} ({watch.gap(self._tree)}); {_ADVICE[watch.source](watch.frame)}"

    def _subscribe(self, message: type) -> None:
        overrides = QosOverrides(self._node)
        callbacks = {TF_STATIC: self._on_static, TF: self._on_dynamic}
        self._subscriptions = [
            self._node.create_subscription(message, topic, callbacks[topic], **overrides.subscription(topic, qos))
            for topic, qos in TF_TOPICS.items()
        ]

    def _unsubscribe(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _on_static(self, message: Any) -> None:
        self._take(message, is_static=True)

    def _on_dynamic(self, message: Any) -> None:
        self._take(message, is_static=False)

    def _take(self, message: Any, is_static: bool) -> None:
        for item in message.transforms:
            position, rotation = item.transform.translation, item.transform.rotation
            numbers = (position.x, position.y, position.z, rotation.x, rotation.y, rotation.z, rotation.w)
            stamp_s = None if is_static else stamp_to_ns(item.header.stamp) / NS_PER_S
            if self._tree.add(item.header.frame_id, item.child_frame_id, stamp_s, numbers):
                self._changed_s = monotonic()
        # not here: it may destroy the subscription that this is the callback of
        self._wake.trigger()


def _static_transform(sensor: str, frame: str) -> str:
    arguments = f"{sensor}_frame:={frame} {sensor}_xyz:='FORWARD LEFT UP'"
    return f"publish that transform, as localize.launch.py does if it is given {arguments} in metres"


def transform_message() -> type | None:
    """The class of tf2_msgs/TFMessage, or None if tf2_msgs is not installed."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        return None
    return TFMessage
