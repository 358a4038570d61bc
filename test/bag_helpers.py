"""Bags of every kind, made by the tests: MCAP with any options, sqlite3, split, compressed, of ROS 1."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from compatibility import Area, condition
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from test_bags import STORE, T0, fix_message

from training.replay.bags import BagMessage, open_bag

TRUTH, CUSTOM = "/truth", "/custom"
COUNT = 60
CUSTOM_TYPE = "robot_msgs/msg/Wheel"
CUSTOM_DEFINITION = "float64 speed\nstring name"


def fixes(count=COUNT, topic=TRUTH, start_ns=T0) -> list[BagMessage]:
    """Ten a second, along a meridian."""
    stamps_ns = [start_ns + i * 10**8 for i in range(count)]
    return [fix_message(stamp, 31.0 + (stamp - T0) / 10**8 * 1e-5, 34.0, topic=topic) for stamp in stamps_ns]


def custom_messages(count=5) -> list[BagMessage]:
    data = b"\0\1\0\0" + np.float64(1.5).tobytes() + b"\2\0\0\0a\0"
    return [BagMessage(CUSTOM, CUSTOM_TYPE, T0 + i * 10**8, data) for i in range(count)]


def definition_of(type_name: str) -> str:
    known = type_name in STORE.fielddefs
    return STORE.generate_msgdef(type_name, ros_version=2)[0] if known else CUSTOM_DEFINITION


def write_mcap(path: Path, messages, schemas=None, encodings=None, **options) -> Path:
    """A single file. `schemas` maps types to (encoding, text), `encodings` topics to encodings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        writer = McapWriter(stream, **({"chunk_size": 2000} | options))
        writer.start(profile="ros2", library="test")
        channels = {}
        for message in messages:
            if message.topic not in channels:
                kind = message.type_name
                encoding, text = (schemas or {}).get(kind, ("ros2msg", definition_of(kind)))
                schema = writer.register_schema(kind, encoding, text.encode())
                of_messages = (encodings or {}).get(message.topic, "cdr")
                channels[message.topic] = writer.register_channel(message.topic, of_messages, schema)
            writer.add_message(channels[message.topic], message.time_ns, message.data, message.time_ns)
        writer.finish()
    return path


def write_rosbag(path: Path, messages, plugin=StoragePlugin.SQLITE3, mode=CompressionMode.NONE) -> Path:
    """A directory of `ros2 bag`."""
    writer = Writer(path, version=9, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for message in messages:
            if message.topic not in connections:
                connections[message.topic] = writer.add_connection(message.topic, message.type_name, typestore=STORE)
            writer.write(connections[message.topic], message.time_ns, message.data)
    return path


def storage_file(directory: Path) -> Path:
    (file,) = (item for item in directory.iterdir() if item.name != "metadata.yaml")
    return file


def write_split(path: Path, count=3, each=COUNT // 3) -> Path:
    """A directory of several .mcap files, with the metadata of a recorder."""
    files = []
    for number in range(count):
        start_ns = T0 + number * each * 10**8
        files.append(write_mcap(path / f"{path.name}_{number}.mcap", fixes(each, start_ns=start_ns)).name)
    write_metadata(path, files, {TRUTH: count * each}, dict.fromkeys(files, each))
    return path


def write_metadata(path: Path, files, counts, file_counts=None, version=9, storage="mcap") -> None:
    topics = "".join(
        f"    - topic_metadata: {{name: {topic}, type: sensor_msgs/msg/NavSatFix, serialization_format: cdr}}\n"
        f"      message_count: {number}\n"
        for topic, number in counts.items()
    )
    of_files = "".join(f"    - {{path: {name}, message_count: {n}}}\n" for name, n in (file_counts or {}).items())
    (path / "metadata.yaml").write_text(
        f"rosbag2_bagfile_information:\n  version: {version}\n  storage_identifier: {storage}\n"
        f"  relative_file_paths: [{', '.join(files)}]\n  message_count: {sum(counts.values())}\n"
        f"  topics_with_message_count:\n{topics}" + (f"  files:\n{of_files}" if of_files else "")
    )


def write_ros1(path: Path, count=COUNT) -> Path:
    store = get_typestore(Stores.ROS1_NOETIC)
    with Ros1Writer(path) as writer:
        connection = writer.add_connection(TRUTH, "sensor_msgs/msg/NavSatFix", typestore=store)
        for message in ros1_fixes(count):
            writer.write(connection, message.time_ns, message.data)
    return path


def ros1_fixes(count=COUNT) -> list[BagMessage]:
    """As ROS 1 serialises them."""
    store = get_typestore(Stores.ROS1_NOETIC)
    types, messages = store.types, []
    for stamp_ns in (T0 + i * 10**8 for i in range(count)):
        stamp = types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        fix = types["sensor_msgs/msg/NavSatFix"](
            header=types["std_msgs/msg/Header"](seq=7, stamp=stamp, frame_id="gps"),
            status=types["sensor_msgs/msg/NavSatStatus"](status=0, service=1),
            latitude=31.0 + (stamp_ns - T0) / 10**8 * 1e-5,
            longitude=34.0,
            altitude=300.0,
            position_covariance=np.diag([4.0, 4.0, 25.0]).ravel(),
            position_covariance_type=2,
        )
        data = store.serialize_ros1(fix, "sensor_msgs/msg/NavSatFix")
        messages.append(BagMessage(TRUTH, "sensor_msgs/NavSatFix", stamp_ns, bytes(data)))
    return messages


def bag_condition(text: str, outcome: str, since: str = "2026-11-26") -> pytest.MarkDecorator:
    """A row of the section on bags."""
    return condition(Area.BAGS, text, outcome, since=since)


def row(identifier: str, text: str, outcome: str, *values, since: str = "2026-11-26"):
    """A parameter set that is a row of the table."""
    return pytest.param(*values, id=identifier, marks=bag_condition(text, outcome, since))


class Read:
    """What is read of a bag: messages by topic, what is known to be lost, the lines that say so."""

    def __init__(self, path: Path):
        with open_bag(path) as bag:
            self.messages = list(bag.messages())
            self.counts = Counter(message.topic for message in self.messages)
            self.lost, self.lines = dict(bag.lost), list(bag.notes.lines)
            self.topics = bag.topics()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)
