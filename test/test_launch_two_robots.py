"""Two robots with one set of frame names, each in a namespace with nodes, topics and transforms of its own."""

import tempfile
import unittest
from pathlib import Path

import pytest
from helpers import make_bundle, textured_rgb

pytest.importorskip("launch_testing", reason="launch_testing is not installed: it comes with a ROS distribution")

from launch import LaunchDescription
from launch.actions import GroupAction
from launch_helpers import included, launch_testing
from launch_stand_ins import parameters_of, put_first, wait_listening
from ros_helpers import Client, image_message
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros

SCRATCH = tempfile.TemporaryDirectory(prefix="campus_visual_gps_robots_")
BUNDLE = make_bundle(Path(SCRATCH.name) / "bundle")
ROBOTS = ("robot_a", "robot_b")
NODES = ("visual_gps", "navsat_transform", "ekf_odom", "ekf_map", "visual_gps_gps_transform")


@pytest.mark.launch_test
def generate_test_description():
    put_first(Path(SCRATCH.name) / "prefix")
    common = {"model_dir": str(BUNDLE), "use_fusion": "true", "output": "fallback", "gps_xyz": "0 0 1"}
    # only the first robot has these; without a group they would hold for the second too
    arguments = ({"gps_topic": "ublox/fix", "max_rate_hz": "4", "device": "cpu"}, {})
    robots = [
        GroupAction([included("localize.launch.py", namespace=name, **common, **own)])
        for name, own in zip(ROBOTS, arguments, strict=True)
    ]
    return LaunchDescription([*robots, launch_testing.actions.ReadyToTest()])


class TestTwoRobots(unittest.TestCase):
    """While both run."""

    def client(self, namespace: str) -> Client:
        made = Client(f"/{namespace}", Image)
        self.addCleanup(made.close)
        return made

    def test_each_robot_hears_its_own_transforms_odometry_and_receiver(self):
        for namespace, receiver in zip(ROBOTS, ("ublox/fix", "gps/fix"), strict=True):
            client = self.client(namespace)
            for node in NODES[1:]:
                wait_listening(client, node, f"/{namespace}/tf")
                wait_listening(client, node, f"/{namespace}/tf_static")
            wait_listening(client, "navsat_transform", f"/{namespace}/fix")
            wait_listening(client, "ekf_map", f"/{namespace}/odom")
            wait_listening(client, "visual_gps", f"/{namespace}/{receiver}")
        self.assertEqual(client.node.get_subscriptions_info_by_topic("/tf"), [])

    def test_each_node_is_there_once_in_each_namespace(self):
        client = self.client(ROBOTS[0])
        wanted = {(name, f"/{namespace}") for name in NODES for namespace in ROBOTS}
        client.wait(lambda: wanted <= set(client.node.get_node_names_and_namespaces()), f"nodes {wanted}")
        names = client.node.get_node_names_and_namespaces()
        self.assertEqual([name for name in names if name in wanted and names.count(name) > 1], [])

    def test_an_argument_that_is_not_given_leaves_the_parameter_file_its_value(self):
        names = ("gps_topic", "max_rate_hz", "device")
        given = [parameters_of(self.client(namespace), "visual_gps", *names) for namespace in ROBOTS]
        self.assertEqual(given, [["ublox/fix", 4.0, "cpu"], ["gps/fix", 2.0, "auto"]])

    def test_an_image_of_one_robot_gives_no_pose_of_the_other(self):
        first, second = (self.client(namespace) for namespace in ROBOTS)
        for client in (first, second):
            client.wait_connected()
        first.wait(lambda: first.publish(image_message(textured_rgb(120, 160))) or first.poses, "pose of the first")
        second.wait_status(lambda status: True, "the second")
        self.assertEqual(second.poses, [])


@launch_testing.post_shutdown_test()
class TestAfterShutdown(unittest.TestCase):
    """After launch has sent SIGINT."""

    def test_the_stand_ins_end_with_exit_code_0(self, proc_info):
        # test_launch_localize tests the exit code of the localizer
        for name in proc_info.process_names():
            if "localizer" not in name:
                launch_testing.asserts.assertExitCodes(proc_info, process=name)
