"""Read and write rosbag2 directories (sqlite3 and MCAP) without ROS."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import Qos, QosDurability
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.errors import ReaderError, WriterError
from rosbags.typesys import Stores, get_typestore

from campus_visual_gps.errors import DatasetError

NAVSATFIX = "sensor_msgs/msg/NavSatFix"
IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
# The oldest distribution that is served: its definitions read everywhere.
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
        """Topic -> the profiles with which its publishers offered it; empty where the bag does not tell."""
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

    def topic_of(self, *type_names: str, but: str = "") -> str | None:
        """The first topic, by name, of one of the types, other than `but`."""
        return min((name for name, kind in self.topics().items() if kind in type_names and name != but), default=None)


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


def write_bag(path: Path | str, messages: Iterable[BagMessage], qos: QosProfiles | None = None) -> int:
    """Write an MCAP bag whole or not at all; return the number of messages. `qos` is kept for those who play it.

    Raises DatasetError if something stands at `path` (a recording is never overwritten) or cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise DatasetError(f"{path} exists already; choose another directory or delete it")
    staging = path.parent / f".{path.name}.partial"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        # the bag's file carries the directory's name, so it is made under its own name and then moved
        count = _write(staging / path.name, messages, qos or {})
        (staging / path.name).rename(path)
    except (WriterError, OSError) as error:
        raise DatasetError(f"bag {path} cannot be written: {error}; make room and run again") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return count


def _write(path: Path, messages: Iterable[BagMessage], qos: QosProfiles) -> int:
    typestore = get_typestore(TYPES)
    connections = {}
    count = 0
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
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


def stamp_ns(header: Any) -> int:
    """Nanoseconds of a std_msgs/Header's stamp."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


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

    def interpolate(self, stamps_ns: np.ndarray, max_gap_s: float = 2.0) -> np.ndarray:
        """Latitude, longitude, altitude (K, 3) at the stamps, linear in time; NaN outside and across longer gaps."""
        stamps = np.asarray(stamps_ns, dtype=np.int64)
        if len(self) == 0:
            return np.full((len(stamps), 3), np.nan)
        # seconds from the first stamp: float64 cannot hold nanoseconds since 1970
        known_s = (self.stamps_ns - self.stamps_ns[0]) / 1e9
        wanted_s = (stamps - self.stamps_ns[0]) / 1e9
        columns = [np.interp(wanted_s, known_s, self.positions[:, axis]) for axis in range(3)]
        after = np.clip(np.searchsorted(known_s, wanted_s, side="left"), 0, len(self) - 1)
        before = np.clip(np.searchsorted(known_s, wanted_s, side="right") - 1, 0, len(self) - 1)
        outside = (wanted_s < known_s[0]) | (wanted_s > known_s[-1])
        bad = outside | (known_s[after] - known_s[before] > max_gap_s)
        return np.where(bad[:, None], np.nan, np.stack(columns, axis=1))


def read_fixes(bag: Bag, topic: str) -> Fixes:
    """All NavSatFix messages of a topic. Raises DatasetError if the topic is not there or is of another type."""
    kind = bag.topics().get(topic)
    if kind != NAVSATFIX:
        known = ", ".join(name for name, item in bag.topics().items() if item == NAVSATFIX) or "none"
        raise DatasetError(f"bag {bag.path} has no NavSatFix on {topic}; it has them on: {known}")
    decoded = sorted((bag.decode(message) for message in bag.messages([topic])), key=lambda fix: stamp_ns(fix.header))
    return Fixes(
        np.array([stamp_ns(fix.header) for fix in decoded], dtype=np.int64),
        np.array([(fix.latitude, fix.longitude, fix.altitude) for fix in decoded], dtype=np.float64).reshape(-1, 3),
        np.array([fix.position_covariance for fix in decoded], dtype=np.float64).reshape(-1, 3, 3),
        np.array([fix.status.status for fix in decoded], dtype=np.int64),
    )
