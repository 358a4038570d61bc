"""`localize.launch.py` with fusion starts the nodes of robot_localization with the bundle's reference point as datum.

robot_localization and tf2_ros need not be installed: stand-ins for their executables are inspected.
"""

import importlib.util
import tempfile
import unittest
from pathlib import Path

import numpy as np
import pytest
from helpers import make_bundle
from launch_helpers import launch_testing, launched
from launch_stand_ins import parameters_of, put_first, wait_listening
from nav_msgs.msg import Odometry
from receiver_helpers import Receiver
from ros_helpers import Client
from sensor_msgs.msg import Image

from campus_visual_gps.geodesy import LocalFrame

pytestmark = pytest.mark.ros

SCRATCH = tempfile.TemporaryDirectory(prefix="campus_visual_gps_fusion_")
BUNDLE = make_bundle(Path(SCRATCH.name) / "bundle")
NAMESPACE = "robot_fusion"
DATUM_DEG = (31.262, 34.802)  # of the bundle


@pytest.mark.launch_test
def generate_test_description():
    put_first(Path(SCRATCH.name) / "prefix")
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
        gps_frame="antenna",
        gps_xyz="0 0 1.5",
        odom_frame="wheels",
        map_frame="site",
    )


def position_m(message: Odometry) -> tuple[float, float]:
    return message.pose.pose.position.x, message.pose.pose.position.y


class TestFusion(unittest.TestCase):
    """While the nodes run."""

    def setUp(self):
        self.client = Client(f"/{NAMESPACE}", Image)
        self.addCleanup(self.client.close)

    def parameters(self, node: str, *names: str) -> list:
        return parameters_of(self.client, node, *names)

    def test_navsat_transform_gets_the_bundles_origin_and_the_fallback_topic(self):
        names = ("datum", "wait_for_datum", "use_sim_time")
        datum, waits, sim_time = self.parameters("navsat_transform", *names)
        self.assertEqual(list(datum), [*DATUM_DEG, 0.0])
        self.assertTrue(waits)
        self.assertFalse(sim_time)
        for topic in (f"/{NAMESPACE}/fix", f"/{NAMESPACE}/odometry/global"):
            wait_listening(self.client, "navsat_transform", topic)

    def test_each_filter_gets_its_section_of_the_file_and_the_topics_of_the_robot(self):
        for node, frame, scope in (("ekf_odom", "wheels", "local"), ("ekf_map", "site", "global")):
            names = ("world_frame", "base_link_frame", "odom_frame", "map_frame")
            self.assertEqual(self.parameters(node, *names), [frame, "base_footprint", "wheels", "site"])
            for topic in ("/wheels/odom", f"/{NAMESPACE}/imu/data"):
                wait_listening(self.client, node, topic)
            topic = f"/{NAMESPACE}/odometry/{scope}"
            publishers = self.client.node.get_publishers_info_by_topic(topic)
            self.assertEqual([item.node_name for item in publishers], [node])
        self.assertEqual(self.parameters("ekf_map", "odom1_pose_rejection_threshold"), [4.0])

    def test_the_static_transforms_of_camera_and_receiver_are_published(self):
        rotation = " --roll -1.5708 --pitch 0.0 --yaw -1.5708"
        sensors = (
            ("camera", f"--x 0.15 --y 0.0 --z 1.2{rotation}", "front_camera"),
            ("gps", "--x 0.0 --y 0.0 --z 1.5", "antenna"),
        )
        for sensor, numbers, frame in sensors:
            (argv,) = self.parameters(f"visual_gps_{sensor}_transform", "argv")
            given = " ".join(argv).partition(" --ros-args")[0]
            self.assertEqual(given, f"{numbers} --frame-id base_footprint --child-frame-id {frame}")

    def test_the_localizer_waits_until_tf_connects_the_frames(self):
        names = ("base_frame", "world_frame", "map_frame", "camera_frame", "gps_frame")
        given = self.parameters("visual_gps", *names)
        self.assertEqual(given, ["base_footprint", "site", "site", "front_camera", "antenna"])

    @unittest.skipIf(importlib.util.find_spec("tf2_msgs") is None, "tf2_msgs is not installed")
    def test_the_receivers_fixes_reach_the_map_where_they_were_taken_and_none_at_the_origin(self):
        frame, position_deg = LocalFrame.at(*DATUM_DEG), (31.2625, 34.8025)
        receiver = Receiver(self.client, latitude=position_deg[0], longitude=position_deg[1])
        odometry, taken, fused = self.client.node.create_publisher(Odometry, "/wheels/odom", 10), [], []
        for topic, found in (("odometry/gps", taken), ("odometry/global", fused)):
            self.client.node.create_subscription(Odometry, topic, found.append, 10)

        def drive_until_fused() -> bool:
            message = Odometry(child_frame_id="base_footprint")
            message.header.stamp = self.client.node.get_clock().now().to_msg()
            odometry.publish(message)
            return len(taken) > 10 and np.allclose(position_m(fused[-1]), frame.to_local(*position_deg), atol=0.5)

        receiver.wait(drive_until_fused, "filter at the receiver's position")
        self.assertTrue(all(np.hypot(*position_m(message)) > 10.0 for message in taken))
        self.assertEqual((fused[-1].header.frame_id, fused[-1].child_frame_id), ("site", "base_footprint"))

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
