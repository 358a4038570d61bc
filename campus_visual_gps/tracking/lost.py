"""LostState: the probability that the camera is off the site or was carried, and when the belief begins anew."""

from __future__ import annotations

import math

import numpy as np

from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.raster import BeliefRaster

# A belief that the images contradict for so long gives way to what the images say, with this time constant.
CONTRADICTED_S, GIVING_WAY_S = 4.0, 1.0
# An image that is an outlier with more than this, if the belief is right, contradicts it, too.
_OUTLIER = 0.5
# A pause between images counts for so much at most.
_MAX_STEP_S = 1.5
# Consecutive images that disagree change the odds of being lost by no more than this, and those that agree likewise.
_MAX_RATIO = 20.0
# Variance of the way between two images, in square cells, that is worth spreading the posterior of the first one.
_NEAR_CELLS2 = 0.02
# Less than this waits for a later image: to add it to all hypotheses costs as much as an image.
_LEAST_FOUND = 1e-4
# Consecutive images that agree bring a lost camera back faster than `found_rate_hz`, others slower, by this at most.
_MAX_FOUND_FACTOR = 10.0


class LostState:
    """What flows between the site and the lost state. Probabilities are relative: the tracker normalises them.

    On the site, consecutive images agree with each other; off it, their posteriors jump about. Their agreement is the
    likelihood of being on the site against being lost; it does not depend on the belief, which may know nothing.
    """

    def __init__(self, raster: BeliefRaster, calibration: TrackingCalibration):
        self.raster = raster
        self.calibration = calibration
        self.reset()

    def reset(self) -> None:
        """As before any image."""
        own = self.calibration
        self.probability = own.lost_rate_hz / (own.lost_rate_hz + own.found_rate_hz)
        self.found = 0.0  # has flowed back, and waits for an image to say where to
        self._contradicted_s = 0.0
        self._last: np.ndarray | None = None

    def predict(self, dt_s: float) -> float:
        """Let time pass; the share of the site's probability that stays there."""
        own = self.calibration
        stays = math.exp(-own.lost_rate_hz * dt_s)
        site = (1.0 - self.probability - self.found) * stays
        rate_hz = own.lost_rate_hz + own.found_rate_hz
        in_the_end = own.lost_rate_hz / rate_hz
        self.probability = in_the_end + (self.probability - in_the_end) * math.exp(-rate_hz * dt_s)
        self.found = max(1.0 - site - self.probability, 0.0)
        return stays

    def scale(self, factor: float) -> None:
        """Multiply both probabilities."""
        self.probability, self.found = self.probability * factor, self.found * factor

    def weigh(
        self,
        ratio: np.ndarray,
        agreement: float,
        telling: float,
        dt_s: float,
        moved_variance_m2: float,
        information: float,
        off_site_ratio: float,
        outlier_probability: float = 0.0,
    ) -> tuple[float, float]:
        """Weigh being lost with an image.

        Args:
            ratio: (R, C) posterior over a uniform one.
            agreement: With the belief before it, of what the image tells.
            telling: Share of the image that tells one place from another.
            dt_s: Since the last image.
            moved_variance_m2: An axis, of the way since then.
            information: Share of an independent image.
            off_site_ratio: As of `Tracker.update`.
            outlier_probability: That the image is an outlier, if the belief is right.

        Returns:
            The share of the site's probability that stays there, and the probability that flows to the site.
        """
        off_site = min(max(off_site_ratio, 1.0 / _MAX_RATIO), _MAX_RATIO)
        alike = self._consistency(ratio, moved_variance_m2)
        against = min(max(off_site / alike, 1.0 / _MAX_RATIO), _MAX_RATIO)
        self.probability *= against**information
        stays = self._gives_way(agreement, telling * dt_s, outlier_probability)
        self.probability += (1.0 - self.probability) * (1.0 - stays)
        factor = min(max(alike / off_site, 1.0 / _MAX_FOUND_FACTOR), _MAX_FOUND_FACTOR)
        if factor < 1.0:
            more = -(1.0 - factor) * self.found
        else:
            more = -self.probability * math.expm1(-self.calibration.found_rate_hz * (factor - 1.0) * dt_s)
        found, self.found = self.found + more, 0.0
        self.probability -= more
        if found < _LEAST_FOUND:
            found, self.found = 0.0, found
        return stays, found

    def _consistency(self, ratio: np.ndarray, moved_variance_m2: float) -> float:
        """Agreement of an image with the last one; 1 for one that says nothing, and for the first."""
        last, self._last = self._last, ratio
        if last is None:
            return 1.0
        expected = last * self.raster.uniform()
        if moved_variance_m2 > _NEAR_CELLS2 * self.raster.cell_m**2:
            expected = self.raster.random_walk(expected, moved_variance_m2)
        return max(float(np.vdot(expected, ratio)), 1e-3)

    def _gives_way(self, agreement: float, dt_s: float, outlier_probability: float) -> float:
        if agreement >= self.calibration.contradiction_level and outlier_probability < _OUTLIER:
            # one that agrees less than with a belief that knows nothing does not confirm it either
            if agreement >= 1.0:
                self._contradicted_s = 0.0
            return 1.0
        step_s = min(dt_s, _MAX_STEP_S)
        self._contradicted_s += step_s
        return math.exp(-step_s / GIVING_WAY_S) if self._contradicted_s > CONTRADICTED_S else 1.0
