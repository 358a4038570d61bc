"""The covariance's floor, measured on validation photos."""

from __future__ import annotations

import numpy as np

from campus_visual_gps.uncertainty import MIN_FLOOR_SIGMA_M, Calibration, combine


def fit_floor(means_enu_m: np.ndarray, covs_enu_m2: np.ndarray, truth_enu_m: np.ndarray) -> Calibration:
    """Calibration from N validation photos: means (N, M, 2), covariances (N, M, 2, 2), truth (N, 2), metres.

    The floor is what the members' own covariance leaves unexplained of the squared error, per axis:
    E[e' e] = tr(P) + 2 floor^2. Second moments rather than a robust fit: an EKF pays for the outliers.
    """
    mean, cov = combine(means_enu_m, covs_enu_m2)
    squared_error_m2 = ((mean - np.asarray(truth_enu_m)) ** 2).sum(axis=-1)
    claimed_m2 = np.trace(cov, axis1=-2, axis2=-1)
    unexplained_m2 = float((squared_error_m2 - claimed_m2).mean()) / 2.0
    return Calibration(floor_sigma_m=float(np.sqrt(max(unexplained_m2, MIN_FLOOR_SIGMA_M**2))))
