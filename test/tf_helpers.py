"""Transforms on /tf and /tf_static for tests.

The ROS wheels lack tf2_msgs. There a TransformStamped stands in for a TFMessage with one transform.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.publisher import Publisher
from ros_helpers import Client

from campus_visual_gps.ros import tf_check


def transform_kind(monkeypatch: pytest.MonkeyPatch):
    """The message class on /tf, and a function that makes one from a transform."""
    kind = tf_check.transform_message()
    if kind is not None:
        return kind, lambda transform: kind(transforms=[transform])
    monkeypatch.setattr(TransformStamped, "transforms", property(lambda self: [self]), raising=False)
    stand_in = SimpleNamespace(TFMessage=TransformStamped)
    monkeypatch.setitem(sys.modules, "tf2_msgs", SimpleNamespace(msg=stand_in))
    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", stand_in)
    return TransformStamped, lambda transform: transform


class Broadcaster:
    """Publishes one transform, with the stamp of the moment, each time it is called; a static one keeps being heard."""

    def __init__(self, client: Client, kind_and_make, topic: str, parent: str, child: str, name: str = ""):
        kind, self._message = kind_and_make
        self._client = client
        self._transform = TransformStamped(child_frame_id=child)
        self._transform.header.frame_id = parent
        self.publisher: Publisher = client.node.create_publisher(kind, name or topic, tf_check.TF_TOPICS[topic])

    def __call__(self) -> bool:
        self._transform.header.stamp = self._client.node.get_clock().now().to_msg()
        self.publisher.publish(self._message(self._transform))
        return True
