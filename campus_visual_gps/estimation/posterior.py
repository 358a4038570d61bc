"""Combine the members' beliefs, apply the calibration: one position and one 2x2 covariance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from campus_visual_gps.errors import BundleError
from campus_visual_gps.estimation.grid import (
    GEOMETRIC_MEDIAN,
    POINT_ESTIMATORS,
    LocationGrid,
    apply_temperature,
    locate,
    mean_grid_probs,
)
from campus_visual_gps.retrieval.prior import RetrievalPriorConfig, log_linear_pool

# Whatever a validation set says: no photo of a phone-labelled site is known to better than this.
MIN_FLOOR_SIGMA_M = 1.0


@dataclass(frozen=True)
class CovarianceCalibration:
    """What calibration does to one image's belief (design.md section 5): map^(1/temperature), then
    cov -> (scale * cov + floor_sigma_m^2 I) * max(1, reference_match_score / agreement)^2.

    `agreement` is that of the image with the reference photos near the reported position, part by part: where none
    agrees, the place may be another, however sure the network is. `reference_match_score` None leaves it out.

    The floor is what keeps three members that happen to agree from claiming certainty. `conformal_90` and
    `conformal_95`, where known, are the quantiles of error / sigma over held-out photos: with them, a radius of so
    many sigma holds the truth as often as they say, whatever the errors' distribution.
    """

    floor_sigma_m: float
    scale: float = 1.0
    temperature: float = 1.0
    conformal_90: float | None = None
    conformal_95: float | None = None
    reference_match_score: float | None = None

    def __post_init__(self):
        if not (np.isfinite(self.floor_sigma_m) and self.floor_sigma_m >= MIN_FLOOR_SIGMA_M):
            raise BundleError(f"floor_sigma_m {self.floor_sigma_m} is below {MIN_FLOOR_SIGMA_M} m")
        for name in ("scale", "temperature", "conformal_90", "conformal_95", "reference_match_score"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0.0):
                raise BundleError(f"calibration {name} {value} must be positive")

    def apply(self, cov_enu_m2: np.ndarray, agreement: np.ndarray | None = None) -> np.ndarray:
        """(..., 2, 2) square metres -> (..., 2, 2) symmetric, positive definite, not below the floor.

        `agreement` (...,), 1 or more, of the images; None where they were compared with no reference photo.
        """
        cov = np.asarray(cov_enu_m2, dtype=np.float64)
        symmetric = 0.5 * (cov + np.swapaxes(cov, -1, -2))
        calibrated = self.scale * symmetric + self.floor_sigma_m**2 * np.eye(2)
        if agreement is None or self.reference_match_score is None:
            return calibrated
        return calibrated * doubt(agreement, self.reference_match_score)[..., None, None]

    def radius_m(self, cov_enu_m2: np.ndarray, level: int) -> np.ndarray | None:
        """Radius (...,) in metres of the circle that holds the truth with 90 or 95 %; None where not measured."""
        quantile = {90: self.conformal_90, 95: self.conformal_95}[level]
        return None if quantile is None else quantile * sigma_m(cov_enu_m2)


def doubt(agreement: np.ndarray, reference_match_score: float) -> np.ndarray:
    """What the covariance of an image with this agreement (...,), 1 or more, grows by: 1 or more."""
    return np.maximum(reference_match_score / np.asarray(agreement, dtype=np.float64), 1.0) ** 2


@dataclass(frozen=True)
class Calibration(CovarianceCalibration):
    """The scaling of a bundle, measured on photos that its networks have not seen; `night`, where night photos call for
    one of their own, takes its place for images darker than `night_brightness_threshold` (mean grey level, 0..255).

    `point` is the rule that makes a position of a map, `evidence` what the reference photos add to it, and `measured`
    the numbers that justify all of it.
    """

    night: CovarianceCalibration | None = None
    night_brightness_threshold: float | None = None
    point: str = GEOMETRIC_MEDIAN
    evidence: RetrievalPriorConfig | None = None
    measured: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        super().__post_init__()
        if (self.night is None) != (self.night_brightness_threshold is None):
            raise BundleError(
                "a calibration for the night needs night_brightness_threshold, the brightness that it begins at"
            )
        if self.point not in POINT_ESTIMATORS:
            raise BundleError(f"point {self.point!r} is none of {', '.join(POINT_ESTIMATORS)}")

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Calibration:
        """What `asdict` gave. Raises BundleError, and TypeError for keys that are not known."""
        night, evidence = data.get("night"), data.get("evidence")
        return cls(
            **data
            | {
                "night": night and CovarianceCalibration(**night),
                "evidence": evidence and RetrievalPriorConfig(**evidence),
            }
        )

    def scaling(self, brightness: float | None) -> CovarianceCalibration:
        """The one for an image of this mean grey level; the general one where it is not known."""
        if self.night is None or brightness is None or not brightness < self.night_brightness_threshold:
            return self
        return self.night


class Posterior(NamedTuple):
    """Position (..., 2) metres and calibrated covariance (..., 2, 2) square metres, and the map (..., K) that they
    come from, None for heads without one."""

    mean_enu_m: np.ndarray
    cov_enu_m2: np.ndarray
    grid_probs: np.ndarray | None


def believe(
    means_enu_m: np.ndarray,
    covs_enu_m2: np.ndarray,
    grid_log_probs: np.ndarray | None,
    cells: LocationGrid | None,
    calibration: Calibration,
    scaling: CovarianceCalibration,
    density: np.ndarray | None = None,
    agreement: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Posterior:
    """What the ensemble believes of its members' means (..., M, 2), covariances (..., M, 2, 2), log maps (..., M, K).

    Maps are averaged, multiplied with the `density` (..., K) of the nearest reference photos where there is one, and
    tempered; else means and covariances make a mixture (see `combine`). `scaling` is the calibration's for this image,
    `agreement` gives the agreements (...,) at positions (..., 2), by which the covariance is doubted (see `Scaling`).
    """
    if grid_log_probs is None or cells is None:
        mean, cov = mixture_moments(means_enu_m, covs_enu_m2)
        return Posterior(mean, scaling.apply(cov), None)
    grid_probs = mean_grid_probs(grid_log_probs)
    if density is not None and calibration.evidence is not None:
        grid_probs = log_linear_pool(grid_probs, density, calibration.evidence.weight)
    grid_probs = apply_temperature(grid_probs, scaling.temperature)
    mean, cov = locate(grid_probs, cells.centres_enu_m, cells.cell_m, calibration.point)
    return Posterior(mean, scaling.apply(cov, agreement and agreement(mean)), grid_probs)


def mixture_moments(means_enu_m: np.ndarray, covs_enu_m2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


def sigma_m(cov_enu_m2: np.ndarray) -> np.ndarray:
    """Standard deviation (...,) per axis in metres of covariances (..., 2, 2): sqrt(trace / 2)."""
    return np.sqrt(np.trace(np.asarray(cov_enu_m2, dtype=np.float64), axis1=-2, axis2=-1) / 2.0)
