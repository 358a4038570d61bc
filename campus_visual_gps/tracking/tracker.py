"""Tracker: a histogram filter over the cells of the location grid, with a lost state."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from campus_visual_gps.errors import EstimateError
from campus_visual_gps.estimation.correlated_errors import TIME_JUMP_S
from campus_visual_gps.estimation.grid import LocationGrid, Mode
from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.hypotheses import HeadingHypotheses
from campus_visual_gps.tracking.information import ImageInformation
from campus_visual_gps.tracking.lost import LostState
from campus_visual_gps.tracking.measurement import ImageLikelihood
from campus_visual_gps.tracking.odometry import OdometryPath, PathState
from campus_visual_gps.tracking.outliers import OutlierMemory
from campus_visual_gps.tracking.raster import BeliefRaster
from campus_visual_gps.tracking.summary import point_and_moment

# A random walk with this speed keeps its direction for so long: its variance an axis grows by speed^2 * this a second.
DIRECTION_TIME_S = 10.0
# Without odometry for so long, the camera is taken to walk.
ODOMETRY_TIMEOUT_S = 1.0
# The yaw of the odometry cannot be found before the robot has moved so far; a given one is the same within this.
FIRST_WAY_M, HEADING_TOLERANCE_RAD = 1.0, 0.002
# Between the cells of the grid no photo was taken: a robot that drives there is off the site after so many seconds.
OFF_SITE_TIME_S = 10.0
# A robot that is lost with more than this may have been carried and turned: its yaw is unknown again.
LOST_HEADING = 0.5


class TrackedPosition(NamedTuple):
    """Where the camera was, given all images and the motion until then.

    Attributes:
        stamp_s: Seconds, of the image or as asked for.
        mean_enu_m: (2,) metres, the geometric median of a sharper `grid_probs` (summary.py).
        cov_enu_m2: (2, 2) square metres: calibrated second moment about `mean_enu_m`.
        grid_probs: (K,), sum 1: given that the camera is on the site.
        modes: Possible positions, the most probable first.
        lost_probability: That the camera is off the site, or elsewhere than the belief says.
        contradicted: The image's posterior agrees with the belief before it less than
            `TrackingCalibration.contradiction_level` times as well as with a belief that knows nothing: the mean of
            posterior / uniform over the belief, with the share of outliers in the posterior, is below that level.
        heading_offset_rad: Yaw of the odometry's axes in east and north, once it is known; None without odometry.
    """

    stamp_s: float
    mean_enu_m: np.ndarray
    cov_enu_m2: np.ndarray
    grid_probs: np.ndarray
    modes: tuple[Mode, ...]
    lost_probability: float
    contradicted: bool
    heading_offset_rad: float | None


class Tracker:
    """Images and motion in, tracked position out. One thread at a time may call it.

    Args:
        grid: Of the images' posteriors.
        calibration: Of the bundle.
        reachable: (K,) bool, False for cells where nobody can be; None for all.

    Raises:
        ConfigError: the mask does not fit.
    """

    def __init__(self, grid: LocationGrid, calibration: TrackingCalibration, reachable: np.ndarray | None = None):
        self.grid = grid
        self.calibration = calibration
        self.raster = BeliefRaster(grid, reachable)
        self._likelihood = ImageLikelihood(self.raster, calibration)
        self._path = OdometryPath()
        self._images = ImageInformation(calibration)
        self._lost = LostState(self.raster, calibration)
        self._outliers = OutlierMemory(self.raster, calibration)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the camera is anywhere on the site."""
        self._lost.reset()
        self._hypotheses = HeadingHypotheses(self.raster, self.raster.uniform() * (1.0 - self._lost.probability))
        self._path.clear()
        self._anchor: PathState | None = None
        self._images.clear()
        self._outliers.clear()
        self._stamp_s: float | None = None
        self._image: tuple[float, PathState | None] | None = None

    def forget_heading(self) -> None:
        """The odometry's axes were turned: its yaw in east and north is unknown again, and the position stays."""
        if np.isfinite(self._hypotheses.headings_rad).all():
            self._hypotheses.restart_unknown()

    def move(
        self,
        stamp_s: float,
        position_odom_m: np.ndarray,
        cov_odom_m2: np.ndarray | None = None,
        yaw_enu_rad: float | None = None,
        yaw_odom_rad: float | None = None,
    ) -> None:
        """Take a sample of odometry; one that cannot be used is left out.

        Args:
            stamp_s: Seconds. One more than a second older than the newest is a clock that jumped: all is forgotten.
            position_odom_m: (2,) metres in the odometry's axes, whose origin and yaw may be any.
            cov_odom_m2: (2, 2) square metres of this position; None where it is not known.
            yaw_enu_rad: Absolute yaw of the robot from east, where it is known; then the yaw of the odometry's axes is.
            yaw_odom_rad: Yaw of the robot in the odometry's axes. Without it, `yaw_enu_rad` is the odometry's own, and
                its axes are east and north.
        """
        if not math.isfinite(stamp_s):
            return
        newest_s = self._path.newest_s
        if newest_s is not None and stamp_s < newest_s - TIME_JUMP_S:
            self.reset()
        yaw = yaw_enu_rad if yaw_odom_rad is None else yaw_odom_rad
        if not self._path.add(stamp_s, position_odom_m, cov_odom_m2, yaw):
            return
        self._anchor = self._anchor or self._path.at(stamp_s)
        if yaw_enu_rad is not None and yaw is not None and math.isfinite(yaw_enu_rad - yaw):
            self._set_heading(stamp_s, yaw_enu_rad - yaw)

    def update(
        self, stamp_s: float, grid_probs: np.ndarray, camera: str = "", off_site_ratio: float = 1.0
    ) -> TrackedPosition:
        """Predict to an image's stamp and weigh the belief with its posterior.

        Args:
            stamp_s: Seconds. One more than a second older than the newest is a clock that jumped: all is forgotten.
            grid_probs: (K,), the image's calibrated posterior.
            camera: Its name, where there are several.
            off_site_ratio: How much more probable such an image is off the site than on it, as an out-of-distribution
                score may say; 1 says nothing.

        Raises:
            EstimateError: the posterior or the stamp cannot be used; the belief stays as it was.
        """
        ratio = self._likelihood.ratio(grid_probs)
        dt_s = self._predict(stamp_s)
        raster, bank, state = self.raster, self._hypotheses, self._path.at(stamp_s)
        information = self._images.share(stamp_s, camera, state)
        displacement = self._displacement(state)
        with_belief = bank.agreement(ratio)
        agreement, telling = self._likelihood.telling(ratio, with_belief)
        since_s, variance_m2 = self._since_last_image(stamp_s, state)
        seen = self._outliers.weigh(ratio, with_belief, telling, since_s, information)
        added = self._likelihood.of(np.log(seen), information)
        if self._anchor is not None:
            added *= raster.off_site(math.exp(-dt_s / OFF_SITE_TIME_S))
        stays, found = self._lost.weigh(
            ratio, agreement, telling, since_s, variance_m2, information, off_site_ratio, self._outliers.probability
        )
        if stays < 1.0:
            self._outliers.clear()
        bank.scale(stays)
        bank.weigh(added, displacement)
        if found > 0.0:
            bank.add(self._likelihood.of(np.log(ratio)) * raster.uniform() * found)
        self._normalise()
        return self._position(stamp_s, displacement, agreement < self.calibration.contradiction_level)

    def estimate(self, stamp_s: float) -> TrackedPosition:
        """The position at a time without an image. Raises EstimateError for a stamp that is not finite."""
        self._predict(stamp_s)
        self._normalise()
        return self._position(stamp_s, self._displacement(self._path.at(stamp_s)), False)

    def _predict(self, stamp_s: float) -> float:
        """Move the belief to a time, and return the seconds since the belief's own."""
        if not math.isfinite(stamp_s):
            raise EstimateError(f"expected a stamp in seconds, got {stamp_s}")
        if self._stamp_s is not None and stamp_s < self._stamp_s - TIME_JUMP_S:
            self.reset()
        if self._stamp_s is None:
            self._stamp_s = stamp_s
            self._follow(stamp_s)
            return 0.0
        dt_s = stamp_s - self._stamp_s
        if dt_s <= 0.0:
            return 0.0
        self._follow(stamp_s)
        newest_s = self._path.newest_s
        covered_s = self._stamp_s if newest_s is None else max(self._stamp_s, newest_s + ODOMETRY_TIMEOUT_S)
        own = self.calibration
        if stamp_s > covered_s:
            self._hypotheses.random_walk(own.speed_mps**2 * DIRECTION_TIME_S * (stamp_s - covered_s))
        self._hypotheses.scale(self._lost.predict(dt_s))
        self._stamp_s = stamp_s
        return dt_s

    def _follow(self, stamp_s: float) -> None:
        """Move the hypotheses to where the odometry was at a time."""
        state, anchor = self._path.at(stamp_s), self._anchor
        if state is None or anchor is None or state.way_m < anchor.way_m:
            return
        displacement, bank = state.position_m - anchor.position_m, self._hypotheses
        if not np.isfinite(bank.headings_rad).all():
            if math.hypot(*displacement) < FIRST_WAY_M:
                return
            bank.restart_unknown()
        bank.move(displacement, state.way_m - anchor.way_m, state.variance_m2 - anchor.variance_m2)
        self._anchor = state

    def _set_heading(self, stamp_s: float, heading_rad: float) -> None:
        bank = self._hypotheses
        turned = (heading_rad - bank.headings_rad[0] + math.pi) % (2.0 * math.pi) - math.pi
        if len(bank) > 1 or not abs(turned) < HEADING_TOLERANCE_RAD:
            self._follow(stamp_s)
            bank.set_heading(heading_rad)

    def _displacement(self, state: PathState | None) -> np.ndarray:
        """(2,) metres in the odometry's axes from where the hypotheses are to a state."""
        if state is None or self._anchor is None or not np.isfinite(self._hypotheses.headings_rad).all():
            return np.zeros(2)
        return state.position_m - self._anchor.position_m

    def _since_last_image(self, stamp_s: float, state: PathState | None) -> tuple[float, float]:
        """Seconds since the last image, and the variance an axis of the way since then, whose direction is unknown."""
        last, self._image = self._image, (stamp_s, state)
        if last is None:
            return 0.0, 0.0
        since_s = max(stamp_s - last[0], 0.0)
        if state is not None and last[1] is not None:
            return since_s, float(((state.position_m - last[1].position_m) ** 2).sum()) / 2.0
        return since_s, self.calibration.speed_mps**2 * min(since_s, DIRECTION_TIME_S) * since_s / 2.0

    def _normalise(self) -> None:
        bank = self._hypotheses
        total = bank.mass + self._lost.probability + self._lost.found
        bank.scale(1.0 / total)
        self._lost.scale(1.0 / total)
        if self._lost.probability > LOST_HEADING and len(bank) > 1 and bank.is_fine:
            bank.restart_unknown()
        bank.refine()

    def _position(self, stamp_s: float, displacement_m: np.ndarray, contradicted: bool) -> TrackedPosition:
        bank = self._hypotheses
        belief = bank.marginal(displacement_m)
        if self._lost.found > 0.0:
            belief += self._lost.found * self.raster.uniform()
        return tracked_position(
            stamp_s,
            belief,
            self._lost.probability,
            self.raster,
            self.calibration,
            contradicted,
            bank.heading_rad(),
        )


def tracked_position(
    stamp_s: float,
    belief: np.ndarray,
    lost_probability: float,
    raster: BeliefRaster,
    calibration: TrackingCalibration,
    contradicted: bool = False,
    heading_offset_rad: float | None = None,
) -> TrackedPosition:
    """A belief (R, C) of any mass as a position; one without mass says nothing."""
    grid = raster.grid
    if not belief.sum() > 1e-12:
        belief = raster.uniform().astype(np.float64)
    probs = raster.gather(belief / belief.sum())
    mean, moment = point_and_moment(probs, grid)
    cov = calibration.scale * moment + calibration.floor_sigma_m**2 * np.eye(2)
    lost = min(max(float(lost_probability), 0.0), 1.0)
    return TrackedPosition(stamp_s, mean, cov, probs, grid.modes(probs), lost, contradicted, heading_offset_rad)
