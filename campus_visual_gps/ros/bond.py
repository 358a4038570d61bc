"""This node's half of a bond: heartbeats by which a lifecycle manager knows that the node is alive.

The protocol of the package bond (bond_core), as nav2's lifecycle_manager uses it: on the topic `bond`, both halves send
bond/msg/Status with the managed node's name as id and an instance_id of their own. The manager takes the node for dead
when `active` is false, or when nothing has come for its bond_timeout.

This half only sends. nav2's own nodes hear the manager, but never act on its silence, and in Python it costs processor
time to hear the heartbeats of all nodes on the one topic. bondpy is not used: it sends from a thread of its own, and so
also when the node itself hangs.
"""

from __future__ import annotations

import uuid

from rclpy.clock import Clock
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.timer import Timer

from campus_visual_gps.ros.qos import QosOverrides

BOND_TOPIC = "bond"
# Those of nav2's own nodes: 0.1 s or 0.25 s, by their release, and 4 s.
HEARTBEAT_PERIOD_S = 0.25
HEARTBEAT_TIMEOUT_S = 4.0
_QUEUE_SIZE = 5


def status_type() -> type | None:
    """bond.msg.Status; None where the package bond is not installed, as it is not on PyPI."""
    try:
        from bond.msg import Status
    except ImportError:
        return None
    return Status


class Bond:
    """Sends heartbeats between `form` and `dissolve`, from the node's executor.

    Args:
        node: Its name is the bond's id.
        clock: Steady, so that the heart beats also while a simulated clock stands still.
    """

    def __init__(self, node: Node, clock: Clock):
        self._node, self._clock = node, clock
        self._status_type: type | None = None
        self._publisher: Publisher | None = None
        self._timer: Timer | None = None
        self._instance_id = ""

    def form(self) -> bool:
        """Start with a new instance_id. False, and nothing is sent, where the package bond is not installed."""
        self._status_type = status_type()
        if self._status_type is None:
            return False
        # kept until the node ends: a publisher that is destroyed may take its last message with it
        if self._publisher is None:
            qos = QosOverrides(self._node).publisher(BOND_TOPIC, _QUEUE_SIZE)
            self._publisher = self._node.create_publisher(self._status_type, BOND_TOPIC, **qos)
        self._instance_id = str(uuid.uuid4())
        self._timer = self._node.create_timer(HEARTBEAT_PERIOD_S, self._beat, clock=self._clock)
        self._beat()
        return True

    def dissolve(self) -> None:
        """Say that the node is no longer active, and stop."""
        if self._timer is None:
            return
        self._node.destroy_timer(self._timer)
        self._timer = None
        if self._node.context.ok():  # otherwise a signal has shut ROS down
            self._send(active=False)

    def _beat(self) -> None:
        self._send(active=True)

    def _send(self, active: bool) -> None:
        if self._status_type is None or self._publisher is None:
            return
        status = self._status_type()
        status.header.stamp = self._node.get_clock().now().to_msg()
        status.id = self._node.get_name()
        status.instance_id = self._instance_id
        status.active = active
        status.heartbeat_timeout = HEARTBEAT_TIMEOUT_S
        status.heartbeat_period = HEARTBEAT_PERIOD_S
        self._publisher.publish(status)
