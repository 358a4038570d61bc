"""`localize.launch.py` with fusion starts the nodes of robot_localization with the bundle's reference point as datum.

robot_localization and tf2_ros need not be installed: stand-ins for their executables, which declare every parameter
that they are given, are inspected over DDS.
"""

import os
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

import pytest
from helpers import make_bundle
from launch_helpers import launch_testing, launched
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from ros_helpers import Client
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros

STAND_IN = f"#!{sys.executable}\n" + textwrap.dedent("""
    import sys
    import rclpy
    from nav_msgs.msg import Odometry
    from rclpy.executors import ExternalShutdownException
    from sensor_msgs.msg import Imu, NavSatFix

    SUBSCRIPTIONS = {
        "ekf_node": {"odom": Odometry, "imu": Imu},
        "navsat_transform_node": {"gps/fix": NavSatFix, "odometry/filtered": Odometry},
        "static_transform_publisher": {},
    }
    executable = sys.argv[0].rsplit("/", 1)[-1]
    rclpy.init()
    node = rclpy.create_node("stand_in", automatically_declare_parameters_from_overrides=True)
    node.declare_parameter("argv", sys.argv[1:])
    for topic, kind in SUBSCRIPTIONS[executable].items():
        node.create_subscription(kind, topic, print, 1)
    if executable == "ekf_node":
        node.create_publisher(Odometry, "odometry/filtered", 1)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
""")
EXECUTABLES = {
    "robot_localization": ("ekf_node", "navsat_transform_node"),
    "tf2_ros": ("static_transform_publisher",),
}

SCRATCH = tempfile.TemporaryDirectory(prefix="campus_visual_gps_fusion_")
BUNDLE = make_bundle(Path(SCRATCH.name) / "bundle")
NAMESPACE = "robot_fusion"


def stand_ins(prefix: Path) -> Path:
    """An ament prefix with packages of stand-ins."""
    for package, executables in EXECUTABLES.items():
        marker = prefix / "share" / "ament_index" / "resource_index" / "packages" / package
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        for name in executables:
            path = prefix / "lib" / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(STAND_IN, encoding="utf-8")
            path.chmod(0o755)
    return prefix


@pytest.mark.launch_test
def generate_test_description():
    prefix = stand_ins(Path(SCRATCH.name) / "prefix")
    os.environ["AMENT_PREFIX_PATH"] = f"{prefix}{os.pathsep}{os.environ['AMENT_PREFIX_PATH']}"
    return launched(
        "localize.launch.py",
        model_dir=str(BUNDLE),
        namespace=NAMESPACE,
        use_fusion="true",
        output="fallback",
        odom_topic="/wheels/odom",
        base_frame="base_footprint",
        camera_frame="front_camera",
        camera_xyz="0.15 0 1.2",
        camera_rpy="-1.5708, 0, -1.5708",
    )


class TestFusion(unittest.TestCase):
    """While the nodes run."""

    def setUp(self):
        self.client = Client(f"/{NAMESPACE}", Image)
        self.addCleanup(self.client.close)

    def parameters(self, node: str, *names: str) -> list:
        request = GetParameters.Request(names=list(names))
        service = self.client.node.create_client(GetParameters, f"{node}/get_parameters")
        self.client.wait(service.service_is_ready, f"parameters of {node}")
        future = service.call_async(request)
        self.client.wait(future.done, f"parameters of {node}")
        return [parameter_value_to_python(value) for value in future.result().values]

    def listens(self, node: str, topic: str) -> bool:
        return any(item.node_name == node for item in self.client.node.get_subscriptions_info_by_topic(topic))

    def test_navsat_transform_gets_the_bundles_origin_and_the_fallback_topic(self):
        names = ("datum", "wait_for_datum", "use_sim_time")
        datum, waits, sim_time = self.parameters("navsat_transform", *names)
        self.assertEqual(list(datum), [31.262, 34.802, 0.0])
        self.assertTrue(waits)
        self.assertFalse(sim_time)
        for topic in (f"/{NAMESPACE}/fix", f"/{NAMESPACE}/odometry/global"):
            self.client.wait(lambda topic=topic: self.listens("navsat_transform", topic), f"subscription to {topic}")

    def test_each_filter_gets_its_section_of_the_file_and_the_topics_of_the_robot(self):
        for node, frame, scope in (("ekf_odom", "odom", "local"), ("ekf_map", "map", "global")):
            world, base = self.parameters(node, "world_frame", "base_link_frame")
            self.assertEqual((world, base), (frame, "base_footprint"))
            for topic in ("/wheels/odom", f"/{NAMESPACE}/imu/data"):
                self.client.wait(lambda node=node, topic=topic: self.listens(node, topic), f"{node} on {topic}")
            topic = f"/{NAMESPACE}/odometry/{scope}"
            publishers = self.client.node.get_publishers_info_by_topic(topic)
            self.assertEqual([item.node_name for item in publishers], [node])
        self.assertEqual(self.parameters("ekf_map", "odom1_pose_rejection_threshold"), [4.0])

    def test_the_static_transform_of_the_camera_is_published(self):
        (argv,) = self.parameters("visual_gps_camera_transform", "argv")
        given = " ".join(argv).partition(" --ros-args")[0]
        numbers = "--x 0.15 --y 0.0 --z 1.2 --roll -1.5708 --pitch 0.0 --yaw -1.5708"
        self.assertEqual(given, f"{numbers} --frame-id base_footprint --child-frame-id front_camera")

    def test_the_localizer_becomes_active(self):
        self.client.wait(lambda: self.client.state() == "active", "active localizer")


@launch_testing.post_shutdown_test()
class TestAfterShutdown(unittest.TestCase):
    """After launch has sent SIGINT."""

    def test_the_fusion_nodes_end_with_exit_code_0(self, proc_info):
        # test_launch_localize tests the exit code of the localizer
        for name in proc_info.process_names():
            if "localizer" not in name:
                launch_testing.asserts.assertExitCodes(proc_info, process=name)
