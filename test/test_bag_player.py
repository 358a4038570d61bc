"""`play` of bags with topics that ROS 2 cannot publish, and of damaged ones."""

from types import SimpleNamespace

import numpy as np
import pytest
from bag_helpers import bag_condition, custom_messages, fixes, write_mcap
from test_bags import STORE, T0

from campus_visual_gps.errors import DatasetError
from training.replay.bags import BagMessage
from training.replay.play import play

pytest.importorskip("rclpy", reason="rclpy is not installed")
from ros_helpers import Client
from tf_helpers import transform_kind

from campus_visual_gps.ros.tf_check import TF_TOPICS, transform_message

pytestmark = pytest.mark.ros


@bag_condition("topics that ROS 2 cannot publish (play)", "named; the others are played")
def test_topics_that_cannot_be_published_are_named_and_the_others_are_played(tmp_path, caplog):
    messages = [*fixes(3, "/not-a name"), *custom_messages(2), *fixes(5)]
    path = write_mcap(tmp_path / "drive.mcap", messages)
    assert play(path, rate=20.0) == 5
    assert "/not-a name is not played: " in caplog.text
    assert "/custom is not played: message type robot_msgs/msg/Wheel is not installed" in caplog.text


@bag_condition("cut bag (play)", "plays what is there; the loss is named")
def test_of_a_cut_bag_what_is_there_is_played(tmp_path, caplog):
    path = write_mcap(tmp_path / "drive.mcap", fixes(60))
    path.write_bytes(path.read_bytes()[:2000])
    assert 0 < play(path, rate=50.0) < 60
    assert "mcap recover" in caplog.text


@bag_condition("bag without a message that can be played, with --loop", "one line")
def test_a_bag_without_messages_is_one_line(tmp_path):
    with pytest.raises(DatasetError, match="no message that can be played, on 1 topics"):
        play(write_mcap(tmp_path / "drive.mcap", custom_messages(2)), loop=True)


TRANSFORMS = "tf2_msgs/msg/TFMessage"


def transforms(topic: str, parent: str, child: str) -> BagMessage:
    """One transform, the identity."""
    kinds = SimpleNamespace(**{name.rsplit("/", 1)[-1]: kind for name, kind in STORE.types.items()})
    stamp = kinds.Time(sec=T0 // 10**9, nanosec=0)
    numbers = kinds.Transform(kinds.Vector3(0.0, 0.0, 0.0), kinds.Quaternion(0.0, 0.0, 0.0, 1.0))
    header = STORE.types["std_msgs/msg/Header"](stamp=stamp, frame_id=parent)
    message = kinds.TFMessage([kinds.TransformStamped(header=header, child_frame_id=child, transform=numbers)])
    return BagMessage(topic, TRANSFORMS, T0, bytes(STORE.serialize_cdr(message, TRANSFORMS)))


def test_transforms_are_played_or_it_is_said_what_is_missing_and_what_follows(tmp_path, caplog):
    messages = [transforms("/tf_static", "base_link", "gps"), transforms("/tf", "odom", "base_link"), *fixes(5)]
    count = play(write_mcap(tmp_path / "drive.mcap", messages), rate=20.0)
    if transform_message() is not None:
        assert count == 7 and "not played" not in caplog.text
        return
    assert count == 5
    for topic in ("/tf", "/tf_static"):
        assert f"{topic} is not played: message type {TRANSFORMS} is not installed" in caplog.text
    assert "a ROS distribution has it, and without it filters get no transforms of the bag" in caplog.text


def test_static_transforms_are_there_for_a_node_that_starts_later(monkeypatch):
    from campus_visual_gps.ros.tools.bag_player import BagPlayer

    kind, _ = transform_kind(monkeypatch)
    sent = transforms("/robot_a/tf_static", "base_link", "gps")
    player = BagPlayer({sent.topic: TRANSFORMS}, {})
    client = Client("/robot_a")
    try:
        assert player.unplayed == {} and player.publish([sent]) == 1
        received: list[bytes] = []
        client.node.create_subscription(kind, sent.topic, received.append, TF_TOPICS["/tf_static"], raw=True)
        client.wait(lambda: bool(received), "transform that was published before the subscription")
        assert np.frombuffer(received[0], np.uint8).tobytes() == sent.data
    finally:
        player.close()
        client.close()
