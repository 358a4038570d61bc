"""What a calibration is worth on held-out photos: likelihood, NEES, coverage and errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from campus_visual_gps.estimation.calibration import Calibration
from training.fit.calibration_set import CalibrationSet
from training.metrics.consistency import covered, gaussian_nll, nees


def offsets_and_covs(sets: Sequence[CalibrationSet], calibration: Calibration) -> tuple[np.ndarray, np.ndarray]:
    """Errors (N, 2) in metres and claimed covariances (N, 2, 2) of all sets."""
    posteriors = [own.posterior(calibration) for own in sets]
    offsets = [posterior.mean_enu_m - own.truth_enu_m for posterior, own in zip(posteriors, sets, strict=True)]
    return np.concatenate(offsets), np.concatenate([posterior.cov_enu_m2 for posterior in posteriors])


def before_and_after(sets: Sequence[CalibrationSet], before: Calibration, after: Calibration) -> dict[str, float]:
    """Likelihood, NEES, coverage and errors of the sets' photos with one calibration and with the other."""
    numbers: dict[str, float] = {}
    for name, calibration in (("before", before), ("after", after)):
        numbers |= covariance_numbers(sets, name, calibration)
        errors_m = np.linalg.norm(offsets_and_covs(sets, calibration)[0], axis=1)
        numbers |= {
            f"mean_error_{name}_m": round(float(errors_m.mean()), 2),
            f"rms_error_{name}_m": round(float(np.sqrt((errors_m**2).mean())), 2),
        }
    return numbers


def covariance_numbers(sets: Sequence[CalibrationSet], name: str, calibration: Calibration) -> dict[str, float]:
    """What the covariances of a calibration are worth on the sets' photos, under keys that end with a name."""
    offsets, covs = offsets_and_covs(sets, calibration)
    squared = nees(offsets, covs)
    return {
        f"nll_{name}": round(float(gaussian_nll(offsets, covs).mean()), 3),
        f"nees_{name}": round(float(squared.mean()), 3),
        f"coverage_95_{name}": round(float(covered(squared, 0.95).mean()), 3),
    }
