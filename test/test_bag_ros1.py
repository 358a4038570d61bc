"""Bags of ROS 1 are read as bags of ROS 2."""

import pytest
from bag_helpers import CUSTOM, CUSTOM_TYPE, Read, bag_condition, write_ros1
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from test_bags import T0

from campus_visual_gps.errors import DatasetError
from training.replay.bags import open_bag


@bag_condition("own types in a bag of ROS 1", "converted by their definition")
def test_messages_of_own_types_of_ros1_are_converted(tmp_path):
    header = "MSG: std_msgs/Header\nuint32 seq\ntime stamp\nstring frame_id"
    definition = "\n".join(["Header header", "float64 speed", "=" * 80, header])
    store = get_typestore(Stores.ROS1_NOETIC)
    store.register(get_types_from_msg("std_msgs/Header header\nfloat64 speed", CUSTOM_TYPE))
    with Ros1Writer(tmp_path / "drive.bag") as writer:
        connection = writer.add_connection(CUSTOM, CUSTOM_TYPE, msgdef=definition, md5sum="0" * 32)
        header = store.types["std_msgs/msg/Header"](7, store.types["builtin_interfaces/msg/Time"](5, 6), "wheel")
        data = store.serialize_ros1(store.types[CUSTOM_TYPE](header, 1.5), CUSTOM_TYPE)
        writer.write(connection, T0, bytes(data))
    with open_bag(tmp_path / "drive.bag") as bag:
        ((_, content),) = bag.contents(CUSTOM)
    assert (content.header.stamp.sec, content.header.frame_id, content.speed) == (5, "wheel", 1.5)


@bag_condition("bag of ROS 1 without an index, recorder killed", "names `rosbag reindex`")
def test_a_ros1_bag_without_an_index_names_the_tool(tmp_path):
    path = write_ros1(tmp_path / "drive.bag")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DatasetError, match=r"rosbag reindex .*rosbags-convert"):
        Read(path)
