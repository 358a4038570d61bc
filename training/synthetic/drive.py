"""Drives of the robot through all five areas: true motion and sensor measurements."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from training.synthetic.camera import ROBOT
from training.synthetic.light import Light, sunlight
from training.synthetic.noise import WheelErrors, dead_reckoning, gauss_markov
from training.synthetic.paths import ROUTES, heading_deg, smooth_path
from training.synthetic.render import View
from training.synthetic.site import ROOF_M

CRUISE_M_S, ACCELERATION_M_S2, STANDING_S = 1.5, 0.5, 2.0
GPS_HZ, ODOMETRY_HZ, TRUTH_HZ = 2.0, 20.0, 10.0

OPEN_SIGMA_M, WORST_SIGMA_M = 1.2, 9.0
GPS_CORRELATION_S = 15.0
# Under the roof the receiver gives fixes of decreasing accuracy, then messages without a fix, then no messages; in the
# open again it has a fix after a while, and full accuracy later.
DEGRADED_S = 7.0
NO_FIX_S = 12.0
REACQUIRE_S = 3.0
RECOVERY_S = 6.0


@dataclass(frozen=True)
class DriveDay:
    """One drive along the route; `name` is the folder of the bag, `seed` determines its noise and parked cars."""

    name: str
    start: datetime
    light: Light
    camera_hz: float
    seed: int


_AFTERNOON = datetime.fromisoformat("2025-04-08T15:00:00+02:00")
_MORNING = datetime.fromisoformat("2025-04-05T09:30:00+02:00")
DRIVE = DriveDay("drive", _AFTERNOON, sunlight(_AFTERNOON, turbidity=3.0), 2.0, 408)
# For the calibration of the covariance, so that `drive` stays unseen; a low rate keeps it small.
SURVEY = DriveDay("survey", _MORNING, Light("overcast"), 1.0, 405)
DRIVES = (DRIVE, SURVEY)


@dataclass(frozen=True)
class RobotCamera:
    """A camera on the robot.

    Attributes:
        topic: Of its compressed images.
        frame_id: Its optical frame.
        in_base_m: Forward, left and up of `base_link`.
        yaw_rad: From the robot's forward axis, counter-clockwise.
        seed_offset: Added to the seed of a drive, so that no two cameras share their vibration and noise.
    """

    topic: str
    frame_id: str
    in_base_m: tuple[float, float, float]
    yaw_rad: float
    seed_offset: int


FRONT = RobotCamera("/camera/image_raw/compressed", "camera_optical_frame", (0.15, 0.0, 1.2), 0.0, 0)
# What a robot's second camera may be: the key is its name at the command line.
SECOND_CAMERAS = {
    "rear": RobotCamera(
        "/camera_rear/image_raw/compressed", "camera_rear_optical_frame", (-0.15, 0.0, 1.2), float(np.pi), 3
    ),
    "left": RobotCamera(
        "/camera_left/image_raw/compressed", "camera_left_optical_frame", (0.0, 0.15, 1.2), float(np.pi) / 2, 4
    ),
}
# A bag of two cameras takes every sixth image of each, so that the sample stays small.
TWO_CAMERAS_EVERY = 6


@dataclass(frozen=True)
class Motion:
    """True motion, sampled at times_s (N,). positions_m: (N, 2); yaw_rad: (N,) from east, unwrapped."""

    times_s: np.ndarray
    positions_m: np.ndarray
    yaw_rad: np.ndarray
    speed_m_s: np.ndarray

    @property
    def duration_s(self) -> float:
        """From the first to the last sample."""
        return float(self.times_s[-1])

    def at(self, times_s: np.ndarray) -> Motion:
        """The motion interpolated at other times (M,)."""
        columns = (self.positions_m[:, 0], self.positions_m[:, 1], self.yaw_rad, self.speed_m_s)
        east, north, yaw, speed = (np.interp(times_s, self.times_s, column) for column in columns)
        return Motion(times_s, np.stack([east, north], axis=1), yaw, speed)


@dataclass(frozen=True)
class GpsFixes:
    """N messages. status: 0 with a fix, -1 without; measured_m (N, 2) and sigma_m (N,) are NaN without a fix."""

    times_s: np.ndarray
    status: np.ndarray
    measured_m: np.ndarray
    sigma_m: np.ndarray


def drive_motion(rate_hz: float = 100.0) -> Motion:
    """Stand, accelerate, cruise along the route, brake, stand."""
    path = smooth_path(ROUTES["drive"])
    ramp_s = CRUISE_M_S / ACCELERATION_M_S2
    cruise_s = (path.length_m - CRUISE_M_S * ramp_s) / CRUISE_M_S
    corners = STANDING_S + np.array([0.0, ramp_s, ramp_s + cruise_s, 2 * ramp_s + cruise_s])
    times_s = np.arange(0.0, corners[-1] + STANDING_S, 1.0 / rate_hz)
    speed = np.interp(times_s, corners, [0.0, CRUISE_M_S, CRUISE_M_S, 0.0])
    arc = np.cumsum(speed) / rate_hz
    positions, yaw = path.at(np.minimum(arc, path.length_m))
    return Motion(times_s, positions, yaw, speed)


def ticks(motion: Motion, rate_hz: float, offset_s: float = 0.0) -> np.ndarray:
    """Sample times of a sensor during the drive."""
    return np.arange(offset_s, motion.duration_s, 1.0 / rate_hz)


def camera_views(
    day: DriveDay, motion: Motion, camera: RobotCamera = FRONT, every: int = 1
) -> tuple[np.ndarray, list[View]]:
    """Times (N,) and views of a camera of the robot: all, or every second, third, ... of them."""
    rng = np.random.default_rng(day.seed + camera.seed_offset)
    at = motion.at(ticks(motion, day.camera_hz, 0.1))
    views = [_robot_view(p, yaw, camera, rng) for p, yaw in zip(at.positions_m, at.yaw_rad, strict=True)]
    return at.times_s[::every], views[::every]


def _robot_view(position, yaw: float, camera: RobotCamera, rng: np.random.Generator) -> View:
    forward, left, up = camera.in_base_m
    ahead, aside = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
    east, north = position + forward * ahead + left * aside
    return View(
        position_m=(float(east), float(north), up),
        heading_deg=float(heading_deg(yaw + camera.yaw_rad)),
        pitch_deg=float(rng.normal(2.0, 0.4)),  # vibration
        roll_deg=float(rng.normal(0.0, 0.4)),
        width_px=320,
        height_px=240,
        focal_px=ROBOT.focal_share * 320,
        seed=int(rng.integers(2**31)),
    )


def gps_fixes(day: DriveDay, motion: Motion) -> GpsFixes:
    """Messages of the receiver: accurate under the open sky, with an outage under the roof."""
    rng = np.random.default_rng(day.seed + 1)
    at = motion.at(ticks(motion, GPS_HZ, 0.05))
    entered_s, left_s = roof_interval_s(motion)
    sigma = _gps_sigma_m(at.times_s, entered_s, left_s)
    error = gauss_markov(at.times_s, GPS_CORRELATION_S, rng) * sigma[:, None] * 0.9
    error += rng.normal(0.0, 1.0, error.shape) * sigma[:, None] * np.sqrt(1.0 - 0.9**2)
    lost_s = entered_s + DEGRADED_S
    no_fix = (at.times_s >= lost_s) & (at.times_s < left_s + REACQUIRE_S)
    silent = no_fix & (at.times_s >= lost_s + NO_FIX_S)
    measured = np.where(no_fix[:, None], np.nan, at.positions_m + error)
    claimed = np.where(no_fix, np.nan, sigma)
    heard = ~silent
    return GpsFixes(at.times_s[heard], np.where(no_fix, -1, 0)[heard], measured[heard], claimed[heard])


def _gps_sigma_m(times_s, entered_s: float, left_s: float) -> np.ndarray:
    """Sigma per axis, which the messages report: grows under the roof and shrinks in the open."""
    back_s = left_s + REACQUIRE_S
    corners = (entered_s, entered_s + DEGRADED_S, back_s, back_s + RECOVERY_S)
    return np.interp(times_s, corners, (OPEN_SIGMA_M, WORST_SIGMA_M, WORST_SIGMA_M / 2, OPEN_SIGMA_M))


def roof_interval_s(motion: Motion) -> tuple[float, float]:
    """When the robot enters and leaves the walkway's roof."""
    west, south, east, north = ROOF_M
    x, y = motion.positions_m.T
    below = motion.times_s[(x >= west) & (x <= east) & (y >= south) & (y <= north)]
    return float(below[0]), float(below[-1])


def outage_interval_s(day: DriveDay, motion: Motion) -> tuple[float, float]:
    """Times of the last fix before the outage and of the first after it."""
    fixes = gps_fixes(day, motion)
    good = fixes.times_s[fixes.status == 0]
    gap = int(np.argmax(np.diff(good)))
    return float(good[gap]), float(good[gap + 1])


def odometry(day: DriveDay, motion: Motion) -> tuple[Motion, np.ndarray]:
    """Wheel odometry with drift: positions from the start and yaw from east; and the yaw rate (N,)."""
    at = motion.at(ticks(motion, ODOMETRY_HZ))
    rng = np.random.default_rng(day.seed + 2)
    positions, yaw, speed, rate = dead_reckoning(at.times_s, at.speed_m_s, at.yaw_rad, WheelErrors(), rng)
    return Motion(at.times_s, positions, yaw, speed), rate
