"""PosteriorEstimator: the one way from the networks' outputs to a position and its covariance."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from campus_visual_gps.estimation.calibration import (
    ENSEMBLE_SPREAD,
    MIN_FLOOR_SIGMA_M,
    Calibration,
    CovarianceCalibration,
)
from campus_visual_gps.estimation.grid import LocationGrid, apply_temperature, mean_grid_probs, point_and_covariance
from campus_visual_gps.estimation.site_bound import SiteMoments
from campus_visual_gps.retrieval.prior import (
    decayed_match_score,
    log_linear_pool,
    match_score_near,
    position_likelihood,
)

if TYPE_CHECKING:
    from campus_visual_gps.models.outputs import ModelOutputs
    from campus_visual_gps.retrieval.index import RetrievalResult


class Posterior(NamedTuple):
    """Posterior of N images; all NaN for an image whose outputs were not finite.

    mean_enu_m (N, 2) metres; cov_enu_m2 (N, 2, 2) square metres, the one that the calibration chooses by name;
    calibrated_cov_enu_m2 (N, 2, 2), the calibrated one; grid_probs (N, K), None for heads without a grid; match_score
    (N,) near the mean, NaN without retrieval; radius90_m and radius95_m (N,) metres of the calibrated covariance, NaN
    where the conformal quantiles were not measured and with another covariance.
    """

    mean_enu_m: np.ndarray
    cov_enu_m2: np.ndarray
    calibrated_cov_enu_m2: np.ndarray
    grid_probs: np.ndarray | None
    match_score: np.ndarray
    radius90_m: np.ndarray
    radius95_m: np.ndarray


class PosteriorEstimator:
    """Outputs of the members, and of the retrieval, -> Posterior. Without state: the same input gives the same answer.

    Args:
        calibration: Of the bundle.
        grid: Of the members' heads; None for heads without one, whose means and covariances make a mixture.
        site: Of the site, for the bound of the covariance; None for that of the grid's cells.
    """

    def __init__(self, calibration: Calibration, grid: LocationGrid | None = None, site: SiteMoments | None = None):
        self.calibration = calibration
        self.grid = grid
        if site is None and grid is not None:
            site = SiteMoments.of_cells(grid.centres_enu_m, grid.cell_m)
        self.site = site

    @property
    def uses_retrieval(self) -> bool:
        """Whether `estimate` needs the retrieval results."""
        return self.grid is not None and self.calibration.uses_retrieval

    def estimate(
        self, outputs: ModelOutputs, retrieval: RetrievalResult | None = None, brightness: np.ndarray | None = None
    ) -> Posterior:
        """Posterior of N images.

        Args:
            outputs: Of the members.
            retrieval: Of the N images; None where the reference was not searched.
            brightness: Mean grey level (N,), which tells day from night; None where it is not known.
        """
        calibration, grid_probs = self.calibration, self.pooled_grid(outputs, retrieval)
        if calibration.night is None or brightness is None:
            return self._calibrated(calibration, outputs, grid_probs, retrieval)
        dark = np.asarray(brightness) < calibration.night_brightness_threshold
        if dark.all() or not dark.any():
            own = calibration.night if dark.any() else calibration
            return self._calibrated(own, outputs, grid_probs, retrieval)
        by_light = [self._calibrated(own, outputs, grid_probs, retrieval) for own in (calibration, calibration.night)]
        day, night = by_light
        return Posterior._make(
            own if dim is None or own is None else _select(dark, dim, own) for own, dim in zip(day, night, strict=True)
        )

    def pooled_grid(self, outputs: ModelOutputs, retrieval: RetrievalResult | None) -> np.ndarray | None:
        """The members' mean grid (N, K), pooled with the likelihood of the retrieved photos; before the temperature."""
        if self.grid is None or outputs.grid_log_probs is None:
            return None
        grid_probs, prior = mean_grid_probs(outputs.grid_log_probs), self.calibration.retrieval_prior
        if retrieval is None or prior is None or not self.uses_retrieval:
            return grid_probs
        likelihood = position_likelihood(retrieval, self.grid.centres_enu_m, prior)
        return log_linear_pool(grid_probs, likelihood, prior.weight)

    def _calibrated(
        self,
        covariance: CovarianceCalibration,
        outputs: ModelOutputs,
        pooled: np.ndarray | None,
        retrieval: RetrievalResult | None,
    ) -> Posterior:
        match_score = np.full(len(outputs), np.nan)
        if pooled is None or self.grid is None:
            grid_probs = None
            mean, cov = mixture_moments(outputs.member_means_enu_m, outputs.member_covs_enu_m2)
        else:
            grid_probs = apply_temperature(pooled, covariance.temperature)
            sharper = covariance.point_temperature
            point_probs = grid_probs if sharper is None else apply_temperature(pooled, sharper)
            mean, cov = point_and_covariance(
                point_probs, self.grid.centres_enu_m, self.grid.cell_m, self.calibration.point_estimator
            )
        inflating_score = None
        if self.uses_retrieval and retrieval is not None and retrieval.match_scores is not None:
            match_score = inflating_score = match_score_near(retrieval, mean)
            if covariance.match_decay_m is not None:
                inflating_score = decayed_match_score(retrieval, mean, covariance.match_decay_m)
        anywhere_m2 = None if self.site is None else self.site.about(mean)
        calibrated = covariance.apply(cov, inflating_score, anywhere_m2)
        if self.calibration.covariance == ENSEMBLE_SPREAD:
            cov = ensemble_spread_covariance(outputs.member_means_enu_m)
            unknown = np.full(len(outputs), np.nan)
            return Posterior(mean, cov, calibrated, grid_probs, match_score, unknown, unknown)
        radii = (covariance.radius_m(calibrated, level) for level in (90, 95))
        return Posterior(mean, calibrated, calibrated, grid_probs, match_score, *radii)


