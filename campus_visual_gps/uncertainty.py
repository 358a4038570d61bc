"""Combine the members' beliefs, apply the calibration: one mean and one 2x2 covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from campus_visual_gps.errors import BundleError

# Whatever a validation set says: no photo of a phone-labelled site is known to better than this.
MIN_FLOOR_SIGMA_M = 1.0


@dataclass(frozen=True)
class Calibration:
    """cov -> scale * cov + floor_sigma_m^2 I, measured on validation photos (design.md section 5).

    The floor is what keeps three members that happen to agree from claiming certainty.
    """

    floor_sigma_m: float
    scale: float = 1.0

    def __post_init__(self):
        if not (np.isfinite(self.floor_sigma_m) and self.floor_sigma_m >= MIN_FLOOR_SIGMA_M):
            raise BundleError(f"floor_sigma_m {self.floor_sigma_m} is below {MIN_FLOOR_SIGMA_M} m")
        if not (np.isfinite(self.scale) and self.scale > 0.0):
            raise BundleError(f"covariance scale {self.scale} must be positive")

    def apply(self, cov_enu_m2: np.ndarray) -> np.ndarray:
        """(..., 2, 2) square metres -> (..., 2, 2) symmetric, positive definite, not below the floor."""
        cov = np.asarray(cov_enu_m2, dtype=np.float64)
        symmetric = 0.5 * (cov + np.swapaxes(cov, -1, -2))
        return self.scale * symmetric + self.floor_sigma_m**2 * np.eye(2)


def combine(means_enu_m: np.ndarray, covs_enu_m2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Members' means (..., M, 2) and covariances (..., M, 2, 2) -> mean (..., 2) and covariance (..., 2, 2).

    The mean of the means (paper, section 3.4, Ensemble); the law of total variance for the covariance: the mean
    of the covariances plus the spread of the means, unbiased over M. One member alone has no spread.
    """
    means = np.asarray(means_enu_m, dtype=np.float64)
    mean = means.mean(axis=-2)
    cov = np.asarray(covs_enu_m2, dtype=np.float64).mean(axis=-3)
    members = means.shape[-2]
    if members > 1:
        deviations = means - mean[..., None, :]
        cov = cov + np.swapaxes(deviations, -1, -2) @ deviations / (members - 1)
    return mean, cov


def spread_m(means_enu_m: np.ndarray) -> np.ndarray:
    """Root mean square distance (...,) in metres of the members (..., M, 2) from their mean."""
    means = np.asarray(means_enu_m, dtype=np.float64)
    deviations = means - means.mean(axis=-2, keepdims=True)
    return np.sqrt((deviations**2).sum(axis=-1).mean(axis=-1))
