"""The covariances that other nodes would publish with the ensemble's own positions.

Their positions are the ensemble's; only the covariance differs, so they appear in the tables of consistency alone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from campus_visual_gps.bundle import Bundle
from campus_visual_gps.estimation.calibration import CALIBRATED
from campus_visual_gps.estimation.posterior import ensemble_spread_covariance, sample_covariance
from training.evaluate.baselines import Baseline, Computed, NotComputedError, attempt
from training.evaluate.predict import CALIBRATED_PREFIX, covariances_m2, member_positions_m, positions_m

CONSTANT_COVARIANCE = "constant_covariance"
ENSEMBLE_SPREAD = "ensemble_spread"
# The covariance that can be chosen by name in the place of the one that was evaluated.
CHOICE_CALIBRATED, CHOICE_SPREAD = "choice_calibrated", "choice_ensemble_spread"
COVARIANCE_CHOICES = (CHOICE_CALIBRATED, CHOICE_SPREAD)
COVARIANCE_BASELINES = (CONSTANT_COVARIANCE, ENSEMBLE_SPREAD, *COVARIANCE_CHOICES)
# So small that it changes no metric, and large enough that two members on one line can be inverted.
_INVERTIBLE_M2 = 1e-2


def covariance_baselines(predictions: pd.DataFrame, bundle: Bundle, covariance: str = CALIBRATED) -> list[Baseline]:
    """Those of COVARIANCE_BASELINES that are not the evaluated covariance itself, for the rows of predictions.csv.

    Args:
        predictions: Rows of predictions.csv.
        bundle: Of the ensemble.
        covariance: The one that was evaluated, as of `Localizer.load`.
    """
    names = [member.name for member in bundle.members]
    computations = {
        CONSTANT_COVARIANCE: lambda: _constant(predictions, bundle),
        ENSEMBLE_SPREAD: lambda: _spread(predictions, names),
    }
    if covariance != CALIBRATED:
        computations[CHOICE_CALIBRATED] = lambda: _calibrated(predictions)
    elif len(names) > 1:
        computations[CHOICE_SPREAD] = lambda: _chosen_spread(predictions, names)
    return [attempt(name, computation) for name, computation in computations.items()]


def _constant(predictions: pd.DataFrame, bundle: Bundle) -> Computed:
    """One covariance for all: that of an isotropic Gaussian with the mean error of the validation photos.

    Distances are then Rayleigh distributed with a mean of sigma sqrt(pi / 2).
    """
    error_m = bundle.training.get("val_mean_error_m")
    if not isinstance(error_m, int | float) or not np.isfinite(error_m) or error_m <= 0.0:
        raise NotComputedError("the bundle states no mean error on validation photos")
    variance_m2 = error_m**2 * 2.0 / np.pi
    return positions_m(predictions), np.tile(variance_m2 * np.eye(2), (len(predictions), 1, 1))


def _spread(predictions: pd.DataFrame, names: list[str]) -> Computed:
    """The sample covariance of the members' means, without a floor and without calibration."""
    if len(names) < 2:
        raise NotComputedError("one member alone has no spread")
    covs = sample_covariance(member_positions_m(predictions, names))
    return positions_m(predictions), covs + _INVERTIBLE_M2 * np.eye(2)


def _chosen_spread(predictions: pd.DataFrame, names: list[str]) -> Computed:
    return positions_m(predictions), ensemble_spread_covariance(member_positions_m(predictions, names))


def _calibrated(predictions: pd.DataFrame) -> Computed:
    return positions_m(predictions), covariances_m2(predictions, CALIBRATED_PREFIX)
