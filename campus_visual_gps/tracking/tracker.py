"""Tracker: a histogram filter over the cells of the location grid, with a lost state."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from campus_visual_gps.errors import EstimateError
from campus_visual_gps.estimation.correlated_errors import TIME_JUMP_S
from campus_visual_gps.estimation.grid import LocationGrid, Mode, point_and_covariance
from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.raster import BeliefRaster

# A random walk with this speed keeps its direction for so long: its variance an axis grows by speed^2 * this a second.
DIRECTION_TIME_S = 3.0


class TrackedPosition(NamedTuple):
    """Where the camera was, given all images and the motion until then.

    Attributes:
        stamp_s: Seconds, of the image or as asked for.
        mean_enu_m: (2,) metres, the geometric median of `grid_probs`.
        cov_enu_m2: (2, 2) square metres: calibrated second moment about `mean_enu_m`.
        grid_probs: (K,), sum 1: given that the camera is on the site.
        modes: Possible positions, the most probable first.
        lost_probability: That the camera is off the site, or elsewhere than the belief says.
        contradicted: The image's posterior agrees with the belief before it less than
            `TrackingCalibration.contradiction_level` times as well as with a belief that knows nothing.
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
        self.reset()

    def reset(self) -> None:
        """Forget everything: the camera is anywhere on the site."""
        self._belief = self.raster.uniform()
        self._lost = self._stationary_lost
        self._stamp_s: float | None = None
        self._image_stamps_s: dict[str, float] = {}

    def move(
        self,
        stamp_s: float,
        position_odom_m: np.ndarray,
        cov_odom_m2: np.ndarray | None = None,
        yaw_enu_rad: float | None = None,
        yaw_odom_rad: float | None = None,
    ) -> None:
        """A sample of odometry."""

    def update(self, stamp_s: float, grid_probs: np.ndarray, camera: str = "") -> TrackedPosition:
        """Predict to an image's stamp and weigh the belief with its posterior.

        Args:
            stamp_s: Seconds. One more than a second older than the newest is a clock that jumped: all is forgotten.
            grid_probs: (K,), the image's calibrated posterior.
            camera: Its name, where there are several.

        Raises:
            EstimateError: the posterior or the stamp cannot be used; the belief stays as it was.
        """
        posterior = self._checked(grid_probs)
        self._predict(stamp_s)
        information = self._information(stamp_s, camera)
        full = self._likelihood(posterior, self.calibration.measurement_power)
        agreement = float((self._belief * full).sum() / self._belief.sum())
        likelihood = full**information
        likelihood /= likelihood[self.raster.site].mean()
        inflow = self._found * (full * self.raster.site)
        self._belief = (
            self._belief * likelihood + inflow / inflow.sum() * self._found
            if self._found
            else (self._belief * likelihood)
        )
        self._normalise()
        return self._position(stamp_s, agreement < self.calibration.contradiction_level)

    def estimate(self, stamp_s: float) -> TrackedPosition:
        """The position at a time without an image. Raises EstimateError for a stamp that is not finite."""
        self._predict(stamp_s)
        self._normalise()
        return self._position(stamp_s, False)

    @property
    def _stationary_lost(self) -> float:
        own = self.calibration
        return own.lost_rate_hz / (own.lost_rate_hz + own.found_rate_hz)

    def _checked(self, grid_probs: np.ndarray) -> np.ndarray:
        probs = np.asarray(grid_probs, dtype=np.float64)
        if probs.shape != (len(self.grid),):
            raise EstimateError(f"expected a posterior of {len(self.grid)} cells, got one of shape {probs.shape}")
        total = probs.sum()
        if not (np.isfinite(total) and total > 0.0 and probs.min() >= 0.0):
            raise EstimateError("expected a posterior of probabilities with a positive sum, got NaN or other numbers")
        return probs / total

    def _predict(self, stamp_s: float) -> None:
        if not math.isfinite(stamp_s):
            raise EstimateError(f"expected a stamp in seconds, got {stamp_s}")
        if self._stamp_s is not None and stamp_s < self._stamp_s - TIME_JUMP_S:
            self.reset()
        dt_s = 0.0 if self._stamp_s is None else max(stamp_s - self._stamp_s, 0.0)
        self._stamp_s = stamp_s if self._stamp_s is None else max(stamp_s, self._stamp_s)
        self._found = 0.0
        if dt_s <= 0.0:
            return
        own = self.calibration
        self._belief = self.raster.random_walk(self._belief, own.speed_mps**2 * DIRECTION_TIME_S * dt_s)
        becomes_lost = -math.expm1(-own.lost_rate_hz * dt_s)
        self._found = self._lost * -math.expm1(-own.found_rate_hz * dt_s)
        newly_lost = (1.0 - self._lost) * becomes_lost
        self._belief *= 1.0 - becomes_lost
        self._lost += newly_lost - self._found

    def _information(self, stamp_s: float, camera: str) -> float:
        """Share of an independent image, 0 to 1, that this one adds to those before it."""
        own = self.calibration

        def since(stamps: list[float]) -> float:
            return math.tanh((stamp_s - max(stamps)) / (2.0 * own.correlation_time_s)) if stamps else 1.0

        newest = self._image_stamps_s
        any_camera = max(since(list(newest.values())), 0.0)
        same_camera = max(since([newest[camera]] if camera in newest else []), 0.0)
        newest[camera] = max(stamp_s, newest.get(camera, stamp_s))
        return any_camera + own.simultaneous_power * max(same_camera - any_camera, 0.0)

    def _likelihood(self, posterior: np.ndarray, power: float) -> np.ndarray:
        """(R, C), mean 1 over the site: (posterior / uniform, with a share of outliers)^power."""
        reachable = self.raster.reachable
        ratio = posterior / max(posterior[reachable].mean(), 1e-300)
        outliers = self.calibration.outlier_share
        weighted = ((1.0 - outliers) * ratio + outliers) ** power
        return self.raster.spread(weighted / weighted[reachable].mean())

    def _normalise(self) -> None:
        if self._found and self._belief.sum() == 0.0:
            self._belief = self.raster.uniform() * self._found
        total = self._belief.sum() + self._lost
        self._belief /= total
        self._lost /= total
        self._found = 0.0

    def _position(self, stamp_s: float, contradicted: bool) -> TrackedPosition:
        own = self.calibration
        mass = self._belief.sum()
        belief = self._belief / mass if mass > 1e-12 else self.raster.uniform()
        probs = self.raster.gather(belief)
        mean, moment = point_and_covariance(probs, self.grid.centres_enu_m, self.grid.cell_m)
        cov = own.scale * moment + own.floor_sigma_m**2 * np.eye(2)
        return TrackedPosition(stamp_s, mean, cov, probs, self.grid.modes(probs), self._lost, contradicted, None)
