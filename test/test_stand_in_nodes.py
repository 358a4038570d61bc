"""The stand-ins of launch tests do over DDS what filter_stand_ins says of the real nodes."""

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from receiver_helpers import receiver_message
from ros_helpers import Client, to_stamp
from sensor_msgs.msg import NavSatFix
from stand_in_nodes import EkfNode, NavsatTransformNode
from std_srvs.srv import Empty

from campus_visual_gps.geodesy import LocalFrame

pytestmark = pytest.mark.ros

DATUM_DEG, POSITION_DEG = (31.262, 34.802), (31.2625, 34.8025)
EXPECTED_M = LocalFrame.at(*DATUM_DEG).to_local(*POSITION_DEG)


def position_m(message: Odometry) -> tuple[float, float]:
    return message.pose.pose.position.x, message.pose.pose.position.y


class Robot:
    """Both stand-ins, and what they publish."""

    def __init__(self):
        self.client = Client("/stand_ins")
        node, options = self.client.node, {"context": self.client.context, "namespace": "/stand_ins"}
        frames = {"world_frame": "map", "odom_frame": "odom", "base_link_frame": "base_link", "odom1": "odometry/gps"}
        self.navsat = NavsatTransformNode(
            parameter_overrides=[Parameter("datum", value=[*DATUM_DEG, 0.0])],
            cli_args=["--ros-args", "-r", "__node:=navsat_transform"],
            **options,
        )
        self.ekf = EkfNode(
            parameter_overrides=[Parameter(name, value=value) for name, value in frames.items()],
            cli_args=["--ros-args", "-r", "__node:=ekf_map"],
            **options,
        )
        for stand_in in (self.navsat, self.ekf):
            self.client._executor.add_node(stand_in)
        self.converted: list[Odometry] = []
        self.fused: list[Odometry] = []
        node.create_subscription(Odometry, "odometry/gps", self.converted.append, 10)
        node.create_subscription(Odometry, "odometry/filtered", self.fused.append, 10)
        self._reset = node.create_client(Empty, "reset")
        self._odometry = node.create_publisher(Odometry, "odom", 10)
        self._fixes = node.create_publisher(NavSatFix, "gps/fix", 10)
        self._stamp_s = 100.0

    def drive(self, condition, what: str, begin_s: float | None = None) -> None:
        """Send odometry and fixes, with stamps 0.1 s apart, until the condition holds."""
        self._stamp_s = self._stamp_s if begin_s is None else begin_s

        def step() -> bool:
            self._stamp_s += 0.1
            stamp = to_stamp(self._stamp_s)
            odometry, fix = Odometry(), receiver_message(latitude=POSITION_DEG[0], longitude=POSITION_DEG[1])
            odometry.header.stamp = fix.header.stamp = stamp
            self._odometry.publish(odometry)
            self._fixes.publish(fix)
            return condition()

        self.client.wait(step, what)

    def reset(self) -> None:
        """Call the filter's service."""
        self.client.wait(self._reset.service_is_ready, "service reset")
        self.client.wait(self._reset.call_async(Empty.Request()).done, "answer of reset")

    def close(self) -> None:
        for stand_in in (self.navsat, self.ekf):
            stand_in.destroy_node()
        self.client.close()


def test_fixes_are_at_the_origin_until_tf_connects_them_and_a_jump_back_silences_the_filter_until_its_reset():
    robot = Robot()
    try:
        robot.drive(lambda: len(robot.converted) > 2, "converted fixes")
        assert {position_m(message) for message in robot.converted} == {(0.0, 0.0)}
        for parent, child in (("map", "odom"), ("odom", "base_link"), ("base_link", "antenna")):
            robot.navsat.tree.add(parent, child, None)
        robot.drive(lambda: np.allclose(position_m(robot.converted[-1]), EXPECTED_M, atol=1e-3), "fixes in their place")
        # the filter has adopted the origin and rejects the truth; a reset lets it begin again
        robot.reset()
        robot.drive(lambda: np.allclose(position_m(robot.fused[-1]), EXPECTED_M, atol=0.1), "filter at the fixes")
        robot.fused.clear()
        heard = len(robot.converted)
        robot.drive(lambda: len(robot.converted) > heard + 3, "fixes after the jump", begin_s=10.0)
        assert all(message.header.stamp.sec >= 100 for message in robot.fused)
        robot.reset()
        robot.drive(lambda: any(message.header.stamp.sec < 100 for message in robot.fused), "filter after its reset")
    finally:
        robot.close()
