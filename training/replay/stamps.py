"""The times at which messages were measured: their stamps, or the time of their log where they have none."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from campus_visual_gps.ros.stamps import NS_PER_S
from training.replay.bags import Bag, BagMessage

# Stamps and log times that differ by more are of two clocks, such as the simulation's and the computer's.
MAX_CLOCK_OFFSET_S = 60.0


@dataclass(frozen=True)
class StampRule:
    """What stands for a stamp of 0, which is how drivers leave it when they never set it.

    `unstamped` is the number of such messages. They get the time of their log; where other messages of the topic carry
    stamps of another clock, they have no time.
    """

    unstamped: int = 0
    same_clock: bool = True

    def time_ns(self, stamp_ns: int, log_ns: int) -> int | None:
        """The message's time, None where it has none."""
        if stamp_ns > 0:
            return stamp_ns
        return log_ns if self.same_clock and log_ns > 0 else None

    def text(self) -> str:
        """For the log and the report; empty where all messages have stamps."""
        if not self.unstamped:
            return ""
        if self.same_clock:
            return f"{self.unstamped} without a stamp, taken at the time of their log"
        return f"{self.unstamped} without a stamp, left out: the other stamps are of another clock than the log"


def stamp_rule(stamps_ns: np.ndarray, logs_ns: np.ndarray) -> StampRule:
    """The rule for a topic with these stamps and log times, each (N,)."""
    stamped = stamps_ns > 0
    if not stamped.any():
        return StampRule(int((~stamped).sum()))
    offset_s = float(np.median((logs_ns[stamped] - stamps_ns[stamped]) / NS_PER_S))
    return StampRule(int((~stamped).sum()), abs(offset_s) <= MAX_CLOCK_OFFSET_S)


def header_stamp_ns(message: BagMessage) -> int:
    """The stamp of a message that begins with a std_msgs/Header, read from the CDR: after 4 bytes, sec and nanosec."""
    if len(message.data) < 12:
        return 0
    order = "<" if message.data[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", message.data, 4)
    return seconds * NS_PER_S + nanoseconds


@dataclass(frozen=True)
class TopicTimes:
    """Stamps and log times of a topic's messages, (N,) ns, in the order of receipt, and the rule for stamps of 0."""

    stamps_ns: np.ndarray
    logs_ns: np.ndarray
    rule: StampRule

    def times_ns(self) -> list[int | None]:
        """Of every message, None for those without any."""
        return [self.rule.time_ns(*pair) for pair in self._pairs()]

    def delays_s(self) -> dict[int, float]:
        """Time of a message -> seconds from it to the time at which the bag received the message."""
        times = zip(self.times_ns(), self.logs_ns.tolist(), strict=True)
        return {time: (log - time) / NS_PER_S for time, log in times if time is not None}

    def _pairs(self) -> Iterator[tuple[int, int]]:
        return zip(self.stamps_ns.tolist(), self.logs_ns.tolist(), strict=True)


def read_times(bag: Bag, topic: str) -> TopicTimes:
    """Of a topic whose messages begin with a header; the messages themselves are not decoded."""
    pairs = [(header_stamp_ns(message), message.time_ns) for message in bag.of_type([topic])]
    stamps, logs = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return TopicTimes(stamps, logs, stamp_rule(stamps, logs))
