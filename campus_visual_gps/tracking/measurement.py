"""From an image's posterior to the likelihood that weighs a belief."""

from __future__ import annotations

import numpy as np

from campus_visual_gps.errors import EstimateError
from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.raster import BeliefRaster

# An image that tells less contradicts nothing.
_LEAST_SHARE = 0.01
# Of every image: no place is impossible because of one.
_FLAT_SHARE = 0.01


class ImageLikelihood:
    """Posteriors (K,) as likelihoods (R, C) with mean 1 over the site: one of an unknown position is 1 for any image.

    (posterior / uniform, mixed with what outliers say)^power, outside the site that of the nearest cell. A uniform
    posterior gives 1 everywhere.
    """

    def __init__(self, raster: BeliefRaster, calibration: TrackingCalibration):
        self.raster = raster
        self.calibration = calibration

    def ratio(self, grid_probs: np.ndarray) -> np.ndarray:
        """(R, C) float32 posterior over a uniform one, at least `_FLAT_SHARE`: mean 1 over the site.

        Raises:
            EstimateError: the posterior has another length than the grid, or no probabilities in it.
        """
        probs, count = np.asarray(grid_probs, dtype=np.float64), len(self.raster.grid)
        if probs.shape != (count,):
            raise EstimateError(f"expected a posterior of {count} cells, got one of shape {probs.shape}")
        with np.errstate(over="ignore", invalid="ignore"):
            total = float(probs.sum())
        if not (np.isfinite(total) and total > 0.0 and probs.min() >= 0.0):
            raise EstimateError("expected a posterior of probabilities with a positive sum, got NaN or other numbers")
        probs = probs / total
        of_cells = (1.0 - _FLAT_SHARE) / max(self.raster.mean_of_cells(probs), 1e-30) * probs + _FLAT_SHARE
        return self.raster.spread(of_cells.astype(np.float32))

    def with_outliers(self, ratio: np.ndarray) -> np.ndarray:
        """(R, C) of an image that is an outlier with `outlier_share`, and then names any place alike."""
        share = self.calibration.outlier_share
        return (1.0 - share) * ratio + share

    def telling(self, ratio: np.ndarray, agreement: float) -> tuple[float, float]:
        """Agreement of that part of an image which tells one place from another, and its share of the image.

        The rest, of images that show nothing, speaks for every place alike and would agree with any belief.

        Args:
            ratio: (R, C) as of `ratio`.
            agreement: Of the whole image with a belief.
        """
        share = 1.0 - min(float(ratio.min()), 1.0)
        return (1.0 if share < _LEAST_SHARE else max(agreement - (1.0 - share), 0.0) / share), share

    def of(self, log_ratio: np.ndarray, information: float = 1.0) -> np.ndarray:
        """The likelihood (R, C) float32 of an image that adds a share of the information of one that comes alone.

        Args:
            log_ratio: (R, C) logarithm of `ratio`, or of that with outliers.
            information: 0 to 1.
        """
        powered = self.calibration.measurement_power * information * log_ratio
        powered -= powered.max()
        likelihood = np.exp(powered, out=powered)
        likelihood /= self.raster.mean(likelihood)
        return likelihood
