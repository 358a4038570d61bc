"""Checks whether the coordinate frame of the fixes is in TF.

If it is not, navsat_transform puts the robot at the origin without a warning.

Only the name of the frame is checked, not whether it is connected to the robot's base frame. Without tf2_msgs, which
the ROS wheels of PyPI lack, nothing is checked and nothing is reported.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.subscription import Subscription

from campus_visual_gps.ros.qos import QosOverrides

# Static transforms arrive at once, those of a robot that starts at the same time within seconds.
TF_TIMEOUT_S = 5.0
UNCHECKED, WAITING, SEEN, MISSING = "unchecked", "waiting", "yes", "no"
TF_TOPICS = {
    "/tf_static": QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    "/tf": QoSProfile(depth=100),
}


class TfFrameMonitor:
    """Looks for the frame of the fixes in TF until it is found.

    Args:
        node: The node that subscribes to /tf and /tf_static; call `check` on its executor's thread.
        warn: Called once, with one line, for a frame that is not found within TF_TIMEOUT_S.
        frame_id: The frame to look for; if empty, that of the first fix.
    """

    def __init__(self, node: Node, warn: Callable[[str], None], frame_id: str = ""):
        self._node = node
        self._warn = warn
        self._wanted = frame_id
        self._frame_id = ""
        self._state = UNCHECKED
        self._since_s = 0.0
        self._subscriptions: list[Subscription] = []
        self._message = transform_message()
        if self._message is None:
            node.get_logger().debug("tf2_msgs is not installed: frame_id is not checked against TF")

    def published(self, frame_id: str) -> None:
        """A fix in this frame was published. Any thread may call this."""
        self._wanted = frame_id

    def check(self) -> dict[str, object]:
        """Key-value pairs for the diagnostics; call it about once a second. Warns once of a missing frame."""
        if self._message is None or not self._wanted:
            return {}
        if self._wanted != self._frame_id:
            self._look_for(self._wanted, self._message)
        if self._state == SEEN:
            # /tf may arrive at hundreds of hertz
            self.close()
        elif self._state == WAITING and monotonic() - self._since_s > TF_TIMEOUT_S:
            self._state = MISSING
            self._warn(
                f"frame_id {self._frame_id!r} of the fixes is not in TF: navsat_transform would put the robot at the "
                "origin; publish its transform (camera_xyz of localize.launch.py) or set the parameter frame_id"
            )
        return {"frame_id": self._frame_id, "frame_in_tf": self._state}

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _look_for(self, frame_id: str, message: type) -> None:
        self.close()
        self._frame_id, self._state, self._since_s = frame_id, WAITING, monotonic()
        overrides = QosOverrides(self._node)
        self._subscriptions = [
            self._node.create_subscription(message, topic, self._on_transforms, **overrides.subscription(topic, qos))
            for topic, qos in TF_TOPICS.items()
        ]

    def _on_transforms(self, message: Any) -> None:
        # some drivers keep the leading slash of ROS 1
        wanted = self._frame_id.lstrip("/")
        for transform in message.transforms:
            if wanted in (transform.header.frame_id.lstrip("/"), transform.child_frame_id.lstrip("/")):
                self._state = SEEN


def transform_message() -> type | None:
    """The class of tf2_msgs/TFMessage, or None if tf2_msgs is not installed."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        return None
    return TFMessage
