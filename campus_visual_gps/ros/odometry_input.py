"""The node's subscription to the robot's odometry, for tracking."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakMethod

from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from campus_visual_gps.ros.odometry_message import OdometryMessage, from_message
from campus_visual_gps.ros.parameters import NodeParameters
from campus_visual_gps.ros.qos import QosOverrides

# Odometry comes at up to some hundred hertz, and the executor may be busy for a moment. Best effort hears every
# publisher.
ODOMETRY_QOS = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)


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
