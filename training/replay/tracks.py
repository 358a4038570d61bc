"""Odometry of a bag."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from campus_visual_gps.ros.stamps import stamp_to_ns
from training.replay.bags import Bag
from training.replay.interpolation import interpolate
from training.replay.stamps import stamp_rule

log = logging.getLogger(__name__)


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
    received = []
    for message, content in bag.contents(topic):
        position = content.pose.pose.position
        received.append((stamp_to_ns(content.header.stamp), message.time_ns, position.x, position.y))
    times = np.array([row[:2] for row in received], dtype=np.int64).reshape(-1, 2)
    rule = stamp_rule(*times.T)
    if rule.unstamped:
        log.warning("%s: %s: %s", bag.path, topic, rule.text())
    rows = sorted(
        (time_ns, x, y)
        for stamp, log_ns, x, y in received
        if (time_ns := rule.time_ns(stamp, log_ns)) is not None and np.isfinite([x, y]).all()
    )
    stamps = np.array([row[0] for row in rows], dtype=np.int64)
    return Track(stamps, np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, 2))
