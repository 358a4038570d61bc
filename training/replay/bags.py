"""Read bags of ROS 2 and ROS 1 without ROS, complete or damaged, and write rosbag2 directories (MCAP)."""

from __future__ import annotations

import heapq
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rosbags.interfaces import Qos, QosDurability
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError

from campus_visual_gps.errors import DatasetError
from training.replay.storage.base import CDR, ROS1, BagMessage, Channel, Notes, StorageFile, UnreadableFileError, shown
from training.replay.storage.definitions import TYPES, Decoder, Definition, store_to_write
from training.replay.storage.discovery import find_recording, open_storage
from training.replay.storage.metadata import Metadata

__all__ = ["IMAGES", "NAVSATFIX", "ODOMETRY", "TYPES", "Bag", "BagMessage", "QosProfiles", "open_bag", "write_bag"]

NAVSATFIX = "sensor_msgs/msg/NavSatFix"
ODOMETRY = "nav_msgs/msg/Odometry"
IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
QosProfiles = dict[str, list[Qos]]
Definitions = dict[str, list[Definition]]


class Bag:
    """An open bag.

    Damage never ends the reading: what can be read is read, and `notes` says what could not. `lost` maps topics to
    messages that are known to be lost, once the topic has been read to its end.
    """

    def __init__(self, path: Path, storages: list[StorageFile], metadata: Metadata, notes: Notes):
        self.path, self.notes = path, notes
        self.lost: dict[str, int] = {}
        self._storages, self._metadata = storages, metadata
        self._channels: dict[str, list[Channel]] = {}
        for channel in (channel for storage in storages for channel in storage.channels):
            if channel.encoding not in (CDR, ROS1):
                notes.add(f"bag {path}: {channel.topic} is in {channel.encoding!r}, expected {CDR!r}: it is not read")
            elif self._type_of(channel):
                self._channels.setdefault(channel.topic, []).append(channel)
            else:
                notes.add(f"bag {path}: {channel.topic} has no message type: it is not read")
        self._types = {topic: self._main_type(channels) for topic, channels in self._channels.items()}
        self._ros1 = {topic for topic, channels in self._channels.items() if channels[0].encoding == ROS1}
        self._decoder = Decoder(self.definitions())
        known = {channel.topic for storage in storages for channel in storage.channels}
        for topic, number in metadata.counts.items():
            if number and topic not in known:
                self._lose(topic, number, f"none of the {number} messages on {topic} that metadata.yaml lists is there")

    @property
    def name(self) -> str:
        """Of the directory, or of the file without its endings."""
        path = self.path.absolute()
        return path.name if path.is_dir() else path.name.split(".")[0] or path.name

    def topics(self) -> dict[str, str]:
        """Topic -> message type; of several on one topic one that is used here, else the first."""
        return dict(self._types)

    def definitions(self) -> Definitions:
        """Message type -> its definitions in the bag's files."""
        found: Definitions = {}
        for channel in (channel for channels in self._channels.values() for channel in channels):
            known = found.setdefault(self._type_of(channel), [])
            if channel.definition not in known:
                known.append(channel.definition)
        return found

    def qos(self) -> QosProfiles:
        """Topic -> the profiles with which its publishers offered it; empty where the bag has none."""
        profiles: QosProfiles = {}
        for topic, channels in self._channels.items():
            offered = [item for channel in channels for item in channel.qos]
            profiles[topic] = [item for index, item in enumerate(offered) if item not in offered[:index]]
        return profiles

    def latched(self) -> set[str]:
        """Topics whose last messages late subscribers get too, as those of /tf_static."""
        durable = QosDurability.TRANSIENT_LOCAL
        return {topic for topic, offered in self.qos().items() if any(item.durability == durable for item in offered)}

    def messages(self, topics: Iterable[str] | None = None) -> Iterator[BagMessage]:
        """Messages in the order of their receive times, of the named topics or of all.

        Raises:
            DatasetError: the file or the disk fails.
        """
        wanted = set(self._types) if topics is None else set(topics) & set(self._types)
        read: Counter[str] = Counter()
        unconverted: Counter[str] = Counter()
        try:
            sources = [storage.messages(wanted) for storage in self._storages]
            for message in heapq.merge(*sources, key=lambda item: item.time_ns):
                read[message.topic] += 1
                message = message._replace(type_name=message.type_name or self._types[message.topic])
                if message.topic in self._ros1:
                    data = self._decoder.from_ros1(message.data, message.type_name)
                    if data is None:
                        unconverted[message.topic] += 1
                        continue
                    message = message._replace(data=data)
                yield message
        except OSError as error:
            raise DatasetError(f"bag {self.path} cannot be read: {error.strerror or error}") from error
        for topic, number in unconverted.items():
            self.notes.add(f"bag {self.path}: {number} messages of ROS 1 on {topic} have no form in ROS 2: left out")
        for topic in sorted(wanted):
            self._compare(topic, read[topic])

    def decode(self, message: BagMessage) -> Any:
        """The message as an object with the fields of its definition. Raises DatasetError."""
        try:
            return self._decoder.decode(message.data, message.type_name)
        except DatasetError as error:
            raise DatasetError(f"bag {self.path}: a message on {message.topic} cannot be decoded: {error}") from error

    def of_type(self, topics: Iterable[str] | None = None) -> Iterator[BagMessage]:
        """As `messages`, without those of another type than `topics()` says: they are left out and counted."""
        others: Counter[tuple[str, str]] = Counter()
        for message in self.messages(topics):
            if message.type_name == self._types[message.topic]:
                yield message
            else:
                others[message.topic, message.type_name] += 1
        for (topic, name), number in others.items():
            self.notes.add(f"bag {self.path}: {number} messages on {topic} are {name}: left out")

    def contents(self, topic: str) -> Iterator[tuple[BagMessage, Any]]:
        """Messages of a topic with their decoded content; those that cannot be decoded are left out and counted.

        Raises:
            DatasetError: none can be decoded.
        """
        total, failures = 0, []
        for message in self.of_type([topic]):
            total += 1
            try:
                content = self.decode(message)
            except DatasetError as error:
                failures.append(error)
                continue
            yield message, content
        if failures and len(failures) == total:
            raise failures[0]
        if failures:
            self.notes.add(f"{failures[0]}; {len(failures)} of {total} left out")

    def _type_of(self, channel: Channel) -> str:
        return channel.type_name or self._metadata.types.get(channel.topic, "")

    def _main_type(self, channels: list[Channel]) -> str:
        names = [self._type_of(channel) for channel in channels]
        return next((name for name in names if name in (NAVSATFIX, ODOMETRY, *IMAGES)), names[0])

    def _compare(self, topic: str, read: int) -> None:
        """Hold what was read against what the files and metadata.yaml say; a note where it is less."""
        in_files = sum(storage.counts.get(topic, 0) for storage in self._storages)
        expected = max(in_files, self._metadata.counts.get(topic, 0))
        if read >= expected:
            return
        text = f"{read} of {expected} messages on {topic} could be read"
        if in_files == read:
            text += f": the files have no more, metadata.yaml is of others; `ros2 bag reindex {shown(self.path)}`"
        self._lose(topic, expected - read, text)

    def _lose(self, topic: str, number: int, text: str) -> None:
        self.lost[topic] = number
        self.notes.add(f"bag {self.path}: {text}")


