"""The node's subscription to the robot's odometry, for tracking."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple
from weakref import WeakMethod

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from campus_visual_gps.ros.parameters import NodeParameters
from campus_visual_gps.ros.qos import QosOverrides
from campus_visual_gps.ros.stamps import NS_PER_S, stamp_to_ns
from campus_visual_gps.ros.transform_tree import tf_name

# Odometry comes at up to some hundred hertz, and the executor may be busy for a moment. Best effort hears every
# publisher.
ODOMETRY_QOS = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
# A quaternion whose length is farther from 1 is none, as in tf2.
_TOLERANCE = 1e-2


class OdometryMessage(NamedTuple):
    """A nav_msgs/Odometry as `TrackingSession.odometry` takes it."""

    stamp_s: float
    position_odom_m: np.ndarray
    yaw_odom_rad: float | None
    cov_odom_m2: np.ndarray | None
    frame: str


class OdometryInput:
    """Subscribes to the odometry.

    Args:
        node: Owns the subscription.
        settings: The node's parameters.
        on_odometry: A method that is called with each message on the executor's thread. Its object is not kept: rclpy
            may hold this one after `close`.
    """

    def __init__(self, node: Node, settings: NodeParameters, on_odometry: Callable[[OdometryMessage], None]):
        self._node, self._on_odometry = node, WeakMethod(on_odometry)
        self.topic = node.resolve_topic_name(settings.odometry_topic)
        arguments = QosOverrides(node).subscription(settings.odometry_topic, ODOMETRY_QOS)
        self._subscription = node.create_subscription(Odometry, settings.odometry_topic, self._on_message, **arguments)

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    def _on_message(self, message: Odometry) -> None:
        if (on_odometry := self._on_odometry()) is not None:
            on_odometry(from_message(message))


def from_message(message: Odometry) -> OdometryMessage:
    """What tracking takes of a message; what is no number is left to the TrackingSession, which counts it."""
    position, rotation = message.pose.pose.position, message.pose.pose.orientation
    numbers = (rotation.x, rotation.y, rotation.z, rotation.w)
    yaw = None
    if abs(math.hypot(*numbers) - 1.0) <= _TOLERANCE:
        x, y, z, w = numbers
        yaw = math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    return OdometryMessage(
        stamp_to_ns(message.header.stamp) / NS_PER_S,
        np.array([position.x, position.y]),
        yaw,
        _covariance(message.pose.covariance),
        tf_name(message.header.frame_id),
    )


def _covariance(covariance: np.ndarray) -> np.ndarray | None:
    """(2, 2) east and north of a pose's covariance; None where it is none: zeros stand for unknown."""
    own = np.asarray(covariance, dtype=np.float64).reshape(6, 6)[:2, :2]
    if not np.all(np.isfinite(own)) or not np.allclose(own, own.T) or np.linalg.eigvalsh(own)[0] <= 0.0:
        return None
    return own
