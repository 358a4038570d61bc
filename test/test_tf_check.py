"""A frame of the fixes that is not in TF is reported once, over DDS.

The ROS wheels lack tf2_msgs: a TransformStamped that stands for a message of one transform takes its place there.
"""

import sys
from itertools import count
from types import SimpleNamespace

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from helpers import textured_rgb
from lifecycle_msgs.msg import Transition
from ros_helpers import Client, RunningNode, image_message, values

from campus_visual_gps.ros import tf_check as frames

pytestmark = pytest.mark.ros

_seeds = count()


@pytest.fixture
def transforms(monkeypatch):
    """The message class on /tf, and a function that makes one."""
    monkeypatch.setattr(frames, "TF_TIMEOUT_S", 2.0)
    kind = frames.transform_message()
    if kind is not None:
        return kind, lambda transform: kind(transforms=[transform])
    monkeypatch.setattr(TransformStamped, "transforms", property(lambda self: [self]), raising=False)
    stand_in = SimpleNamespace(TFMessage=TransformStamped)
    monkeypatch.setitem(sys.modules, "tf2_msgs", SimpleNamespace(msg=stand_in))
    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", stand_in)
    return TransformStamped, lambda transform: transform


def offer(client: Client, transforms, topic: str, parent: str, child: str):
    """Publisher of a transform on its topic, and the message."""
    kind, message = transforms
    transform = TransformStamped(child_frame_id=child)
    transform.header.frame_id = parent
    return client.node.create_publisher(kind, topic, frames._TOPICS[topic]), message(transform)


def in_tf(status: DiagnosticStatus) -> str | None:
    return values(status).get("frame_in_tf")


def picture():
    """Another one each time: a frozen camera is a warning of its own."""
    return image_message(textured_rgb(48, 64, seed=next(_seeds)), frame_id="front_camera")


def warnings_of(running: RunningNode) -> list[str]:
    """Filled with what the node's frame watch warns of."""
    warned: list[str] = []
    log = running.node._outputs._log
    running.node._outputs._log = lambda text, warning: (warned.append(text), log(text, warning))
    return warned


def test_a_frame_that_is_missing_is_warned_of_once_and_the_level_stays(bundle_dir, transforms):
    running = RunningNode(model_dir=str(bundle_dir))
    with running as client:
        client.wait_connected()
        warned = warnings_of(running)
        publisher, message = offer(client, transforms, "/tf", "odom", "base_link")
        publisher.publish(message)
        status = client.send_until_status(picture, lambda item: in_tf(item) == "no", "the frame missing")
        assert status.level == DiagnosticStatus.OK
        client.send_until_status(picture, lambda item: in_tf(item) == "no", "the frame still missing")
        assert len(warned) == 1 and "frame_id 'front_camera' of the fixes is not in TF" in warned[0]
        # a transform that comes late counts
        publisher, message = offer(client, transforms, "/tf", "base_link", "front_camera")
        client.wait(lambda: publisher.get_subscription_count() > 0, "subscription to /tf")

        def sent():
            publisher.publish(message)
            return picture()

        client.send_until_status(sent, lambda item: in_tf(item) == "yes", "the frame found")
        assert len(warned) == 1


def test_a_frame_that_was_published_once_before_the_node_started_is_found(bundle_dir, transforms):
    running = RunningNode(model_dir=str(bundle_dir), autostart=False, frame_id="mast")
    with running as client:
        publisher, message = offer(client, transforms, "/tf_static", "base_link", "mast")
        publisher.publish(message)
        assert client.change_state(Transition.TRANSITION_CONFIGURE)
        warned = warnings_of(running)
        assert client.change_state(Transition.TRANSITION_ACTIVATE)
        client.wait_status(lambda item: in_tf(item) == "yes", "the frame found before any image")
        # seen is seen: a busy /tf is no longer listened to
        client.wait(lambda: publisher.get_subscription_count() == 0, "end of listening")
        assert warned == []


def test_without_tf2_msgs_nothing_is_said(bundle_dir, monkeypatch):
    monkeypatch.setattr(frames, "transform_message", lambda: None)
    with RunningNode(model_dir=str(bundle_dir)) as client:
        client.wait_connected()
        client.fix_of(picture())
        assert in_tf(client.wait_status(lambda item: "fixes" in item.message, "a fix")) is None
