"""The correlation time of the errors of consecutive images, measured on the photos of a calibration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from campus_visual_gps.estimation.calibration import CALIBRATED, Calibration
from training.fit.calibration_numbers import offsets_and_covs
from training.fit.calibration_set import CalibrationSet
from training.metrics.correlation_time import fit_correlation_time

log = logging.getLogger(__name__)


def with_correlation_time(calibration: Calibration, sets: Sequence[CalibrationSet]) -> Calibration:
    """`calibration` with the correlation time of the errors of its photos, and the correlations by lag in `measured`.

    It is in units of the calibrated covariance, whichever the fixes carry. With too few pairs of photos that were taken
    soon after each other the time stays as it was.
    """
    offsets_m, covs_m2 = offsets_and_covs(sets, replace(calibration, covariance=CALIBRATED))
    # two ensembles that hold out the same session make no pair
    sessions = np.array([f"{index}/{name}" for index, own in enumerate(sets) for name in own.sessions], dtype=object)
    times_s = np.concatenate([own.times_s for own in sets])
    found = fit_correlation_time(sessions, times_s, offsets_m, covs_m2)
    if found is None:
        log.warning("too few photos within a minute of each other: the correlation time of the errors is not measured")
        return calibration
    measured = {
        "correlation_lags_s": [round(lag_s, 2) for lag_s in found.lags_s],
        "correlations": [round(value, 3) for value in found.correlations],
    }
    return replace(
        calibration,
        correlation_time_s=round(found.correlation_time_s, 2),
        measured={**calibration.measured, **measured},
    )
