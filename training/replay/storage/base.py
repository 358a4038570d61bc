"""What every kind of storage file gives: its channels, its messages, and what of it cannot be read."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import parse_qos

from campus_visual_gps.errors import DatasetError

log = logging.getLogger(__name__)

CDR, ROS1 = "cdr", "ros1"


class BagMessage(NamedTuple):
    """One recorded message: topic, type, receive time in nanoseconds, serialised CDR (of a storage file also ROS 1)."""

    topic: str
    type_name: str
    time_ns: int
    data: bytes


@dataclass(frozen=True)
class Definition:
    """The text of a message definition and its language, ros2msg, ros1msg or ros2idl; both empty for none."""

    encoding: str = ""
    text: str = ""


@dataclass(frozen=True)
class Channel:
    """A topic of a storage file. Messages in the encodings CDR and ROS1 can be read."""

    topic: str
    type_name: str
    encoding: str = CDR
    definition: Definition = Definition()
    qos: list[Qos] = field(default_factory=list)


@dataclass
class Notes:
    """What of a bag could not be read as it was meant: one line each, logged once when it is found."""

    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        if line not in self.lines:
            self.lines.append(line)
            log.warning("%s", line)


class StorageFile(Protocol):
    """An open storage file.

    `channels` are its topics; `counts` maps topics to the messages that the file itself says it holds, for those of
    which it says so; `mend` is the command that repairs such a file.
    """

    channels: list[Channel]
    counts: dict[str, int]
    mend: str

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """Every message on the topics that can be read, in the order of receive times."""

    def close(self) -> None:
        """Release the file."""


class UnreadableFileError(DatasetError):
    """A storage file of which nothing can be read."""


def one_line(error: BaseException) -> str:
    """The error's text on one line, or its class where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def normalized_type(name: str) -> str:
    """ "package/msg/Name" of a type's name as recorders write it: pkg/Name, pkg::msg::dds_::Name_, pkg.msg.Name."""
    parts = [part for part in re.split(r"/|::|\.", name) if part not in ("", "dds_")]
    if len(parts) == 2:
        parts.insert(1, "msg")
    if "::" in name and parts:
        parts[-1] = parts[-1].removesuffix("_")
    return "/".join(parts)


def read_qos(recorded: Any) -> list[Qos]:
    """Offered QoS profiles as a recorder wrote them (YAML text or a list); empty where they cannot be read."""
    try:
        return parse_qos(recorded or [])
    except Exception:  # profiles of later distributions have other fields: messages can be read without them
        return []


def shown(path: Path) -> str:
    """A path for a command that the user can copy."""
    text = str(path)
    return f"'{text}'" if re.search(r"[^\w./+-]", text) else text
