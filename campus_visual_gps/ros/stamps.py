"""Stamps of messages as integer nanoseconds. Without ROS: the messages of rclpy and of rosbags have the same fields."""

from __future__ import annotations

from typing import Protocol

NS_PER_S = 1_000_000_000


class Stamp(Protocol):
    """builtin_interfaces/Time: seconds and nanoseconds since the epoch."""

    sec: int
    nanosec: int


def stamp_to_ns(stamp: Stamp) -> int:
    """Nanoseconds since the epoch of a builtin_interfaces/Time."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)