@contextmanager
def open_bag(path: Path | str) -> Iterator[Bag]:
    """Open a rosbag2 directory, or a .mcap, .db3 or .bag file.

    Raises:
        DatasetError: it is missing, no bag, or nothing of it can be read.
    """
    path, notes = Path(path), Notes()
    with ExitStack() as stack:
        try:
            recording = find_recording(path, notes)
            storages = _open_all(recording.files, notes, stack)
        except OSError as error:
            raise DatasetError(f"bag {path} cannot be opened: {error.strerror or error}: {error.filename}") from error
        yield Bag(path, storages, recording.metadata, notes)


def _open_all(files: list[Path], notes: Notes, stack: ExitStack) -> list[StorageFile]:
    """Those that can be read. Raises UnreadableFileError where none can."""
    storages, failures = [], []
    for file in files:
        try:
            storages.append(open_storage(file, notes, stack))
        except UnreadableFileError as error:
            failures.append(error)
    if not storages:
        raise failures[0]
    for failure in failures:
        notes.add(f"{failure}; the bag's other files are read")
    return storages


def write_bag(
    path: Path | str,
    messages: Iterable[BagMessage],
    qos: QosProfiles | None = None,
    *,
    compressed: bool = False,
    custom_data: Mapping[str, str] | None = None,
    definitions: Definitions | None = None,
) -> int:
    """Write an MCAP bag whole or not at all.

    Args:
        path: directory of the bag; a recording is never overwritten.
        messages: in the order of their times.
        qos: topic -> profiles that are kept for those who play the bag.
        compressed: whether chunks are compressed (zstd within MCAP, which needs no further plugin to read).
        custom_data: notes in the bag's metadata, as they are once all messages are written.
        definitions: message type -> definitions, by default those of the oldest supported distribution.

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
        count = _write(writer, messages, qos or {}, definitions or {}, custom_data or {})
        (staging / path.name).rename(path)
    except (WriterError, OSError) as error:
        raise DatasetError(f"bag {path} cannot be written: {error}; make room and run again") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return count


def _write(
    writer: Writer,
    messages: Iterable[BagMessage],
    qos: QosProfiles,
    definitions: Definitions,
    custom_data: Mapping[str, str],
) -> int:
    connections = {}
    count = 0
    with writer:
        for message in messages:
            key = message.topic, message.type_name
            if key not in connections:
                store = store_to_write(message.type_name, definitions.get(message.type_name, []))
                offered = qos.get(message.topic, ())
                connections[key] = writer.add_connection(*key, typestore=store, offered_qos_profiles=offered)
            writer.write(connections[key], max(message.time_ns, 0), message.data)
            count += 1
        for name, value in custom_data.items():
            writer.set_custom_data(name, value)
    return count
