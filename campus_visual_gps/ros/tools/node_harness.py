"""The real node with a test camera and a test listener over DDS, for the benchmark, the soak and scripts/quick."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from array import array
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import LoggingSeverity
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image, NavSatFix

from campus_visual_gps.errors import VisualGpsError
from campus_visual_gps.ros.stamps import NS_PER_S

START_TIMEOUT_S = 180.0  # long enough to load the model on a busy computer
END_TIMEOUT_S = 15.0


class NodeThread:
    """The node in a thread of this process; images of any size arrive, however DDS is configured between processes."""

    pid = os.getpid()

    def __init__(self, namespace: str, parameters: dict[str, object]):
        from campus_visual_gps.ros.localizer_node import LocalizerNode

        self._context = Context()
        rclpy.init(context=self._context)
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self._node = LocalizerNode(context=self._context, namespace=namespace, parameter_overrides=overrides)
        self._node.get_logger().set_level(LoggingSeverity.WARN)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Does nothing: a thread does not end by itself."""

    def close(self) -> None:
        """Stop the node and wait for its thread."""
        rclpy.shutdown(context=self._context)
        self._thread.join(END_TIMEOUT_S)
        self._node.close()
        self._node.destroy_node()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()


class NodeProcess:
    """The node in a process of its own, as on a robot, so that its memory can be measured."""

    def __init__(self, namespace: str, parameters: dict[str, object]):
        arguments = ["--ros-args", "--log-level", "warn", "-r", f"__ns:={namespace}"]
        for name, value in parameters.items():
            arguments += ["-p", f"{name}:={value}"]
        command = [sys.executable, "-m", "campus_visual_gps.ros.localizer_node", *arguments]
        self._process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        self.pid = self._process.pid

    def check(self) -> None:
        """Raises VisualGpsError if the process has ended."""
        if self._process.poll() is not None:
            raise VisualGpsError(f"the node ended with exit code {self._process.returncode}; see its log")

    def close(self) -> None:
        """Send SIGTERM and wait for the process."""
        self._process.terminate()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()


class NodeHarness:
    """Context manager: an active node in a namespace of its own, with a camera and a listener.

    Args:
        run: How the node runs.
        compressed: Whether the camera sends compressed images.
        image_qos: QoS of the camera.
        parameters: Parameters of the node.

    Attributes:
        counts: `sent` images and received `fixes`.
        diagnostics: `message` and key-value pairs of the localizer's last diagnostic.
        last_fix: The last fix that came.
        pid: Process of the node.
    """

    def __init__(
        self,
        run: type[NodeThread] | type[NodeProcess],
        compressed: bool,
        image_qos: QoSProfile | None = None,
        **parameters: object,
    ):
        self.counts: Counter[str] = Counter()
        self.diagnostics: dict[str, str] = {}
        self.last_fix: NavSatFix | None = None
        self._run = run
        self._parameters = {**parameters, "image_transport": "compressed" if compressed else "raw"}
        self._image_qos = image_qos or QoSProfile(depth=1)
        self._stamp_ns = 0
        self._namespace = f"/harness_{os.getpid()}_{self._parameters['image_transport']}"

    def __enter__(self) -> NodeHarness:
        self._node_run = self._run(self._namespace, self._parameters)
        self.pid = self._node_run.pid
        try:
            self._connect()
        except BaseException:
            self._node_run.close()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._node_run.close()
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def send(self, message: Image | CompressedImage) -> None:
        """Publish the image with the current time as its stamp; stamps increase strictly."""
        self._stamp_ns = max(self._stamp_ns + 1, self._node.get_clock().now().nanoseconds)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(self._stamp_ns, NS_PER_S)
        message.header.frame_id = "camera"
        self._images.publish(message)
        self.counts["sent"] += 1

    def send_and_wait(self, message: Image | CompressedImage, timeout_s: float = 5.0) -> bool:
        """Send the image and wait for its fix; False if none came, as best-effort transport may lose an image."""
        before = self.counts["fixes"]
        self.send(message)
        return self.spin_until(lambda: self.counts["fixes"] > before, timeout_s)

    def spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Receive messages until `condition` holds; False after the timeout.

        Raises:
            VisualGpsError: The node's process has ended.
        """
        end_s = monotonic() + timeout_s
        while not condition():
            left_s = end_s - monotonic()
            if left_s <= 0.0:
                return False
            self._node_run.check()
            self._executor.spin_once(timeout_sec=min(left_s, 0.1))
        return True

    def _connect(self) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("node_harness", context=self._context, namespace=self._namespace)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        kind, topic = (
            (CompressedImage, "image/compressed")
            if self._parameters["image_transport"] == "compressed"
            else (Image, "image")
        )
        self._images = self._node.create_publisher(kind, topic, self._image_qos)
        fixes = self._node.create_subscription(NavSatFix, "visual_gps/fix", self._on_fix, 10)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

        def connected() -> bool:
            subscribed = self._images.get_subscription_count() > 0
            return subscribed and self._node.count_publishers(fixes.topic_name) > 0

        if not self.spin_until(connected, START_TIMEOUT_S):
            raise VisualGpsError(f"the node was not active within {START_TIMEOUT_S:.0f} s: {self.diagnostics}")

    def _on_fix(self, message: NavSatFix) -> None:
        self.counts["fixes"] += 1
        self.last_fix = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f"{self._namespace}/visual_gps: localizer".lstrip("/"):
                self.diagnostics = {"message": status.message, **{pair.key: pair.value for pair in status.values}}


def raw_message(rgb: np.ndarray) -> Image:
    """rgb8 message of an image (H, W, 3) uint8 RGB."""
    message = Image(height=rgb.shape[0], width=rgb.shape[1], encoding="rgb8", step=rgb.shape[1] * 3)
    message.data = array("B", rgb.tobytes())
    return message


def jpeg_message(rgb: np.ndarray) -> CompressedImage:
    """JPEG message of an image (H, W, 3) uint8 RGB as image_transport sends it, quality 95."""
    import cv2

    data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    return CompressedImage(format="rgb8; jpeg compressed bgr8", data=array("B", data.tobytes()))
