"""Nodes of a robot for the tests of the doctor: localizer, camera, filters, ... whose messages the tests choose."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from helpers import textured_rgb
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from ros_helpers import TIMEOUT_S, image_message
from sensor_msgs.msg import Image, Imu, NavSatFix

RATE_HZ = 20.0
_RGB = textured_rgb(48, 64)
# The parameters by which the doctor knows the nodes of robot_localization.
NAVSAT = {"wait_for_datum": True, "zero_altitude": True, "datum": [31.262, 34.802, 0.0]}
FILTER = {"two_d_mode": True, "world_frame": "map", "map_frame": "map", "base_link_frame": "base_link"}


class Robot:
    """Nodes in one namespace, in a context of their own; a thread runs them between `start` and `stop`.

    Nothing is made or destroyed while it runs: rclpy's executor would meet half of it.
    """

    def __init__(self, namespace: str):
        self._context = Context()
        rclpy.init(context=self._context)
        self._namespace = namespace
        self._executor = SingleThreadedExecutor(context=self._context)
        self._nodes: list[Any] = []
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Run the nodes."""
        self._stopped.clear()
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def stop(self) -> None:
        """Stop the nodes; they stay in the graph."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(TIMEOUT_S)
            self._thread = None

    def _spin(self) -> None:
        while not self._stopped.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def node(self, name: str, lifecycle: bool = False, **parameters: Any) -> Any:
        """A node with these parameters."""
        given = [Parameter(key, value=value) for key, value in parameters.items()]
        kind = LifecycleNode if lifecycle else rclpy.node.Node
        node = kind(
            name,
            context=self._context,
            namespace=self._namespace,
            parameter_overrides=given,
            automatically_declare_parameters_from_overrides=True,
        )
        self._nodes.append(node)
        self._executor.add_node(node)
        return node

    def localizer(self, image_qos: Any = qos_profile_sensor_data, **parameters: Any) -> Any:
        """A stand-in for an active localizer with output fallback: its parameters, topics, state and diagnostics."""
        node = self.node("visual_gps", lifecycle=True, **{"model_dir": "/bundle", "output": "fallback", **parameters})
        node.create_subscription(Image, "image", lambda _: None, image_qos)
        node.create_subscription(NavSatFix, "gps/fix", lambda _: None, qos_profile_sensor_data)
        self.publish(node, "visual_gps/fix", fix("front_camera", 49.0))
        self.publish(node, "fix", fix())
        name = f"{self._namespace}/visual_gps: localizer".lstrip("/")
        status = DiagnosticStatus(level=DiagnosticStatus.OK, name=name, message="2 fixes since the last report")
        self.publish(node, "/diagnostics", lambda _: DiagnosticArray(status=[status]))
        node.trigger_configure()
        node.trigger_activate()
        return node

    def sensors(self, image_qos: Any = qos_profile_sensor_data) -> None:
        """A camera and a receiver."""
        self.publish(self.node("front_camera"), "image", image, image_qos)
        self.publish(self.node("gps_driver"), "gps/fix", fix())

    def publish(self, node: Any, topic: str, make: Callable[[Any], Any], qos: Any = 10) -> None:
        """Publish `make(stamp)` on a topic RATE_HZ times a second."""
        kind = type(make(node.get_clock().now().to_msg()))
        publisher = node.create_publisher(kind, topic, qos)
        # steady time, because simulated time stands still without /clock
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(1.0 / RATE_HZ, lambda: publisher.publish(make(node.get_clock().now().to_msg())), clock=clock)

    def fusion(self, state: Callable[[Any], Odometry], measured: Callable[[Any], Odometry], fix_topic: str) -> None:
        """Stand-ins for navsat_transform and ekf_map: their parameters and topics, and the messages that are given."""
        navsat = self.node("navsat_transform", **NAVSAT)
        navsat.create_subscription(NavSatFix, fix_topic, lambda _: None, 1)
        navsat.create_subscription(Odometry, "odometry/global", lambda _: None, 1)
        self.publish(navsat, "odometry/gps", measured)
        ekf = self.node("ekf_map", **FILTER)
        for topic, kind in (("odom", Odometry), ("odometry/gps", Odometry), ("imu/data", Imu)):
            ekf.create_subscription(kind, topic, lambda _: None, 1)
        self.publish(ekf, "odometry/global", state)

    def close(self) -> None:
        """End the nodes."""
        self.stop()
        self._executor.shutdown()
        for node in self._nodes:
            node.destroy_node()
        rclpy.shutdown(context=self._context)


def image(stamp: Any) -> Image:
    """A small image with this stamp."""
    message = image_message(_RGB)
    message.header.stamp = stamp
    return message


def odometry(x_m: float = 3.0, y_m: float = 4.0, frame_id: str = "map", variance_m2: float = 1.0):
    """A function from a stamp to an Odometry."""

    def make(stamp: Any) -> Odometry:
        message = Odometry(child_frame_id="base_link")
        message.header.stamp, message.header.frame_id = stamp, frame_id
        message.pose.pose.position.x, message.pose.pose.position.y = x_m, y_m
        for axis in range(6):
            message.pose.covariance[7 * axis] = message.twist.covariance[7 * axis] = variance_m2
        return message

    return make


def imu(stamp: Any) -> Imu:
    """An Imu with this stamp."""
    message = Imu()
    message.header.stamp, message.header.frame_id = stamp, "imu"
    return message


def fix(frame_id: str = "gps", variance_m2: float = 4.0, **fields: Any):
    """A function from a stamp to a NavSatFix of type APPROXIMATED."""

    def make(stamp: Any) -> NavSatFix:
        message = NavSatFix(latitude=31.263, longitude=34.802, altitude=300.0, position_covariance_type=1)
        message.header.stamp, message.header.frame_id = stamp, frame_id
        message.status.status = 0
        for axis in range(3):
            message.position_covariance[4 * axis] = variance_m2
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    return make
