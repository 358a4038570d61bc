"""`play` of bags with topics that ROS 2 cannot publish, and of damaged ones."""

import pytest
from bag_helpers import bag_condition, custom_messages, fixes, write_mcap

from campus_visual_gps.errors import DatasetError
from training.replay.play import play

pytest.importorskip("rclpy", reason="rclpy is not installed")
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