def mixture_moments(means_enu_m: np.ndarray, covs_enu_m2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Members' means (..., M, 2) and covariances (..., M, 2, 2) -> mean (..., 2) and covariance (..., 2, 2).

    The mean of the means (paper, section 3.4, Ensemble); the law of total variance for the covariance: the mean of the
    covariances plus the spread of the means, unbiased over M. One member alone has no spread.
    """
    means = np.asarray(means_enu_m, dtype=np.float64)
    mean = means.mean(axis=-2)
    cov = np.asarray(covs_enu_m2, dtype=np.float64).mean(axis=-3)
    return mean, cov + sample_covariance(means)


def sample_covariance(means_enu_m: np.ndarray) -> np.ndarray:
    """Members' means (..., M, 2) -> their sample covariance (..., 2, 2), unbiased over M; zero for one member."""
    means = np.asarray(means_enu_m, dtype=np.float64)
    deviations = means - means.mean(axis=-2, keepdims=True)
    return np.swapaxes(deviations, -1, -2) @ deviations / max(means.shape[-2] - 1, 1)


def ensemble_spread_covariance(means_enu_m: np.ndarray) -> np.ndarray:
    """Members' means (..., M, 2) -> their sample covariance plus MIN_FLOOR_SIGMA_M an axis, (..., 2, 2).

    Nothing in it is fitted. Without the floor, members that agree would be certain, and a filter would snap to them.
    """
    return sample_covariance(means_enu_m) + MIN_FLOOR_SIGMA_M**2 * np.eye(2)


def ensemble_spread_m(means_enu_m: np.ndarray) -> np.ndarray:
    """Root mean square distance (...,) in metres of the members (..., M, 2) from their mean."""
    means = np.asarray(means_enu_m, dtype=np.float64)
    deviations = means - means.mean(axis=-2, keepdims=True)
    return np.sqrt((deviations**2).sum(axis=-1).mean(axis=-1))


def _select(chosen: np.ndarray, yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    """Rows of `yes` where chosen (N,), else of `no`."""
    return np.where(chosen.reshape(-1, *[1] * (no.ndim - 1)), yes, no)
