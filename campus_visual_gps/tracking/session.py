"""TrackingSession: images and odometry in the order of their stamps, to one Tracker. The node and `replay` share it.

The order of operations, which makes the result a function of the messages and their stamps alone: an image first takes
all odometry up to its own stamp, then the belief is predicted to that stamp, then it is weighed with the image. Images
come in the order in which they were processed; one that is older than the belief counts at the time of the belief.
"""

from __future__ import annotations

import math

import numpy as np

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.estimation.correlated_errors import TIME_JUMP_S
from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.estimation.integrity import RejectionReason
from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.odometry_buffer import OdometryBuffer, OdometryFault, OdometrySample
from campus_visual_gps.tracking.tracker import TrackedPosition, Tracker

OFF, RANDOM_WALK, ODOMETRY = "off", "random_walk", "odometry"
MODES = (OFF, RANDOM_WALK, ODOMETRY)
# An image without odometry in so many seconds before it is tracked by the random walk.
ODOMETRY_TIMEOUT_S = 2.0
# With a higher probability of being lost there is no tracked position, and no image can contradict it.
MAX_LOST_PROBABILITY = 0.5
# The tracker gets a sample at least each time that the robot went so far, so that a loop is not a short way.
_SPACING_M = 2.0
# Estimates that these gates rejected have a posterior all the same: what it says is little, or wide, but not wrong. An
# image that is unlike the training photos, as on a first night, still says where: without these the mean error of a
# night that no photo of had trained was 19.8 m and not 14.9 m (docs/tracking.md).
_USABLE = (
    RejectionReason.OUT_OF_DISTRIBUTION,
    RejectionReason.OUTSIDE_SITE,
    RejectionReason.ENSEMBLE_SPREAD,
    RejectionReason.AMBIGUOUS,
    RejectionReason.SIGMA,
)


def is_measurement(rejection: RejectionReason | None) -> bool:
    """Whether the posterior of an estimate with this verdict of the gates says something about the position."""
    return rejection is None or rejection in _USABLE


def informative_share(match_score: np.ndarray | float, reference_match_score: float | None) -> np.ndarray:
    """Probability (...,) that an image shows where its posterior says, from its match score with the reference photos.

    In proportion to the score, as its sigma is inflated in inverse proportion (`variance_inflation`): an image that
    matches no reference photo near its position may have been taken elsewhere, however certain the network is. 1 where
    images were compared with no reference photo.
    """
    scores = np.asarray(match_score, dtype=np.float64)
    if reference_match_score is None:
        return np.ones_like(scores)
    return np.where(np.isfinite(scores), np.clip(scores / reference_match_score, 0.0, 1.0), 1.0)


def weighed_posterior(grid_probs: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """Posteriors (..., K) that hold with probability `share` (...,), and say nothing else: mixed with a uniform one."""
    share = np.asarray(share, dtype=np.float64)[..., None]
    return share * grid_probs + (1.0 - share) / grid_probs.shape[-1]


def is_lost(tracked: TrackedPosition) -> bool:
    """Whether the robot is more likely off the site, or elsewhere than the belief says, than where it says."""
    return tracked.lost_probability > MAX_LOST_PROBABILITY


class TrackingSession:
    """One belief from the first image on. One thread at a time may call it.

    Args:
        grid: Of the bundle, to which the posteriors belong.
        calibration: Of the tracker.
        mode: random_walk or odometry.
        reachable: (K,) bool, False for cells where nobody can be; None for all.

    Attributes:
        has_odometry: Whether the last image was tracked by odometry.
        image_count: Images since the last reset.

    Raises:
        ConfigError: the mode is unknown, or the mask does not fit.
    """

    def __init__(
        self,
        grid: LocationGrid,
        calibration: TrackingCalibration,
        mode: str,
        reachable: np.ndarray | None = None,
    ):
        if mode not in (RANDOM_WALK, ODOMETRY):
            raise ConfigError(f"tracking {mode!r} is none of {RANDOM_WALK}, {ODOMETRY}")
        self.mode = mode
        self.tracker = Tracker(grid, calibration, reachable)
        self._buffer = OdometryBuffer()
        self.reset()

    @property
    def odometry_faults(self) -> dict[str, int]:
        """How many samples of odometry had which fault."""
        return {fault.value: count for fault, count in self._buffer.faults.items()}

    @property
    def motion(self) -> str:
        """How the last image was reached: odometry or random_walk."""
        return ODOMETRY if self.has_odometry else RANDOM_WALK

    def reset(self) -> None:
        """Forget the position, the heading and the odometry."""
        self.tracker.reset()
        self._buffer.clear()
        self._last: OdometrySample | None = None
        self._offset_m = np.zeros(2)
        self._newest_s = -math.inf
        self.has_odometry = False
        self.image_count = 0

    def odometry(
        self,
        stamp_s: float,
        position_odom_m: np.ndarray,
        yaw_odom_rad: float | None = None,
        cov_odom_m2: np.ndarray | None = None,
        frame: str = "odom",
    ) -> OdometryFault | None:
        """A pose of the robot's odometry; what is wrong with it, or None. In the mode random_walk it has no effect.

        Args:
            stamp_s: Seconds.
            position_odom_m: (2,) metres in the odometry's frame.
            yaw_odom_rad: Yaw there, if known.
            cov_odom_m2: (2, 2) square metres, if known.
            frame: Name of that frame. In another one a new stretch begins.
        """
        if self.mode != ODOMETRY:
            return None
        position = np.asarray(position_odom_m, dtype=np.float64)
        return self._buffer.add(OdometrySample(stamp_s, position, yaw_odom_rad, cov_odom_m2, frame))

    def image(self, stamp_s: float, grid_probs: np.ndarray | None, camera: str = "") -> TrackedPosition:
        """The position at the time of an image, given this one and all before it.

        Args:
            stamp_s: Seconds. More than a second before the newest image is a clock that jumped: all is forgotten.
            grid_probs: (K,), the calibrated posterior; None for an image that says nothing (see `is_measurement`).
            camera: Tells several cameras apart.

        Raises:
            EstimateError: the posterior does not fit the grid, or is no distribution.
        """
        if stamp_s < self._newest_s - TIME_JUMP_S:
            self.reset()
        own_s = max(stamp_s, self._newest_s)
        self._take_odometry(own_s)
        tracker = self.tracker
        tracked = tracker.estimate(own_s) if grid_probs is None else tracker.update(own_s, grid_probs, camera)
        self._newest_s = own_s
        self.image_count += 1
        return tracked

    def _take_odometry(self, stamp_s: float) -> None:
        """Move the belief by the odometry up to an image's stamp; without any the tracker walks at random."""
        if self.mode != ODOMETRY:
            return
        samples = self._buffer.take(stamp_s)
        for sample in samples:
            last = self._last
            if last is None or sample.begins_stretch:
                self._begin_stretch(sample)
            elif sample is samples[-1] or np.hypot(*(sample.position_odom_m - last.position_odom_m)) >= _SPACING_M:
                self._move(sample)
        newest_s = self._last.stamp_s if self._last is not None else -math.inf
        self.has_odometry = stamp_s - newest_s <= ODOMETRY_TIMEOUT_S
        if not self.has_odometry:
            self._last = None  # what it drives meanwhile is in the random walk already

    def _begin_stretch(self, sample: OdometrySample) -> None:
        self._move(sample)

    def _move(self, sample: OdometrySample) -> None:
        self._last = sample
        self.tracker.move(
            sample.stamp_s,
            sample.position_odom_m + self._offset_m,
            sample.cov_odom_m2,
            yaw_odom_rad=sample.yaw_odom_rad,
        )
