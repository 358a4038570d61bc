"""Nodes with what `filter_stand_ins` says of navsat_transform and ekf_node, for launch tests: run as executables.

They declare every parameter that they are given and the command line as `argv`. Without tf2_msgs, which the wheels from
PyPI lack, they know no frame, and publish none.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from filter_stand_ins import WORLD, EkfStandIn, Fix, MapPosition, NavsatTransformStandIn
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_helpers import to_seconds
from sensor_msgs.msg import Imu, NavSatFix
from std_srvs.srv import Empty

from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.ros.spin import spin
from campus_visual_gps.ros.transform_tree import TransformTree

try:
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

STATIC = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class StandIn(Node):
    """A node that hears TF, on the topics of tf2's own listener."""

    def __init__(self, **node_options):
        super().__init__("stand_in", automatically_declare_parameters_from_overrides=True, **node_options)
        self.declare_parameter("argv", sys.argv[1:])
        self.tree = TransformTree()
        for topic, qos, is_static in (("/tf", 100, False), ("/tf_static", STATIC, True)):
            # without tf2_msgs there is a subscription all the same, of another type
            self.create_subscription(
                TFMessage or Odometry, topic, lambda heard, is_static=is_static: self._hear(heard, is_static), qos
            )

    def close(self) -> None:
        """Called by `spin` at the end."""

    def given(self, name: str, default: str) -> str:
        """A parameter that the launch file may set."""
        return self.get_parameter_or(name).value or default

    def sender(self, topic: str, qos: QoSProfile | int = 100):
        """A publisher of transforms, or None without tf2_msgs."""
        return None if TFMessage is None else self.create_publisher(TFMessage, topic, qos)

    def _hear(self, heard, is_static: bool) -> None:
        for transform in getattr(heard, "transforms", ()):
            stamp_s = None if is_static else to_seconds(transform.header.stamp)
            self.tree.add(transform.header.frame_id, transform.child_frame_id, stamp_s)


class NavsatTransformNode(StandIn):
    """navsat_transform: publishes nothing before odometry/filtered, whose frames it takes."""

    def __init__(self, **node_options):
        super().__init__(**node_options)
        latitude_deg, longitude_deg, _ = self.get_parameter("datum").value
        self._stand_in = NavsatTransformStandIn(LocalFrame.at(latitude_deg, longitude_deg))
        self._odometry: Odometry | None = None
        self._positions = self.create_publisher(Odometry, "odometry/gps", 10)
        self.create_subscription(Odometry, "odometry/filtered", self._on_odometry, 10)
        self.create_subscription(NavSatFix, "gps/fix", self._on_fix, 10)

    def _on_odometry(self, odometry: Odometry) -> None:
        self._odometry = odometry

    def _on_fix(self, message: NavSatFix) -> None:
        if self._odometry is None:
            return
        world, base, frame = self._odometry.header.frame_id, self._odometry.child_frame_id, message.header.frame_id
        ways = {WORLD: (world, base), frame: (frame, base)}
        self._stand_in.connected = {name for name, way in ways.items() if not self.tree.gap(*way)}
        covariance = np.reshape(message.position_covariance, (3, 3))[:2, :2]
        position_deg = (message.latitude, message.longitude)
        fix = Fix(to_seconds(message.header.stamp), *position_deg, covariance, frame, message.status.status)
        converted = self._stand_in.convert(fix)
        if converted is not None:
            self._positions.publish(odometry_message(converted, message.header.stamp, world, ""))


class EkfNode(StandIn):
    """ekf_node: a position and a transform with each message of odometry, and with the first one at the earliest."""

    def __init__(self, **node_options):
        super().__init__(**node_options)
        self._ekf, self._newest_s = EkfStandIn(), -math.inf
        self._base, odom = self.given("base_link_frame", "base_link"), self.given("odom_frame", "odom")
        self._world = self.given("world_frame", odom)
        # ekf_map publishes map -> odom, ekf_odom odom -> base_link
        self._child = self._base if self._world == odom else odom
        self._positions = self.create_publisher(Odometry, "odometry/filtered", 10)
        self._transforms = self.sender("/tf")
        self.create_subscription(Odometry, "odom", self._on_odometry, 10)
        self.create_subscription(Imu, "imu", lambda _: None, 10)
        if fixes := self.given("odom1", ""):
            self.create_subscription(Odometry, fixes, self._on_position, 10)
        self.create_service(Empty, "reset", self._on_reset)

    def _on_odometry(self, odometry: Odometry) -> None:
        stamp = odometry.header.stamp
        if to_seconds(stamp) < self._newest_s:
            return  # silent until the time of a jump has come again, as EkfStandIn.fuse
        self._newest_s = to_seconds(stamp)
        position = MapPosition(to_seconds(stamp), self._ekf.position_m, self._ekf.cov_m2)
        self._positions.publish(odometry_message(position, stamp, self._world, self._base))
        if self._transforms is not None:
            self._transforms.publish(TFMessage(transforms=[transform(self._world, self._child, stamp)]))

    def _on_position(self, message: Odometry) -> None:
        position = message.pose.pose.position
        covariance = np.reshape(message.pose.covariance, (6, 6))[:2, :2]
        self._ekf.fuse(MapPosition(to_seconds(message.header.stamp), np.array([position.x, position.y]), covariance))

    def _on_reset(self, _request: Empty.Request, response: Empty.Response) -> Empty.Response:
        self._ekf.reset()
        self._newest_s = -math.inf
        return response


class StaticTransformNode(StandIn):
    """static_transform_publisher, without the numbers of its transform."""

    def __init__(self, **node_options):
        super().__init__(**node_options)
        frame, child = (sys.argv[sys.argv.index(name) + 1] for name in ("--frame-id", "--child-frame-id"))
        self._transforms = self.sender("/tf_static", STATIC)
        if self._transforms is not None:
            self._transforms.publish(TFMessage(transforms=[transform(frame, child, self.get_clock().now().to_msg())]))


def odometry_message(position: MapPosition, stamp, frame: str, child: str) -> Odometry:
    """The position as a message."""
    message = Odometry(child_frame_id=child)
    message.header.stamp, message.header.frame_id = stamp, frame
    message.pose.pose.position.x, message.pose.pose.position.y = map(float, position.position_m)
    covariance = np.zeros((6, 6))
    covariance[:2, :2] = position.cov_m2
    message.pose.covariance = covariance.ravel().tolist()
    return message


def transform(frame: str, child: str, stamp) -> TransformStamped:
    """The transform between two frames at one place."""
    made = TransformStamped(child_frame_id=child)
    made.header.stamp, made.header.frame_id = stamp, frame
    made.transform.rotation.w = 1.0
    return made


NODES = {
    "ekf_node": EkfNode,
    "navsat_transform_node": NavsatTransformNode,
    "static_transform_publisher": StaticTransformNode,
}


def main() -> None:
    """Run the stand-in for the executable by whose name this was started."""
    spin(NODES[Path(sys.argv[0]).name])
