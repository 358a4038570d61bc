"""A frame of the fixes that is not in TF is reported once, over DDS.

The ROS wheels lack tf2_msgs. There a TransformStamped stands in for a TFMessage with one transform.
"""

import sys
from itertools import count
from types import SimpleNamespace

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from helpers import textured_rgb
from lifecycle_msgs.msg import Transition
from ros_helpers import TIMEOUT_S, Client, RunningNode, image_message, values

from campus_visual_gps.ros import tf_check

pytestmark = pytest.mark.ros

_seeds = count()


@pytest.fixture
def transforms(monkeypatch):
    """The message class on /tf, and a function that makes one."""
    kind = tf_check.transform_message()
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
    return client.node.create_publisher(kind, topic, tf_check.TF_TOPICS[topic]), message(transform)


def in_tf(status: DiagnosticStatus) -> str | None:
    return values(status).get("frame_in_tf")


def picture():
    """A different image each time, because repeated images are a warning of their own."""
    return image_message(textured_rgb(48, 64, seed=next(_seeds)), frame_id="front_camera")


def warnings_of(running: RunningNode) -> list[str]:
    """Filled with the warnings of the node's TfFrameMonitor."""
    warned: list[str] = []
    publishers = running.node._configured.publishers
    log = publishers._log
    publishers._log = lambda text, warning: (warned.append(text), log(text, warning))
    return warned


def test_a_missing_frame_is_warned_of_once_and_the_level_stays_ok(bundle_dir, transforms, monkeypatch):
    monkeypatch.setattr(tf_check, "TF_TIMEOUT_S", 2.0)
    running = RunningNode(model_dir=str(bundle_dir))
    with running as client:
        client.wait_connected()
        warned = warnings_of(running)
        publisher, message = offer(client, transforms, "/tf", "odom", "base_link")
        publisher.publish(message)
        client.send_until_status(
            picture,
            lambda item: in_tf(item) == "no" and item.level == DiagnosticStatus.OK,
            "the frame missing and the level OK",
        )
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


def test_a_frame_that_was_published_once_before_the_node_started_is_found(bundle_dir, transforms, monkeypatch):
    monkeypatch.setattr(tf_check, "TF_TIMEOUT_S", TIMEOUT_S)
    running = RunningNode(model_dir=str(bundle_dir), autostart=False, frame_id="mast")
    with running as client:
        publisher, message = offer(client, transforms, "/tf_static", "base_link", "mast")
        publisher.publish(message)
        assert client.change_state(Transition.TRANSITION_CONFIGURE)
        warned = warnings_of(running)
        assert client.change_state(Transition.TRANSITION_ACTIVATE)
        client.wait_status(lambda item: in_tf(item) == "yes", "the frame found before any image")
        # a frame that was found is not looked for again
        client.wait(lambda: publisher.get_subscription_count() == 0, "end of the subscription")
        assert warned == []


def test_without_tf2_msgs_the_frame_is_not_reported(bundle_dir, monkeypatch):
    monkeypatch.setattr(tf_check, "transform_message", lambda: None)
    with RunningNode(model_dir=str(bundle_dir)) as client:
        client.wait_connected()
        client.fix_of(picture())
        assert in_tf(client.wait_status(lambda item: "fixes" in item.message, "a fix")) is None
