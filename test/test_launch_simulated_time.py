"""`fusion.launch.py use_sim_time:=true`: filters that can be reset and do not end at the first /clock, and their reset.

The nodes of robot_localization are those of launch_stand_ins.
"""

import tempfile
import time
import unittest
from pathlib import Path

import pytest
from helpers import make_bundle
from launch_helpers import launched
from launch_stand_ins import parameters_of, put_first
from nav_msgs.msg import Odometry
from ros_helpers import Client, to_seconds, to_stamp
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros

SCRATCH = tempfile.TemporaryDirectory(prefix="campus_visual_gps_simulated_")
BUNDLE = make_bundle(Path(SCRATCH.name) / "bundle")
NAMESPACE = "robot_simulated"


@pytest.mark.launch_test
def generate_test_description():
    put_first(Path(SCRATCH.name) / "prefix")
    return launched("fusion.launch.py", model_dir=str(BUNDLE), namespace=NAMESPACE, use_sim_time="true")


class TestSimulatedTime(unittest.TestCase):
    """While the nodes run."""

    def setUp(self):
        self.client = Client(f"/{NAMESPACE}", Image)
        self.addCleanup(self.client.close)

    def parameters(self, node: str, *names: str) -> list:
        return parameters_of(self.client, node, *names)

    def test_late_fixes_are_not_fused_at_their_stamps(self):
        names = ("use_sim_time", "smooth_lagged_data", "history_length")
        self.assertEqual(self.parameters("ekf_map", *names), [True, False, 0.0])

    def test_filter_reset_runs_in_the_same_time_and_calls_both_filters(self):
        simulated, services = self.parameters("filter_reset", "use_sim_time", "services")
        self.assertTrue(simulated)
        self.assertEqual(list(services), ["ekf_odom/reset", "ekf_map/reset"])
        wanted = {(f"/{NAMESPACE}/{name}/reset", "std_srvs/srv/Empty") for name in ("ekf_odom", "ekf_map")}
        node, own = self.client.node, ("filter_reset", f"/{NAMESPACE}")

        def calls_both() -> bool:
            if own not in node.get_node_names_and_namespaces():
                return False  # it may be known by its service first
            found = node.get_client_names_and_types_by_node(*own)
            return wanted <= {(name, kind) for name, kinds in found for kind in kinds}

        self.client.wait(calls_both, f"clients of {wanted}")

    def test_after_a_jump_back_the_filters_are_reset_and_publish_again(self):
        node, found = self.client.node, []
        clock, odometry = node.create_publisher(Clock, "/clock", 10), node.create_publisher(Odometry, "odom", 10)
        for scope in ("local", "global"):
            node.create_subscription(
                Odometry,
                f"odometry/{scope}",
                lambda heard, scope=scope: found.append((scope, to_seconds(heard.header.stamp))),
                10,
            )

        def is_heard_by_filter_reset() -> bool:
            heard_by = node.get_subscriptions_info_by_topic("/clock")
            named = any(item.node_name == "filter_reset" for item in heard_by)
            return named and clock.get_subscription_count() == len(heard_by)

        def play(begin_s: float, what: str) -> None:
            """Odometry and clock in ten times real time, from then on, until both filters have published."""
            found.clear()
            now_s = begin_s

            def step() -> bool:
                nonlocal now_s
                now_s += 0.1
                clock.publish(Clock(clock=to_stamp(now_s)))
                message = Odometry()
                message.header.stamp = to_stamp(now_s)
                odometry.publish(message)
                time.sleep(0.01)
                return {scope for scope, stamp_s in found if begin_s < stamp_s <= now_s} == {"local", "global"}

            self.client.wait(step, what)

        # one that starts to listen after the jump does not see it
        self.client.wait(is_heard_by_filter_reset, "filter_reset on /clock")
        play(50_000.0, "both filters")
        play(1_000.0, "both filters after the jump")
