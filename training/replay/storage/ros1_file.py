"""Bags of ROS 1, read through rosbags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag1 import Reader

from training.replay.storage.base import (
    ROS1,
    BagMessage,
    Channel,
    Definition,
    Notes,
    UnreadableFileError,
    one_line,
    shown,
)

MAGIC = b"#ROSBAG V2.0"


class Ros1File:
    """An open .bag file of version 2.0. Raises UnreadableFileError where it has no index."""

    def __init__(self, path: Path, notes: Notes, name: Path):
        self._path, self._notes = name, notes
        self.mend = f"`rosbag reindex {shown(name)}`, then `rosbags-convert --src {shown(name)} --dst NEW`"
        self._reader = Reader(path)
        try:
            self._reader.open()
        except Exception as error:  # ReaderError, and what a damaged index makes of struct, bz2 and lz4
            raise UnreadableFileError(f"{name}: {one_line(error)}: {self.mend}") from error
        self.channels = [
            Channel(item.topic, item.msgtype, ROS1, _definition(item.msgdef)) for item in self._reader.connections
        ]
        counts: Counter[str] = Counter()
        for connection in self._reader.connections:
            counts[connection.topic] += connection.msgcount
        self.counts = dict(counts)

    def close(self) -> None:
        self._reader.close()

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """In the order of receive times, as ROS 1 serialised them."""
        wanted = [item for item in self._reader.connections if item.topic in topics]
        if not wanted:
            return
        try:
            for connection, time_ns, data in self._reader.messages(wanted):
                yield BagMessage(connection.topic, connection.msgtype, time_ns, bytes(data))
        except Exception as error:  # as at opening
            self._notes.add(f"{self._path}: damaged ({one_line(error)}): what follows is not read; {self.mend}")


def _definition(definition) -> Definition:
    is_text = definition.format == MessageDefinitionFormat.MSG
    return Definition("ros1msg", definition.data) if is_text else Definition()
