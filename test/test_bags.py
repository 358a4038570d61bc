"""Bags are read and written without ROS, and a truth is interpolated in time."""

import numpy as np
import pytest
from helpers import ROOT
from rosbags.typesys import get_typestore

from campus_visual_gps.errors import DatasetError
from training.replay.bags import NAVSATFIX, TYPES, BagMessage, open_bag, write_bag
from training.replay.fixes import Fixes, read_fixes

STORE = get_typestore(TYPES)
T0 = 1_760_000_000_000_000_000


def fix_message(stamp_ns, latitude, longitude, altitude=300.0, topic="/truth", status=0):
    types = STORE.types
    header = types["std_msgs/msg/Header"](
        stamp=types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id="gps"
    )
    message = types[NAVSATFIX](
        header=header,
        status=types["sensor_msgs/msg/NavSatStatus"](status=status, service=1),
        latitude=latitude,
        longitude=longitude,
        altitude=altitude,
        position_covariance=np.diag([4.0, 4.0, 25.0]).ravel(),
        position_covariance_type=2,
    )
    return BagMessage(topic, NAVSATFIX, stamp_ns, bytes(STORE.serialize_cdr(message, NAVSATFIX)))


def test_what_is_written_is_read(tmp_path):
    messages = [fix_message(T0 + i * 10**8, 31.0 + i * 1e-5, 34.0) for i in range(5)]
    assert write_bag(tmp_path / "bag", messages) == 5
    with open_bag(tmp_path / "bag") as bag:
        assert bag.topics() == {"/truth": NAVSATFIX}
        assert list(bag.messages()) == messages
        assert bag.decode(messages[3]).latitude == 31.00003
        fixes = read_fixes(bag, "/truth")
    assert len(fixes) == 5 and fixes.covariances_enu_m2[0, 2, 2] == 25.0
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]


def test_a_recording_is_never_overwritten(tmp_path):
    write_bag(tmp_path / "bag", [fix_message(T0, 31.0, 34.0)])
    with pytest.raises(DatasetError, match="exists already"):
        write_bag(tmp_path / "bag", [])


def test_an_interrupted_writing_leaves_no_bag(tmp_path):
    def failing():
        yield fix_message(T0, 31.0, 34.0)
        raise OSError(28, "No space left on device")

    with pytest.raises(DatasetError, match="No space"):
        write_bag(tmp_path / "bag", failing())
    assert list(tmp_path.iterdir()) == []


def test_truth_is_interpolated_and_never_extrapolated():
    fixes = Fixes(
        T0 + np.array([0, 1, 10]) * 10**9,
        np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]),
        np.zeros((3, 3, 3)),
        np.zeros(3, int),
    )
    at = T0 + (np.array([-0.1, 0.0, 0.25, 1.0, 5.0, 10.0, 10.1]) * 1e9).astype(np.int64)
    result = fixes.interpolate(at, max_gap_s=2.0)
    np.testing.assert_allclose(result[:, 0], [np.nan, 0.0, 0.25, 1.0, np.nan, 10.0, np.nan])
    np.testing.assert_allclose(result[2], [0.25, 0.5, 0.75])


def test_a_topic_that_is_not_there_lists_those_that_are(tmp_path):
    write_bag(tmp_path / "bag", [fix_message(T0, 31.0, 34.0)])
    with open_bag(tmp_path / "bag") as bag, pytest.raises(DatasetError, match="/truth"):
        read_fixes(bag, "/gps/fix")


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_what_is_no_bag_is_one_line(tmp_path, damage):
    path = tmp_path / "bag"
    if damage != "missing":
        write_bag(path, [fix_message(T0 + i, 31.0, 34.0) for i in range(50)])
    if damage == "truncated":
        file = next(path.glob("*.mcap"))
        file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DatasetError, match="bag") as caught, open_bag(path) as bag:
        list(bag.messages())
    assert "\n" not in str(caught.value)


def test_a_copy_keeps_which_topics_are_latched(tmp_path):
    with open_bag(ROOT / "sample" / "drive") as bag:
        offered = bag.qos()
        assert bag.latched() == {"/tf_static"}
        write_bag(tmp_path / "copy", bag.messages(["/tf_static", "/gps/fix"]), offered)
    with open_bag(tmp_path / "copy") as copy:
        assert copy.qos() == {topic: offered[topic] for topic in ("/tf_static", "/gps/fix")}
        assert copy.latched() == {"/tf_static"}


@pytest.mark.ros
def test_a_latched_topic_is_played_to_those_who_come_late(tmp_path):
    pytest.importorskip("rclpy", reason="rclpy is not installed")
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from ros_helpers import Client
    from sensor_msgs.msg import NavSatFix

    from campus_visual_gps.ros.tools.bag_player import BagPlayer

    with open_bag(ROOT / "sample" / "drive") as bag:
        qos = {"/latched": bag.qos()["/tf_static"]}
    write_bag(tmp_path / "bag", [fix_message(T0, 31.0, 34.0, topic=name) for name in ("/latched", "/passing")], qos)
    client = Client("/late")
    with open_bag(tmp_path / "bag") as bag:
        player = BagPlayer(bag.topics(), {}, latched=bag.latched())
        try:
            assert player.publish(bag.messages()) == 2
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            heard = {"/latched": [], "/passing": []}
            client.node.create_subscription(NavSatFix, "/latched", heard["/latched"].append, latched)
            client.node.create_subscription(NavSatFix, "/passing", heard["/passing"].append, 1)
            client.wait(lambda: heard["/latched"], "latched message")
            client.wait(lambda: client.node.count_publishers("/passing") == 1, "publisher")
            assert heard["/latched"][0].latitude == 31.0 and not heard["/passing"]
        finally:
            player.close()
            client.close()
