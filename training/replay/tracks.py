"""Odometry of a bag, and when the bag received its messages."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from campus_visual_gps.ros.stamps import stamp_to_ns
from training.replay.bags import Bag, BagMessage
from training.replay.interpolation import interpolate


@dataclass(frozen=True)
class Track:
    """Positions over time: stamps (N,) nanoseconds, ascending; (N, 2) metres, in the odometry's own frame."""

    stamps_ns: np.ndarray
    positions_m: np.ndarray

    def interpolate(self, stamps_ns: np.ndarray) -> np.ndarray:
        """(K, 2) metres at the stamps, linear in time; NaN outside the track and across gaps (`interpolate`)."""
        return interpolate(self.stamps_ns, self.positions_m, stamps_ns)


def read_odometry(bag: Bag, topic: str) -> Track:
    """Positions of a nav_msgs/Odometry topic, in its own frame."""
    rows = []
    for message in bag.messages([topic]):
        content = bag.decode(message)
        position = content.pose.pose.position
        rows.append((stamp_to_ns(content.header.stamp), position.x, position.y))
    rows.sort()
    stamps = np.array([row[0] for row in rows], dtype=np.int64)
    return Track(stamps, np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, 2))


@dataclass
class _Stamp:
    sec: int
    nanosec: int


def header_stamp_ns(message: BagMessage) -> int:
    """The stamp of a message that begins with a std_msgs/Header, read from the CDR: after 4 bytes, sec and nanosec."""
    order = "<" if message.data[1] & 1 else ">"
    return stamp_to_ns(_Stamp(*struct.unpack_from(f"{order}iI", message.data, 4)))


def delays_s(bag: Bag, topic: str) -> dict[int, float]:
    """Stamp -> seconds from the stamp to the time at which the bag received the message."""
    stamps = ((header_stamp_ns(message), message.time_ns) for message in bag.messages([topic]))
    return {stamp: (time_ns - stamp) / 1e9 for stamp, time_ns in stamps}
