"""A localizer node and a client that talks to it over DDS. Tests wait for events and never for a fixed time."""

from __future__ import annotations

import gc
import itertools
import threading
import time
from array import array
from collections.abc import Callable
from contextlib import suppress

import cv2
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image, NavSatFix

TIMEOUT_S = 120.0  # long enough on a machine that also trains
_numbers = itertools.count(1)
_destroyed = itertools.count(1)


def image_message(rgb: np.ndarray, stamp_s: float = 0.0, frame_id: str = "front_camera") -> Image:
    """rgb8 message of (H, W, 3) uint8; stamp 0 is filled in by `Client.publish`."""
    message = Image(height=rgb.shape[0], width=rgb.shape[1], encoding="rgb8", step=rgb.shape[1] * 3)
    message.data = array("B", rgb.tobytes())
    message.header.stamp, message.header.frame_id = to_stamp(stamp_s), frame_id
    return message


def png_message(rgb: np.ndarray, stamp_s: float = 0.0, frame_id: str = "front_camera") -> CompressedImage:
    """The same as a PNG."""
    message = CompressedImage(format="rgb8; png compressed bgr8")
    message.data = array("B", cv2.imencode(".png", rgb[..., ::-1])[1].tobytes())
    message.header.stamp, message.header.frame_id = to_stamp(stamp_s), frame_id
    return message


def values(status: DiagnosticStatus) -> dict[str, str]:
    """A status's key-value pairs."""
    return {pair.key: pair.value for pair in status.values}


def to_stamp(seconds: float) -> Time:
    return Time(sec=int(seconds), nanosec=round(seconds % 1 * 1e9))


def to_seconds(stamp: Time) -> float:
    return stamp.sec + stamp.nanosec * 1e-9


class Client:
    """Another node of the robot: it sends images to the localizer of a namespace and receives what that publishes."""

    def __init__(
        self, namespace: str, image_type: type = Image, image_topic: str = "image", image_qos=qos_profile_sensor_data
    ):
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("client", context=self.context, namespace=namespace)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self.fixes: list[NavSatFix] = []
        self.poses: list[PoseWithCovarianceStamped] = []
        self.statuses: list[DiagnosticStatus] = []
        self._name = f"{namespace}/visual_gps: localizer".lstrip("/")
        self._images = self.node.create_publisher(image_type, image_topic, image_qos)
        self._fix_subscription = self.node.create_subscription(NavSatFix, "visual_gps/fix", self.fixes.append, 10)
        self.node.create_subscription(PoseWithCovarianceStamped, "visual_gps/pose", self.poses.append, 10)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.statuses += [status for status in message.status if status.name == self._name]

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Spin until `condition` holds; fail, saying what was waited for, after TIMEOUT_S."""
        end = time.monotonic() + TIMEOUT_S
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"no {what} within {TIMEOUT_S} s; last status: {self.statuses[-1:]}")
            self._executor.spin_once(timeout_sec=0.02)

    def wait_connected(self) -> None:
        """Wait until the node subscribes to the images and publishes fixes."""
        self.wait(lambda: self._images.get_subscription_count() == 1, "subscription to the images")
        self.wait(lambda: self.node.count_publishers(self._fix_subscription.topic_name) == 1, "publisher of fixes")

    def wait_status(self, condition: Callable[[DiagnosticStatus], bool], what: str) -> DiagnosticStatus:
        """The first status from now on for which `condition` holds."""
        self.statuses.clear()
        self.wait(lambda: any(condition(status) for status in self.statuses), f"status with {what}")
        return next(status for status in self.statuses if condition(status))

    def send_until_status(self, make: Callable, condition: Callable[[DiagnosticStatus], bool], what: str):
        """The first status for which `condition` holds, while an image from `make()` is sent five times a second."""
        self.statuses.clear()
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            self.publish(make())
            again = time.monotonic() + 0.2
            while time.monotonic() < again:
                self._executor.spin_once(timeout_sec=0.02)
            for status in self.statuses:
                if condition(status):
                    return status
        raise AssertionError(f"no status with {what} within {TIMEOUT_S} s; last status: {self.statuses[-1:]}")

    def publish(self, message: Image | CompressedImage) -> None:
        if to_seconds(message.header.stamp) == 0.0:
            message.header.stamp = self.node.get_clock().now().to_msg()
        self._images.publish(message)

    def fix_of(self, message: Image | CompressedImage) -> NavSatFix:
        """The fix of an image, which is sent again with newer stamps until it comes: best effort may lose it."""
        sent = []
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            message.header.stamp = Time()
            self.publish(message)
            sent.append(message.header.stamp)
            again = time.monotonic() + 2.0
            while time.monotonic() < again:
                self._executor.spin_once(timeout_sec=0.02)
                # not a late fix of another image
                for fix in self.fixes:
                    if fix.header.stamp in sent:
                        return fix
        raise AssertionError(f"no fix within {TIMEOUT_S} s; last status: {self.statuses[-1:]}")

    def call(self, kind: type, name: str, request):
        """Answer of one of the node's services."""
        client = self.node.create_client(kind, f"visual_gps/{name}")
        self.wait(client.service_is_ready, f"service {name}")
        future = client.call_async(request)
        self.wait(future.done, f"answer of {name}")
        self.node.destroy_client(client)
        return future.result()

    def change_state(self, transition: int) -> bool:
        return self.call(ChangeState, "change_state", ChangeState.Request(transition=Transition(id=transition))).success

    def state(self) -> str:
        return self.call(GetState, "get_state", GetState.Request()).current_state.label

    def set_parameter(self, name: str, value) -> str:
        """Why the node rejects the value; empty if it accepts it."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        result = self.call(SetParameters, "set_parameters", request).results[0]
        return "" if result.successful else result.reason


class RunningNode:
    """A LocalizerNode, spun by a thread of its own, in a context and a namespace of its own, and its client.

    Unless a test sets max_rate_hz and correlated_errors, the rate is not limited and each fix keeps the covariance of
    its image.
    """

    def __init__(
        self,
        *,
        image_type: type = Image,
        image_topic: str = "image",
        image_qos=qos_profile_sensor_data,
        cli_args=None,
        **parameters,
    ):
        from campus_visual_gps.ros.localizer_node import LocalizerNode

        self.namespace = f"/test{next(_numbers)}"
        self.client = Client(self.namespace, image_type, image_topic, image_qos)
        self._context = Context()
        rclpy.init(context=self._context)
        given = {"max_rate_hz": 0.0, "correlated_errors": "ignore"} | parameters
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        self.node = LocalizerNode(
            context=self._context, namespace=self.namespace, parameter_overrides=overrides, cli_args=cli_args
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    @property
    def localizer(self):
        """The model of the active node."""
        return self.node._active.localizer

    def __enter__(self) -> Client:
        return self.client

    def __exit__(self, *_) -> None:
        rclpy.shutdown(context=self._context)
        self._thread.join(TIMEOUT_S)
        self.node.close()
        self.node.destroy_node()
        self.client.close()
        # A destroyed lifecycle node is part of reference cycles, and its DDS participant lives as long as it does. With
        # 32 of them in a domain, two further ones never find each other (Fast DDS with the range LOCALHOST). Not after
        # every node, because a collection takes 0.2 s with torch's objects.
        if next(_destroyed) % 8 == 0:
            gc.collect()
