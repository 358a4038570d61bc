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
from campus_visual_gps.tracking.odometry_buffer import OdometryBuffer, OdometryFault, OdometrySample, is_jump
from campus_visual_gps.tracking.tracker import ODOMETRY_TIMEOUT_S, TrackedPosition, Tracker

OFF, RANDOM_WALK, ODOMETRY = "off", "random_walk", "odometry"
MODES = (OFF, RANDOM_WALK, ODOMETRY)
# With a higher probability of being lost there is no tracked position, and no image can contradict it.
MAX_LOST_PROBABILITY = 0.5
# Estimates that these gates rejected have a posterior all the same: what it says is little, or wide, but not wrong.
_USABLE = (
    None,
    RejectionReason.OUTSIDE_SITE,
    RejectionReason.ENSEMBLE_SPREAD,
    RejectionReason.AMBIGUOUS,
    RejectionReason.SIGMA,
    RejectionReason.CONTRADICTS_TRACK,
)
# An image that its gate rejects as out of distribution is so much more probable off the site than on it. The gate's
# threshold is exceeded by 1 % of the training photos, and by more in a light that they do not show.
OFF_SITE_RATIO = 10.0
# An odometry that begins anew turns its axes; one that corrects its position does not turn by so much.
_TURNED_RAD = 0.5


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


def says_where(rejection: RejectionReason | None) -> bool:
    """Whether the posterior of an image with this verdict of the gates says something about where it was taken."""
    return rejection in _USABLE or rejection == RejectionReason.OUT_OF_DISTRIBUTION


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
        tracker: The belief.
        motion: How the last image was reached: odometry or random_walk.
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
        self._uniform = np.full(len(grid), 1.0 / len(grid))
        self._buffer = OdometryBuffer()
        self.reset()

    @property
    def odometry_faults(self) -> dict[str, int]:
        """How many samples of odometry had which fault."""
        return {fault.value: count for fault, count in self._buffer.faults.items()}

    def reset(self) -> None:
        """Forget the position, the heading and the odometry."""
        self.tracker.reset()
        self._buffer.clear()
        self._last: OdometrySample | None = None
        self._offset_m = np.zeros(2)
        self._newest_s = -math.inf
        self.motion = RANDOM_WALK
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
            position_odom_m: (2,) metres in the odometry's axes, whose origin and yaw may be any.
            yaw_odom_rad: The robot's yaw there, if known.
            cov_odom_m2: (2, 2) square metres of the position since the odometry began, if known.
            frame: Name of the odometry's frame. In another one nothing is known of the heading.
        """
        if self.mode != ODOMETRY:
            return None
        return self._buffer.add(OdometrySample(stamp_s, position_odom_m, yaw_odom_rad, cov_odom_m2, frame))

    def image(
        self,
        stamp_s: float,
        grid_probs: np.ndarray | None,
        camera: str = "",
        rejection: RejectionReason | None = None,
    ) -> TrackedPosition:
        """The position at the time of an image, given this one and all before it.

        Args:
            stamp_s: Seconds. More than a second before the newest image is a clock that jumped: all is forgotten.
            grid_probs: (K,), the calibrated posterior, weighed as by `weighed_posterior`; None for an image without.
            camera: Tells several cameras apart.
            rejection: The verdict of the gates. An estimate that is not certain counts as what it is; an image that
                shows nothing only lets time pass; one that is out of distribution also speaks for being off the site.
                It is taken all the same: on a first night a third of the images are, and without what they say the
                mean error of such a night was 19.8 m in the place of 14.9 m.

        Raises:
            EstimateError: the posterior does not fit the grid, or is no distribution.
        """
        if stamp_s < self._newest_s - TIME_JUMP_S:
            self.reset()
        own_s = max(stamp_s, self._newest_s)
        self._take_odometry(own_s)
        tracker = self.tracker
        unlike = rejection == RejectionReason.OUT_OF_DISTRIBUTION
        if unlike:
            tracked = tracker.update(own_s, self._uniform if grid_probs is None else grid_probs, camera, OFF_SITE_RATIO)
        elif grid_probs is None or not says_where(rejection):
            tracked = tracker.estimate(own_s)
        else:
            tracked = tracker.update(own_s, grid_probs, camera)
        self._newest_s = own_s
        self.image_count += 1
        return tracked

    def _take_odometry(self, stamp_s: float) -> None:
        """Give the tracker the odometry up to an image's stamp; without any it walks at random."""
        for sample in self._buffer.take(stamp_s):
            self._move(sample)
        last = self._last
        self.motion = ODOMETRY if last is not None and stamp_s - last.stamp_s <= ODOMETRY_TIMEOUT_S else RANDOM_WALK

    def _move(self, sample: OdometrySample) -> None:
        last, cov = self._last, sample.cov_odom_m2
        if last is not None and self._begins_stretch(last, sample):
            self._offset_m += last.position_odom_m - sample.position_odom_m
            cov = None
            if sample.frame != last.frame or _turned_rad(last, sample) > _TURNED_RAD:
                self.tracker.forget_heading()
        self._last = sample
        position = sample.position_odom_m + self._offset_m
        self.tracker.move(sample.stamp_s, position, cov, yaw_odom_rad=sample.yaw_odom_rad)

    def _begins_stretch(self, last: OdometrySample, sample: OdometrySample) -> bool:
        """Whether there is no displacement from `last`: another frame, a jump, or what images bridged already."""
        bridged = last.stamp_s + ODOMETRY_TIMEOUT_S < self._newest_s
        return sample.frame != last.frame or bridged or is_jump(last, sample)


def _turned_rad(last: OdometrySample, sample: OdometrySample) -> float:
    """Turn between two samples; pi where it is not known."""
    if last.yaw_odom_rad is None or sample.yaw_odom_rad is None:
        return math.pi
    return abs((sample.yaw_odom_rad - last.yaw_odom_rad + math.pi) % (2.0 * math.pi) - math.pi)
