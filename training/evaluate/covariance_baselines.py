"""The covariances that other nodes would publish with the ensemble's own positions.

Their positions are the ensemble's; only the covariance differs, so they appear in the tables of consistency alone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from campus_visual_gps.bundle import Bundle
from training.evaluate.baselines import Baseline, Computed, NotComputedError, attempt
from training.evaluate.predict import positions_m

CONSTANT_COVARIANCE = "constant_covariance"
ENSEMBLE_SPREAD = "ensemble_spread"
COVARIANCE_BASELINES = (CONSTANT_COVARIANCE, ENSEMBLE_SPREAD)
# So small that it changes no metric, and large enough that two members on one line can be inverted.
_INVERTIBLE_M2 = 1e-2


def covariance_baselines(predictions: pd.DataFrame, bundle: Bundle) -> list[Baseline]:
    """Every one of COVARIANCE_BASELINES for the rows of predictions.csv, in that order."""
    computations = {
        CONSTANT_COVARIANCE: lambda: _constant(predictions, bundle),
        ENSEMBLE_SPREAD: lambda: _spread(predictions, [member.seed for member in bundle.members]),
    }
    return [attempt(name, computations[name]) for name in COVARIANCE_BASELINES]


def _constant(predictions: pd.DataFrame, bundle: Bundle) -> Computed:
    """One covariance for all: that of an isotropic Gaussian with the mean error of the validation photos.

    Distances are then Rayleigh distributed with a mean of sigma sqrt(pi / 2).
    """
    error_m = bundle.training.get("val_mean_error_m")
    if not isinstance(error_m, int | float) or not np.isfinite(error_m) or error_m <= 0.0:
        raise NotComputedError("the bundle states no mean error on validation photos")
    variance_m2 = error_m**2 * 2.0 / np.pi
    return positions_m(predictions), np.tile(variance_m2 * np.eye(2), (len(predictions), 1, 1))


def _spread(predictions: pd.DataFrame, seeds: list[int]) -> Computed:
    """The sample covariance of the members' means, without a floor and without calibration."""
    if len(seeds) < 2:
        raise NotComputedError("one member alone has no spread")
    means = np.stack([positions_m(predictions, f"member_{seed}_") for seed in seeds], axis=1)
    deviations = means - means.mean(axis=1, keepdims=True)
    covs = np.swapaxes(deviations, -1, -2) @ deviations / (len(seeds) - 1)
    return positions_m(predictions), covs + _INVERTIBLE_M2 * np.eye(2)
