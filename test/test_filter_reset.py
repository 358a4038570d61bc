"""`filter_reset` resets the filters after a jump back of the simulated time, and at no other time; over DDS."""

import threading
import time
from contextlib import suppress

import pytest
import rclpy
from rcl_interfaces.msg import Log
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from ros_helpers import TIMEOUT_S, to_stamp
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Empty

from campus_visual_gps.ros import filter_reset

pytestmark = pytest.mark.ros

NAMESPACE = "/test_reset"


class Robot:
    """Stand-ins for the two filters of fusion.launch.py and for a bag that plays with --clock, and the node itself."""

    def __init__(self, filters: tuple[str, ...] = ("ekf_odom", "ekf_map")):
        self.context = Context()
        rclpy.init(context=self.context)
        # a topic of its own: the nodes of other tests on this domain have a clock too
        arguments = ["--ros-args", "-r", f"/clock:={NAMESPACE}/clock"]
        simulated = [Parameter("use_sim_time", value=True)]
        options = {"context": self.context, "namespace": NAMESPACE, "cli_args": arguments}
        self.node = filter_reset.FilterReset(parameter_overrides=simulated, **options)
        self.robot = rclpy.create_node("robot", context=self.context, namespace=NAMESPACE)
        self.resets: list[str] = []
        self.lines: list[str] = []
        for name in filters:
            self.robot.create_service(Empty, f"{name}/reset", lambda _, answer, name=name: self._reset(name, answer))
        self.robot.create_subscription(Log, "/rosout", self._on_log, 100)
        self._clock = self.robot.create_publisher(Clock, "clock", 10)
        self._executor = SingleThreadedExecutor(context=self.context)
        for node in (self.node, self.robot):
            self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()
        self.wait(lambda: self._clock.get_subscription_count() == 1, "subscription to /clock")

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def _reset(self, name: str, answer: Empty.Response) -> Empty.Response:
        self.resets.append(name)
        return answer

    def _on_log(self, message: Log) -> None:
        if message.name.endswith(filter_reset.NODE_NAME):
            self.lines.append(message.msg)

    def wait(self, condition, what: str) -> None:
        end = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < end, f"no {what}; log: {self.lines}"
            time.sleep(0.01)

    def play(self, *times_s: float) -> None:
        """Each time until the node has it."""
        for time_s in times_s:

            def arrived(time_s: float = time_s) -> bool:
                self._clock.publish(Clock(clock=to_stamp(time_s)))
                return self.node.get_clock().now().nanoseconds == round(time_s * 1e9)

            self.wait(arrived, f"{time_s} s on the node's clock")

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        rclpy.shutdown(context=self.context)
        self._thread.join(TIMEOUT_S)
        self.node.close()
        self.node.destroy_node()
        self.robot.destroy_node()


def test_a_bag_that_starts_over_resets_each_filter_once_each_time():
    with Robot() as robot:
        robot.play(100.0, 130.0)
        assert robot.resets == []
        for round_ in (1, 2):
            robot.play(100.0)
            expected = sorted(["ekf_map", "ekf_odom"] * round_)
            robot.wait(lambda expected=expected: sorted(robot.resets) == expected, "reset of both filters")
            robot.play(130.0)
        assert sorted(robot.resets) == expected


def test_steps_back_below_a_second_and_the_start_of_the_clock_are_no_jumps(monkeypatch):
    monkeypatch.setattr(filter_reset, "SETTLE_S", 0.0)
    with Robot() as robot:
        robot.play(5.0, 100.0, 99.5, 200.0)
        robot.play(20.0)  # a jump, so that something can be waited for
        robot.wait(lambda: len(robot.resets) == 2, "reset of both filters")
        assert sum("jumped back" in line for line in robot.lines) == 1


def test_a_filter_without_the_service_is_named_and_the_other_one_is_reset(monkeypatch):
    monkeypatch.setattr(filter_reset, "SERVICE_TIMEOUT_S", 1.0)
    with Robot(filters=("ekf_map",)) as robot:
        robot.play(100.0, 20.0)
        robot.wait(lambda: any("no service" in line for line in robot.lines), "warning")
        assert robot.resets == ["ekf_map"]
        (line,) = [line for line in robot.lines if "no service" in line]
        assert f"no service {NAMESPACE}/ekf_odom/reset" in line and "restart fusion.launch.py" in line
