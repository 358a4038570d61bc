"""Bags of ROS 1, read through rosbags and handed out as messages of ROS 2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag1 import Reader
from rosbags.typesys.store import Typestore

from training.replay.storage.base import (
    BagMessage,
    Channel,
    Definition,
    Notes,
    UnreadableFileError,
    one_line,
    shown,
)
from training.replay.storage.definitions import default_store, store_of

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
            Channel(item.topic, item.msgtype, definition=_definition(item.msgdef)) for item in self._reader.connections
        ]
        self._stores: dict[str, Typestore | None] = {}
        counts: Counter[str] = Counter()
        for connection in self._reader.connections:
            counts[connection.topic] += connection.msgcount
        self.counts = dict(counts)

    def close(self) -> None:
        self._reader.close()

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """In the order of receive times; messages that cannot be converted are left out and noted."""
        wanted = [item for item in self._reader.connections if item.topic in topics]
        failed: Counter[str] = Counter()
        if not wanted:
            return
        try:
            for connection, time_ns, data in self._reader.messages(wanted):
                cdr = self._cdr(connection.msgtype, connection.msgdef, data)
                if cdr is None:
                    failed[connection.topic] += 1
                else:
                    yield BagMessage(connection.topic, connection.msgtype, time_ns, cdr)
        except Exception as error:  # as at opening
            self._notes.add(f"{self._path}: damaged ({one_line(error)}): what follows is not read; {self.mend}")
        for topic, number in failed.items():
            self._notes.add(f"{self._path}: {number} messages on {topic} cannot be converted to ROS 2; {self.mend}")

    def _cdr(self, type_name: str, definition, data: bytes) -> bytes | None:
        if type_name not in self._stores:
            known = type_name in default_store().fielddefs
            self._stores[type_name] = default_store() if known else store_of(type_name, _definition(definition))
        store = self._stores[type_name]
        try:
            return None if store is None else bytes(store.ros1_to_cdr(data, type_name))
        except Exception:  # the generated converters let everything through
            return None


def _definition(definition) -> Definition:
    is_text = definition.format == MessageDefinitionFormat.MSG
    return Definition("ros2msg", definition.data) if is_text else Definition()
