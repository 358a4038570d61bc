"""A drive of the robot as a rosbag2 directory (MCAP), written without ROS."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.typesys import get_typestore

from training.replay.bags import TYPES, BagMessage, write_bag
from training.synthetic.drive import (
    ODOMETRY_HZ,
    TRUTH_HZ,
    DriveDay,
    Motion,
    RobotCamera,
    camera_views,
    gps_fixes,
    odometry,
    ticks,
)
from training.synthetic.site import GROUND_ALTITUDE_M, SITE_FRAME

JPEG_QUALITY = 68  # about 11 kB an image
GPS_FRAME, BASE_FRAME, ODOM_FRAME, MAP_FRAME = "gps_link", "base_link", "odom", "map"
NO_COVARIANCE, DIAGONAL_KNOWN = 0, 2
VERTICAL_SIGMA_M, TRUTH_SIGMA_M = 3.0, 0.05
# From the event to the recorder: exposure and coding of a picture, a receiver's own filter, the wheel controller.
LATENCY_S = {"camera": 0.045, "gps": 0.08, "odometry": 0.004, "truth": 0.002}
STORE = get_typestore(TYPES)


@dataclass(frozen=True)
class Recorded:
    """One message: when it was recorded (seconds of the drive), where, and what."""

    time_s: float
    topic: str
    message: Any


Pictures = Mapping[RobotCamera, Sequence[np.ndarray]]


def write_drive(path: Path, day: DriveDay, pictures: Pictures, motion: Motion, every: int = 1) -> int:
    """Write the bag anew; returns the number of messages.

    Args:
        path: Directory of the bag.
        day: The drive.
        pictures: Of each camera, (H, W, 3) uint8 RGB, one for each of its `camera_views`.
        motion: The true motion.
        every: As of `camera_views`.
    """
    if path.exists():
        shutil.rmtree(path)
    groups = (
        _static_transforms(day, pictures),
        *(_camera(day, camera, own, motion, every) for camera, own in pictures.items()),
        _gps(day, motion),
        _odometry(day, motion),
        _truth(day, motion),
    )
    messages = sorted((message for group in groups for message in group), key=lambda message: message.time_s)
    origin = {"origin": "rendered and simulated by training.synthetic of campus_visual_gps"}
    serialised = (_serialised(day, recorded) for recorded in messages)
    return write_bag(path, serialised, {"/tf_static": [_LATCHED]}, compressed=True, custom_data=origin)


def _serialised(day: DriveDay, recorded: Recorded) -> BagMessage:
    type_name = recorded.message.__msgtype__
    data = bytes(STORE.serialize_cdr(recorded.message, type_name))
    return BagMessage(recorded.topic, type_name, _nanoseconds(day, recorded.time_s), data)


_NO_LIMIT = QosTime(9223372036, 854775807)
_LATCHED = Qos(
    QosHistory.KEEP_LAST,
    1,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    _NO_LIMIT,
    _NO_LIMIT,
    QosLiveliness.AUTOMATIC,
    _NO_LIMIT,
    False,
)


def _camera(
    day: DriveDay, camera: RobotCamera, pictures: Sequence[np.ndarray], motion: Motion, every: int
) -> Iterator[Recorded]:
    times_s, _ = camera_views(day, motion, camera, every)
    for time_s, picture in zip(times_s, pictures, strict=True):
        _, jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        header = _header(day, time_s, camera.frame_id)
        message = _make("sensor_msgs/msg/CompressedImage", header, "jpeg", jpeg.ravel())
        yield Recorded(time_s + LATENCY_S["camera"], camera.topic, message)


def _gps(day: DriveDay, motion: Motion) -> Iterator[Recorded]:
    fixes = gps_fixes(day, motion)
    for time_s, status, position, sigma_m in zip(
        fixes.times_s, fixes.status, fixes.measured_m, fixes.sigma_m, strict=True
    ):
        message = _fix(day, time_s, GPS_FRAME, position, sigma_m, VERTICAL_SIGMA_M, int(status))
        yield Recorded(time_s + LATENCY_S["gps"], "/gps/fix", message)


def _truth(day: DriveDay, motion: Motion) -> Iterator[Recorded]:
    at = motion.at(ticks(motion, TRUTH_HZ))
    for time_s, position, yaw in zip(at.times_s, at.positions_m, at.yaw_rad, strict=True):
        fix = _fix(day, time_s, BASE_FRAME, position, TRUTH_SIGMA_M, TRUTH_SIGMA_M, 0)
        yield Recorded(time_s + LATENCY_S["truth"], "/ground_truth/fix", fix)
        pose = _make("geometry_msgs/msg/PoseStamped", _header(day, time_s, MAP_FRAME), _pose(position, yaw))
        yield Recorded(time_s + LATENCY_S["truth"], "/ground_truth/pose", pose)


def _odometry(day: DriveDay, motion: Motion) -> Iterator[Recorded]:
    measured, rates = odometry(day, motion)
    for index, time_s in enumerate(measured.times_s):
        pose = _pose(measured.positions_m[index], measured.yaw_rad[index])
        travelled_m = float(np.sum(measured.speed_m_s[:index])) / ODOMETRY_HZ
        drift = (0.02 * travelled_m + 0.02) ** 2, (0.02 + 0.0008 * time_s) ** 2
        twist = _make(
            "geometry_msgs/msg/Twist",
            _vector(float(measured.speed_m_s[index]), 0.0, 0.0),
            _vector(0.0, 0.0, float(rates[index])),
        )
        message = _make(
            "nav_msgs/msg/Odometry",
            _header(day, time_s, ODOM_FRAME),
            BASE_FRAME,
            _make("geometry_msgs/msg/PoseWithCovariance", pose, _diagonal(drift[0], drift[0], drift[1])),
            _make("geometry_msgs/msg/TwistWithCovariance", twist, _diagonal(0.04**2, 0.02**2, 0.012**2)),
        )
        yield Recorded(time_s + LATENCY_S["odometry"], "/odom", message)


def _static_transforms(day: DriveDay, cameras: Iterable[RobotCamera]) -> Iterator[Recorded]:
    """Where the cameras and the antenna sit on the robot."""
    level = _make("geometry_msgs/msg/Quaternion", 0.0, 0.0, 0.0, 1.0)
    mounts = [(camera.frame_id, camera.in_base_m, _optical(camera.yaw_rad)) for camera in cameras]
    mounts.append((GPS_FRAME, (0.0, 0.0, 1.3), level))
    transforms = [
        _make(
            "geometry_msgs/msg/TransformStamped",
            _header(day, 0.0, BASE_FRAME),
            child,
            _make("geometry_msgs/msg/Transform", _vector(*position_m), turn),
        )
        for child, position_m, turn in mounts
    ]
    yield Recorded(0.0, "/tf_static", _make("tf2_msgs/msg/TFMessage", transforms))


def _optical(yaw_rad: float):
    """Rotation of an optical frame, which looks along z with x to the right, of a camera that is turned by a yaw."""
    sine, cosine = np.sin(yaw_rad / 2.0) / 2.0, np.cos(yaw_rad / 2.0) / 2.0
    values = (-cosine - sine, cosine - sine, sine - cosine, cosine + sine)
    return _make("geometry_msgs/msg/Quaternion", *(float(value) for value in values))


def _fix(day: DriveDay, time_s: float, frame_id: str, position_m, sigma_m: float, vertical_sigma_m: float, status: int):
    """NavSatFix; without a fix (status -1) the position is NaN and the covariance unknown."""
    has_fix = status >= 0
    latitude, longitude = SITE_FRAME.to_geodetic(position_m) if has_fix else (np.nan, np.nan)
    variances = (sigma_m**2, sigma_m**2, vertical_sigma_m**2) if has_fix else (0.0, 0.0, 0.0)
    return _make(
        "sensor_msgs/msg/NavSatFix",
        _header(day, time_s, frame_id),
        _make("sensor_msgs/msg/NavSatStatus", status, 1),
        float(latitude),
        float(longitude),
        GROUND_ALTITUDE_M if has_fix else float("nan"),
        np.diag(variances).ravel(),
        DIAGONAL_KNOWN if has_fix else NO_COVARIANCE,
    )


def _make(name: str, *values):
    return STORE.types[name](*values)


def _header(day: DriveDay, time_s: float, frame_id: str):
    seconds, nanoseconds = divmod(_nanoseconds(day, time_s), 10**9)
    return _make("std_msgs/msg/Header", _make("builtin_interfaces/msg/Time", seconds, nanoseconds), frame_id)


def _nanoseconds(day: DriveDay, time_s: float) -> int:
    """Of the epoch."""
    return int(day.start.timestamp()) * 10**9 + round(time_s * 1e9)


def _vector(x: float, y: float, z: float):
    return _make("geometry_msgs/msg/Vector3", float(x), float(y), float(z))


def _pose(position_m, yaw: float):
    point = _make("geometry_msgs/msg/Point", float(position_m[0]), float(position_m[1]), 0.0)
    turn = _make("geometry_msgs/msg/Quaternion", 0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2)))
    return _make("geometry_msgs/msg/Pose", point, turn)


def _diagonal(x: float, y: float, yaw: float) -> np.ndarray:
    """(36,) covariance of a robot on the ground: its height, roll and pitch are known to be constant."""
    return np.diag([x, y, 1e-6, 1e-6, 1e-6, yaw]).ravel().astype(np.float64)
