"""Subscribes to what the checks need and keeps what arrives: contents without pixels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import Log
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, Imu, NavSatFix

from campus_visual_gps.gnss.receiver_fix import ReceiverFix
from campus_visual_gps.ros.doctor.graph import full_name
from campus_visual_gps.ros.doctor.snapshot import (
    FIX_TYPE,
    IMAGE_TYPES,
    IMU_TYPE,
    ODOMETRY_TYPE,
    Diagnostic,
    ImageContent,
    LogLine,
    OdometryContent,
    Sample,
)
from campus_visual_gps.ros.stamps import NS_PER_S, stamp_to_ns
from campus_visual_gps.ros.tf_check import transform_message
from campus_visual_gps.ros.transform_tree import TransformTree

# Enough for a rate, and no more: of a fast topic the first messages are kept, and the last one.
MAX_SAMPLES = 400
_ERROR_LEVEL = 40
_QUEUE_DEPTH = 10


class Observer:
    """What arrives on the topics of a robot.

    Attributes:
        samples: The messages of each topic that is observed.
        clock_s: (arrival on the system's clock, time) of the messages on /clock.
        diagnostics: The last one of each name.
        log: Errors and warnings of all nodes.
        tree: The frames of TF; None if tf2_msgs is not installed.
        parents: The parents of each frame.
    """

    def __init__(self, node: Node):
        self._node = node
        self.samples: dict[str, list[Sample]] = {}
        self.clock_s: list[tuple[float, float]] = []
        self.diagnostics: dict[str, Diagnostic] = {}
        self.log: list[LogLine] = []
        self._transform = transform_message()
        self.tree = TransformTree() if self._transform is not None else None
        self.parents: dict[str, set[str]] = {}
        self._tf_topics: set[str] = set()
        latched = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        best_effort = QoSProfile(depth=_QUEUE_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
        node.create_subscription(Clock, "/clock", self._on_clock, best_effort)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)
        node.create_subscription(Log, "/rosout", self._on_log, latched)

    def observe(self, topic: str, kind: str) -> None:
        """Subscribe to a topic, as its publishers offer; does nothing for an unknown type, or the second time."""
        message = _MESSAGES.get(kind)
        if message is None or topic in self.samples:
            return
        offers = [info for info in self._node.get_publishers_info_by_topic(topic) if info.topic_type == kind]
        if not offers:
            return
        reliable = all(info.qos_profile.reliability != ReliabilityPolicy.BEST_EFFORT for info in offers)
        reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        self.samples[topic] = []
        profile = QoSProfile(depth=_QUEUE_DEPTH, reliability=reliability)
        self._node.create_subscription(message, topic, partial(self._on_message, topic), profile)

    def observe_tf(self, topics: Iterable[str]) -> None:
        """Subscribe to topics of transforms; those named tf_static are latched."""
        if self._transform is None:
            return
        for topic in sorted(set(topics) - self._tf_topics):
            static = topic.endswith("tf_static")
            durability = DurabilityPolicy.TRANSIENT_LOCAL if static else DurabilityPolicy.VOLATILE
            profile = QoSProfile(depth=100, durability=durability)
            self._node.create_subscription(self._transform, topic, partial(self._on_transforms, static), profile)
            self._tf_topics.add(topic)

    def _on_message(self, topic: str, message: Any) -> None:
        header = message.header
        simulated_s = self.clock_s[-1][1] if self.clock_s else math.nan
        content = _CONTENTS.get(type(message), _no_content)(message)
        stamp_s = stamp_to_ns(header.stamp) / NS_PER_S
        kept = self.samples[topic]
        if len(kept) < MAX_SAMPLES:
            kept.append(Sample(stamp_s, time.time(), simulated_s, header.frame_id, content))

    def _on_clock(self, message: Clock) -> None:
        self.clock_s.append((time.time(), stamp_to_ns(message.clock) / NS_PER_S))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            level = status.level[0] if isinstance(status.level, bytes) else int(status.level)
            self.diagnostics[status.name] = Diagnostic(status.name, level, status.message)

    def _on_log(self, message: Log) -> None:
        level = message.level[0] if isinstance(message.level, bytes) else int(message.level)
        if level >= _ERROR_LEVEL:
            self.log.append(LogLine(message.name, message.msg))

    def _on_transforms(self, static: bool, message: Any) -> None:
        for item in message.transforms:
            move, turn = item.transform.translation, item.transform.rotation
            numbers = (move.x, move.y, move.z, turn.x, turn.y, turn.z, turn.w)
            parent, child = item.header.frame_id, item.child_frame_id
            stamp_s = None if static else stamp_to_ns(item.header.stamp) / NS_PER_S
            if self.tree is not None and self.tree.add(parent, child, stamp_s, numbers):
                self.parents.setdefault(child.lstrip("/"), set()).add(parent.lstrip("/"))


def _fix(message: NavSatFix) -> ReceiverFix:
    covariance = np.asarray(message.position_covariance, dtype=np.float64).reshape(3, 3)
    return ReceiverFix(
        stamp_to_ns(message.header.stamp) / NS_PER_S,
        message.status.status,
        message.latitude,
        message.longitude,
        message.altitude,
        covariance,
        message.position_covariance_type,
    )


def _image(message: Image) -> ImageContent:
    return ImageContent(len(message.data), f"{message.width} x {message.height}, {message.encoding}")


def _compressed(message: CompressedImage) -> ImageContent:
    return ImageContent(len(message.data), f"{len(message.data) / 1e3:.0f} kB, {message.format}")


def _odometry(message: Odometry) -> OdometryContent:
    position, covariance = message.pose.pose.position, message.pose.covariance
    turn = message.pose.pose.orientation
    numbers = [position.x, position.y, position.z, turn.x, turn.y, turn.z, turn.w, *covariance]
    twist = tuple(float(message.twist.covariance[7 * axis]) for axis in (0, 1, 5))
    variances = (float(covariance[0]), float(covariance[7]))
    finite = all(math.isfinite(number) for number in numbers)
    return OdometryContent(position.x, position.y, variances, twist, message.child_frame_id, finite)


def _no_content(_message: Any) -> None:
    return None


_MESSAGES = {
    **dict(zip(IMAGE_TYPES, (Image, CompressedImage), strict=True)),
    FIX_TYPE: NavSatFix,
    ODOMETRY_TYPE: Odometry,
    IMU_TYPE: Imu,
}
_CONTENTS: dict[type, Callable[[Any], Any]] = {
    NavSatFix: _fix,
    Image: _image,
    CompressedImage: _compressed,
    Odometry: _odometry,
}


def log_name(node: str) -> str:
    """The name of a node's logger: robot.visual_gps for /robot/visual_gps."""
    return full_name("", node).strip("/").replace("/", ".")
