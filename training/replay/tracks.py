"""Odometry of a bag."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from campus_visual_gps.ros.odometry_message import from_message
from campus_visual_gps.ros.stamps import NS_PER_S, stamp_to_ns
from training.fit.image_sequences import Pose
from training.replay.bags import Bag
from training.replay.interpolation import interpolate
from training.replay.planar_filter import Measurements
from training.replay.stamps import stamp_rule

# Of a twist's six numbers: forward, left and turn.
_PLANAR = [0, 1, 5]
# A robot whose positions stay within this does not move.
STANDING_M = 1.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Track:
    """Positions over time: stamps (N,) nanoseconds, ascending; (N, 2) metres, in the odometry's own frame.

    `velocities` are those of its messages; None where they were not read, or have none. `poses` are what a tracker
    takes of the messages, with seconds as stamps.
    """

    stamps_ns: np.ndarray
    positions_m: np.ndarray
    velocities: Measurements | None = None
    poses: tuple[Pose, ...] = ()

    def interpolate(self, stamps_ns: np.ndarray) -> np.ndarray:
        """(K, 2) metres at the stamps, linear in time; NaN outside the track and across gaps (`interpolate`)."""
        return interpolate(self.stamps_ns, self.positions_m, stamps_ns)


def read_odometry(bag: Bag, topic: str) -> Track:
    """Positions and velocities of a nav_msgs/Odometry topic."""
    received = []
    for message, content in bag.contents(topic):
        position, twist = content.pose.pose.position, content.twist.twist
        measured = (position.x, position.y, twist.linear.x, twist.linear.y, twist.angular.z)
        covariance = np.array(content.twist.covariance, dtype=np.float64).reshape(6, 6)[np.ix_(_PLANAR, _PLANAR)]
        own = (np.array(measured), covariance, Pose(*from_message(content)))
        received.append((stamp_to_ns(content.header.stamp), message.time_ns, *own))
    times = np.array([row[:2] for row in received], dtype=np.int64).reshape(-1, 2)
    rule = stamp_rule(*times.T)
    if rule.unstamped:
        log.warning("%s: %s: %s", bag.path, topic, rule.text())
    rows = [
        (time_ns, log_ns, measured, covariance, pose._replace(stamp_s=time_ns / NS_PER_S))
        for stamp, log_ns, measured, covariance, pose in received
        if (time_ns := rule.time_ns(stamp, log_ns)) is not None and np.isfinite(measured[:2]).all()
    ]
    rows.sort(key=lambda row: row[:2])
    stamps, arrivals = (np.array([row[column] for row in rows], dtype=np.int64) for column in (0, 1))
    states = np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 5)
    covariances = np.array([row[3] for row in rows], dtype=np.float64).reshape(-1, 3, 3)
    known = np.isfinite(states).all(axis=1) & np.isfinite(covariances).all(axis=(1, 2))
    velocities = None
    # a driver that sets no velocities leaves zeros while its positions move on
    moves = bool(len(states)) and np.ptp(states[:, :2], axis=0).max() > STANDING_M
    if known.any() and (states[known, 2:].any() or not moves):
        velocities = Measurements(stamps[known], arrivals[known], states[known, 2:], covariances[known])
    return Track(stamps, states[:, :2], velocities, tuple(row[4] for row in rows))
