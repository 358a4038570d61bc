"""What tracking takes of a nav_msgs/Odometry; without ROS, so that recorded drives are read alike."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from campus_visual_gps.ros.stamps import NS_PER_S, stamp_to_ns
from campus_visual_gps.ros.transform_tree import tf_name

# A quaternion whose length is farther from 1 is none, as in tf2.
_TOLERANCE = 1e-2


class OdometryMessage(NamedTuple):
    """A nav_msgs/Odometry as `TrackingSession.odometry` takes it."""

    stamp_s: float
    position_odom_m: np.ndarray
    yaw_odom_rad: float | None
    cov_odom_m2: np.ndarray | None
    frame: str


def from_message(message: Any) -> OdometryMessage:
    """What tracking takes of a message; what is no number is left to the TrackingSession, which counts it."""
    position, rotation = message.pose.pose.position, message.pose.pose.orientation
    numbers = (rotation.x, rotation.y, rotation.z, rotation.w)
    yaw = None
    if abs(math.hypot(*numbers) - 1.0) <= _TOLERANCE:
        x, y, z, w = numbers
        yaw = math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    return OdometryMessage(
        stamp_to_ns(message.header.stamp) / NS_PER_S,
        np.array([position.x, position.y]),
        yaw,
        _covariance(message.pose.covariance),
        tf_name(message.header.frame_id),
    )


def _covariance(covariance: np.ndarray) -> np.ndarray | None:
    """(2, 2) east and north of a pose's covariance; None where it is none: zeros stand for unknown."""
    own = np.asarray(covariance, dtype=np.float64).reshape(6, 6)[:2, :2]
    if not np.all(np.isfinite(own)) or not np.allclose(own, own.T) or np.linalg.eigvalsh(own)[0] <= 0.0:
        return None
    return own
