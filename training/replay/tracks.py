"""Odometry of a bag, stamps without decoding, and the choice of topics that the command line left open."""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass

import numpy as np

from campus_visual_gps.errors import DatasetError
from training.replay.bags import NAVSATFIX, Bag, BagMessage, stamp_ns

ODOMETRY = "nav_msgs/msg/Odometry"
MAX_GAP_S = 2.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Track:
    """Positions over time: stamps (N,) nanoseconds, ascending; (N, 2) metres in whatever frame they are."""

    stamps_ns: np.ndarray
    positions_m: np.ndarray


def interpolated(track: Track, stamps_ns: np.ndarray) -> np.ndarray:
    """(K, 2) metres at the stamps, linear in time; NaN outside the track and across gaps over MAX_GAP_S."""
    stamps = np.asarray(stamps_ns, dtype=np.int64)
    if len(track.stamps_ns) == 0 or len(stamps) == 0:
        return np.full((len(stamps), 2), np.nan)
    # seconds from the first stamp: float64 cannot hold nanoseconds since 1970
    known_s = (track.stamps_ns - track.stamps_ns[0]) / 1e9
    wanted_s = (stamps - track.stamps_ns[0]) / 1e9
    after = np.clip(np.searchsorted(known_s, wanted_s), 0, len(known_s) - 1)
    before = np.clip(np.searchsorted(known_s, wanted_s, side="right") - 1, 0, len(known_s) - 1)
    bad = (wanted_s < known_s[0]) | (wanted_s > known_s[-1]) | (known_s[after] - known_s[before] > MAX_GAP_S)
    columns = [np.interp(wanted_s, known_s, column) for column in track.positions_m.T]
    return np.where(bad[:, None], np.nan, np.stack(columns, axis=1))


def read_odometry(bag: Bag, topic: str) -> Track:
    """Positions of a nav_msgs/Odometry topic, in its own frame."""
    rows = []
    for message in bag.messages([topic]):
        content = bag.decode(message)
        position = content.pose.pose.position
        rows.append((stamp_ns(content.header), position.x, position.y))
    rows.sort()
    stamps = np.array([row[0] for row in rows], dtype=np.int64)
    return Track(stamps, np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, 2))


def receiver_topic(bag: Bag, wanted: str | None, taken: set[str]) -> str | None:
    """The wanted NavSatFix topic; else one that is named gps/fix, or the only one that is not taken. May be None.

    Raises DatasetError for a wanted topic that is not there.
    """
    topics = sorted(topic for topic, kind in bag.topics().items() if kind == NAVSATFIX)
    return _chosen(bag, wanted, topics, taken | _visual(topics), "gps/fix", "--gps")


def odometry_topic(bag: Bag, wanted: str | None) -> str | None:
    """The wanted Odometry topic; else one that is named odom, or the only one. None where that is undecided."""
    topics = sorted(topic for topic, kind in bag.topics().items() if kind == ODOMETRY)
    return _chosen(bag, wanted, topics, {topic for topic in topics if "truth" in topic}, "odom", "--odometry")


def _visual(topics: list[str]) -> set[str]:
    """Fixes that are no receiver's: the localizer's, the filter's, a truth."""
    return {topic for topic in topics if topic.endswith(("visual_gps/fix", "gps/filtered")) or "truth" in topic}


def _chosen(bag: Bag, wanted: str | None, topics: list[str], taken: set[str], name: str, option: str) -> str | None:
    if wanted is not None:
        if wanted not in topics:
            raise DatasetError(f"bag {bag.path}: {option} {wanted} is none of: {', '.join(topics) or 'none'}")
        return wanted
    free = [topic for topic in topics if topic not in taken]
    named = [topic for topic in free if topic.endswith(f"/{name}") or topic == name]
    if len(named) == 1 or len(free) == 1:
        return (named if len(named) == 1 else free)[0]
    if free:
        log.warning("%s: which of %s? name it with %s", bag.path, ", ".join(free), option)
    return None


def header_stamp_ns(message: BagMessage) -> int:
    """The stamp of a message that begins with a std_msgs/Header, read from the CDR: after 4 bytes, sec and nanosec."""
    order = "<" if message.data[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", message.data, 4)
    return seconds * 1_000_000_000 + nanoseconds


def delays_s(bag: Bag, topic: str) -> dict[int, float]:
    """Stamp -> seconds from the stamp to the time at which the bag received the message."""
    stamps = ((header_stamp_ns(message), message.time_ns) for message in bag.messages([topic]))
    return {stamp: (time_ns - stamp) / 1e9 for stamp, time_ns in stamps}
