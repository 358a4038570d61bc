"""`fusion.launch.py use_sim_time:=true`: filters that can be reset and do not end at the first /clock, and their reset.

The nodes of robot_localization are those of launch_stand_ins.
"""

import os
import tempfile
import unittest
from pathlib import Path

import pytest
from helpers import make_bundle
from launch_helpers import launched
from launch_stand_ins import stand_ins
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from ros_helpers import Client
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros

SCRATCH = tempfile.TemporaryDirectory(prefix="campus_visual_gps_simulated_")
BUNDLE = make_bundle(Path(SCRATCH.name) / "bundle")
NAMESPACE = "robot_simulated"


@pytest.mark.launch_test
def generate_test_description():
    prefix = stand_ins(Path(SCRATCH.name) / "prefix")
    os.environ["AMENT_PREFIX_PATH"] = f"{prefix}{os.pathsep}{os.environ['AMENT_PREFIX_PATH']}"
    return launched("fusion.launch.py", model_dir=str(BUNDLE), namespace=NAMESPACE, use_sim_time="true")


class TestSimulatedTime(unittest.TestCase):
    """While the nodes run."""

    def setUp(self):
        self.client = Client(f"/{NAMESPACE}", Image)
        self.addCleanup(self.client.close)

    def parameters(self, node: str, *names: str) -> list:
        service = self.client.node.create_client(GetParameters, f"{node}/get_parameters")
        self.client.wait(service.service_is_ready, f"parameters of {node}")
        future = service.call_async(GetParameters.Request(names=list(names)))
        self.client.wait(future.done, f"parameters of {node}")
        return [parameter_value_to_python(value) for value in future.result().values]

    def test_late_fixes_are_not_fused_at_their_stamps(self):
        names = ("use_sim_time", "smooth_lagged_data", "history_length")
        self.assertEqual(self.parameters("ekf_map", *names), [True, False, 0.0])

    def test_filter_reset_runs_in_the_same_time_and_calls_both_filters(self):
        simulated, services = self.parameters("filter_reset", "use_sim_time", "services")
        self.assertTrue(simulated)
        self.assertEqual(list(services), ["ekf_odom/reset", "ekf_map/reset"])
        clients = self.client.node.get_client_names_and_types_by_node("filter_reset", f"/{NAMESPACE}")
        for name in ("ekf_odom", "ekf_map"):
            self.assertIn((f"/{NAMESPACE}/{name}/reset", ["std_srvs/srv/Empty"]), clients)
