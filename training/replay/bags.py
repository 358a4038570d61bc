"""Read and write rosbag2 directories (sqlite3 and MCAP) without ROS."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import Qos, QosDurability
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.errors import ReaderError, WriterError
from rosbags.typesys import Stores, get_typestore

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.ros.stamps import stamp_to_ns
from training.replay.interpolation import MAX_GAP_S, interpolate

NAVSATFIX = "sensor_msgs/msg/NavSatFix"
ODOMETRY = "nav_msgs/msg/Odometry"
IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
# The oldest distribution that is supported: all later ones read its definitions and its bag format (8, not 9).
TYPES = Stores.ROS2_HUMBLE
QosProfiles = dict[str, list[Qos]]


class BagMessage(NamedTuple):
    """One recorded message: topic, type, receive time in nanoseconds, serialised CDR."""

    topic: str
    type_name: str
    time_ns: int
    data: bytes


@dataclass(frozen=True)
class Bag:
    """An open bag."""

    path: Path
    reader: AnyReader

    def topics(self) -> dict[str, str]:
        """Topic -> message type."""
        return {connection.topic: connection.msgtype for connection in self.reader.connections}

    def qos(self) -> QosProfiles:
        """Topic -> the profiles with which its publishers offered it; empty where the bag has none."""
        profiles: QosProfiles = {}
        for connection in self.reader.connections:
            offered = getattr(connection.ext, "offered_qos_profiles", ())
            profiles.setdefault(connection.topic, []).extend(offered)
        return profiles

    def latched(self) -> set[str]:
        """Topics whose last messages late subscribers get too, as those of /tf_static."""
        durable = QosDurability.TRANSIENT_LOCAL
        return {topic for topic, offered in self.qos().items() if any(item.durability == durable for item in offered)}

    def messages(self, topics: Iterable[str] | None = None) -> Iterator[BagMessage]:
        """Messages in the order of their receive times, of the named topics or of all. Raises DatasetError."""
        wanted = None if topics is None else set(topics)
        connections = [item for item in self.reader.connections if wanted is None or item.topic in wanted]
        if not connections:
            return
        try:
            for connection, time_ns, data in self.reader.messages(connections):
                yield BagMessage(connection.topic, connection.msgtype, time_ns, bytes(data))
        except (AnyReaderError, ReaderError, OSError) as error:
            raise DatasetError(f"bag {self.path} is damaged: {error}") from error

    def decode(self, message: BagMessage) -> Any:
        """The message as an object with the fields of its definition. Raises DatasetError."""
        try:
            return self.reader.deserialize(message.data, message.type_name)
        except (AnyReaderError, KeyError) as error:
            raise DatasetError(f"bag {self.path}: a message on {message.topic} cannot be read: {error}") from error


@contextmanager
def open_bag(path: Path | str) -> Iterator[Bag]:
    """Open a rosbag2 directory. Raises DatasetError when it is missing or no bag."""
    path = Path(path)
    if not (path / "metadata.yaml").is_file():
        raise DatasetError(f"no bag at {path}: metadata.yaml is missing; name the directory that `ros2 bag` wrote")
    try:
        reader = AnyReader([path], default_typestore=get_typestore(TYPES))
        reader.open()
    except Exception as error:  # the reader lets its parsers' and databases' errors through
        raise DatasetError(f"bag {path} cannot be opened: {' '.join(str(error).split())}") from error
    try:
        yield Bag(path, reader)
    finally:
        reader.close()


def write_bag(
    path: Path | str,
    messages: Iterable[BagMessage],
    qos: QosProfiles | None = None,
    *,
    compressed: bool = False,
    custom_data: Mapping[str, str] | None = None,
) -> int:
    """Write an MCAP bag whole or not at all.

    Args:
        path: directory of the bag; a recording is never overwritten.
        messages: in the order of their times.
        qos: topic -> profiles that are kept for those who play the bag.
        compressed: whether chunks are compressed (zstd within MCAP, which needs no further plugin to read).
        custom_data: notes in the bag's metadata.

    Returns:
        The number of messages.

    Raises:
        DatasetError: something stands at `path`, or it cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise DatasetError(f"{path} exists already; choose another directory or delete it")
    staging = path.parent / f".{path.name}.partial"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        # the bag's file carries the directory's name, so it is made under its own name and then moved
        writer = Writer(staging / path.name, version=8, storage_plugin=StoragePlugin.MCAP)
        if compressed:
            writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        for key, value in (custom_data or {}).items():
            writer.set_custom_data(key, value)
        count = _write(writer, messages, qos or {})
        (staging / path.name).rename(path)
    except (WriterError, OSError) as error:
        raise DatasetError(f"bag {path} cannot be written: {error}; make room and run again") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return count


def _write(writer: Writer, messages: Iterable[BagMessage], qos: QosProfiles) -> int:
    typestore = get_typestore(TYPES)
    connections = {}
    count = 0
    with writer:
        for message in messages:
            if message.topic not in connections:
                connections[message.topic] = writer.add_connection(
                    message.topic,
                    message.type_name,
                    typestore=typestore,
                    offered_qos_profiles=qos.get(message.topic, ()),
                )
            writer.write(connections[message.topic], message.time_ns, message.data)
            count += 1
    return count


@dataclass(frozen=True)
class Fixes:
    """NavSatFix messages of one topic, sorted by stamp: (N,) ns, degrees, (N, 3) degrees and metres, (N, 3, 3) m^2."""

    stamps_ns: np.ndarray
    positions: np.ndarray
    covariances_enu_m2: np.ndarray
    status: np.ndarray

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def where(self, rows: np.ndarray) -> Fixes:
        """The fixes of the rows (N,) bool."""
        return Fixes(self.stamps_ns[rows], self.positions[rows], self.covariances_enu_m2[rows], self.status[rows])

    def interpolate(self, stamps_ns: np.ndarray, max_gap_s: float = MAX_GAP_S) -> np.ndarray:
        """Latitude, longitude, altitude (K, 3) at the stamps, linear in time; NaN outside and across longer gaps."""
        return interpolate(self.stamps_ns, self.positions, stamps_ns, max_gap_s)


def read_fixes(bag: Bag, topic: str) -> Fixes:
    """All NavSatFix messages of a topic. Raises DatasetError if the topic is not there or is of another type."""
    kind = bag.topics().get(topic)
    if kind != NAVSATFIX:
        known = ", ".join(name for name, item in bag.topics().items() if item == NAVSATFIX) or "none"
        raise DatasetError(f"bag {bag.path} has no NavSatFix on {topic}; it has them on: {known}")
    messages = (bag.decode(message) for message in bag.messages([topic]))
    decoded = sorted(messages, key=lambda fix: stamp_to_ns(fix.header.stamp))
    return Fixes(
        np.array([stamp_to_ns(fix.header.stamp) for fix in decoded], dtype=np.int64),
        np.array([(fix.latitude, fix.longitude, fix.altitude) for fix in decoded], dtype=np.float64).reshape(-1, 3),
        np.array([fix.position_covariance for fix in decoded], dtype=np.float64).reshape(-1, 3, 3),
        np.array([fix.status.status for fix in decoded], dtype=np.int64),
    )
