"""The calibration of a bundle, fitted on photos that its networks have not seen.

Whole sessions are held out: neighbouring photos of one walk share a position and a label, and a covariance that was
fitted on them is too small on the next day.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from scipy import optimize, stats

from campus_visual_gps.estimation.calibration import (
    CALIBRATED,
    ENSEMBLE_SPREAD,
    MIN_FLOOR_SIGMA_M,
    Calibration,
    CovarianceCalibration,
)
from campus_visual_gps.estimation.grid import GEOMETRIC_MEDIAN
from campus_visual_gps.estimation.posterior import Posterior, PosteriorEstimator, mixture_moments
from campus_visual_gps.retrieval.prior import RetrievalPriorConfig, decayed_match_score
from training.fit.calibration_numbers import before_and_after, covariance_numbers, offsets_and_covs
from training.fit.calibration_set import CalibrationSet, concatenated
from training.fit.covariance_fit import COVERAGE, REFERENCE_MATCH_QUANTILE, fit_covariance
from training.fit.error_correlation import with_correlation_time
from training.fit.withheld_spots import withheld_spots
from training.metrics.consistency import gaussian_nll

log = logging.getLogger(__name__)

# Fewer photos cannot tell a scale from a floor.
MIN_PHOTOS = 30
# A label's own error, metres: what the mass of a grid is smeared by before it is asked how likely the label was.
LABEL_SIGMA_M = 7.0
# A label far outside of the grid is as unlikely as one at seven sigma, and no more: it must not decide alone.
MIN_LIKELIHOOD = float(np.exp(-0.5 * 7.0**2))
TEMPERATURES = (0.2, 10.0)
# Point and covariance are taken from a sharper grid, at so much of the temperature that makes the labels likeliest:
# that one keeps mass on cells far away in case the label is there, and a second moment counts it by the square of the
# distance. The other is how far away a photo's match score counts. docs/results.md says what both are worth.
POINT_TEMPERATURE_FACTOR = 0.8
MATCH_DECAY_M = 30.0
PRIOR_WEIGHTS = (1.0, 5.0)
PRIOR_BANDWIDTHS_M = (6.0, 12.0)
PRIOR_TEMPERATURES = (0.12,)
NULL_SIMILARITIES = (-1.0, 0.2)
MATCH_EXPONENTS = (0.0, 3.0)
# Night and day are told apart by the image's brightness; if that is right less often, they are not told apart at all.
MIN_LIGHT_ACCURACY = 0.9
SIGNIFICANCE = 0.05


def fit_calibration(
    sets: Sequence[CalibrationSet], point_estimator: str = GEOMETRIC_MEDIAN, retrieval_prior: bool = False
) -> Calibration:
    """Retrieval prior, temperature, scale, floor and conformal quantiles, with the numbers that justify them.

    All by likelihood; night and day apart only if a likelihood ratio test calls for it. With a retrieval prior, scale,
    floor and quantiles are also those of spots that have not been seen (withheld_spots.py); `measured` is of the photos
    as they are. With fewer than MIN_PHOTOS photos only the floor is measured.

    Args:
        sets: Held-out photos; one set per ensemble.
        point_estimator: How a position is taken from a grid.
        retrieval_prior: Whether to fit a retrieval prior, which is kept if it makes the labels likelier.
    """
    photos = sum(map(len, sets))
    if photos < MIN_PHOTOS:
        log.warning("%d held-out photos are too few for a calibration: only the floor is measured", photos)
        return replace(fit_floor(sets), point_estimator=point_estimator)
    searched = sets[0].grid is not None and all(own.retrieval is not None for own in sets)
    prior = fit_retrieval_prior(sets) if retrieval_prior and searched else None
    withheld = [] if prior is None else withheld_spots(sets)
    base = Calibration(MIN_FLOOR_SIGMA_M, point_estimator=point_estimator, retrieval_prior=prior)
    fitted = base.with_covariance(fit_covariance_of_sets(sets, base, withheld=withheld))
    measured = {
        "photos": photos,
        "withheld_spots": sum(map(len, withheld)),
        "sessions": sorted({str(session) for own in sets for session in own.sessions}),
        **before_and_after(sets, base, fitted),
        **covariance_numbers(sets, ENSEMBLE_SPREAD, replace(fitted, covariance=ENSEMBLE_SPREAD)),
    }
    by_light, light_test = _fit_lights(sets, withheld, base, fitted)
    return with_correlation_time(replace(by_light or fitted, measured={**measured, **light_test}), sets)


def fit_floor(sets: Sequence[CalibrationSet]) -> Calibration:
    """Calibration with the floor alone.

    The floor is what the members' own covariance leaves unexplained of the squared error, per axis:
    E[e' e] = tr(P) + 2 floor^2. Second moments rather than a robust fit: an EKF pays for the outliers.
    """
    means, covs = (
        concatenated(sets, lambda own: own.outputs.member_means_enu_m),
        concatenated(sets, lambda own: own.outputs.member_covs_enu_m2),
    )
    mean, cov = mixture_moments(means, covs)
    squared_error_m2 = ((mean - concatenated(sets, lambda own: own.truth_enu_m)) ** 2).sum(axis=-1)
    claimed_m2 = np.trace(cov, axis1=-2, axis2=-1)
    unexplained_m2 = float((squared_error_m2 - claimed_m2).mean()) / 2.0
    return Calibration(floor_sigma_m=float(np.sqrt(max(unexplained_m2, MIN_FLOOR_SIGMA_M**2))))


def fit_covariance_of_sets(
    sets: Sequence[CalibrationSet],
    base: Calibration,
    before: CovarianceCalibration | None = None,
    coverage: float | None = COVERAGE,
    withheld: Sequence[CalibrationSet] = (),
) -> CovarianceCalibration:
    """Temperatures of the grid unless they are given; scale, floor and conformal quantiles of `fit_covariance`.

    Args:
        sets: Held-out photos.
        base: Point estimator and retrieval prior.
        before: Its temperatures, and with them the positions, stay; None fits them.
        coverage: Of `fit_covariance`. Of a single stretch, the tail is the error of one spot: None does not ask for it.
        withheld: Photos that count for scale, floor and quantiles alone.
    """
    base = replace(base, covariance=CALIBRATED)
    raw = CovarianceCalibration(MIN_FLOOR_SIGMA_M)
    if before is not None:
        raw = replace(raw, temperature=before.temperature, point_temperature=before.point_temperature)
    elif sets[0].grid is not None:
        likeliest = GridLikelihood(sets).best_temperature(base.retrieval_prior)[0]
        raw = replace(raw, temperature=likeliest, point_temperature=POINT_TEMPERATURE_FACTOR * likeliest)
    counted = [*sets, *withheld]
    posteriors = [own.posterior(base.with_covariance(raw)) for own in counted]
    pairs = list(zip(counted, posteriors, strict=True))
    errors_m = np.concatenate([found.mean_enu_m - own.truth_enu_m for own, found in pairs])
    covs_m2 = np.concatenate([found.cov_enu_m2 for found in posteriors]) - MIN_FLOOR_SIGMA_M**2 * np.eye(2)
    match_score, reference = None, None
    if base.uses_retrieval:
        match_score = np.concatenate([_inflating_score(own, found) for own, found in pairs])
        # of the scores within the radius, as the tracker counts an image by them in proportion to it
        near = np.concatenate([found.match_score for found in posteriors[: len(sets)]])
        reference = float(np.quantile(near, REFERENCE_MATCH_QUANTILE))
    anywhere = [own.site.about(found.mean_enu_m) for own, found in pairs if own.site is not None]
    anywhere_m2 = np.concatenate(anywhere) if len(anywhere) == len(counted) else None
    fitted = fit_covariance(errors_m, covs_m2, match_score, anywhere_m2, coverage, reference)
    decay_m = None if match_score is None else MATCH_DECAY_M
    fitted = replace(fitted, match_decay_m=decay_m)
    return replace(fitted, temperature=raw.temperature, point_temperature=raw.point_temperature)


def _inflating_score(own: CalibrationSet, posterior: Posterior) -> np.ndarray:
    """(N,) the match score that inflates the covariance."""
    if own.retrieval is None:
        raise ValueError("a retrieval prior was fitted without retrieval")
    return decayed_match_score(own.retrieval, posterior.mean_enu_m, MATCH_DECAY_M)


def fit_retrieval_prior(sets: Sequence[CalibrationSet]) -> RetrievalPriorConfig | None:
    """The retrieval prior under which the labels are likeliest; None if none helps.

    Each choice is judged at its own best temperature: what sharpens a grid must not win by that alone.
    """
    likelihood = GridLikelihood(sets)
    scores = [own.retrieval.match_scores for own in sets if own.retrieval is not None]
    known = np.concatenate([own.ravel() for own in scores if own is not None])
    typical = round(float(np.exp(np.log(known).mean())), 4)
    best, best_loss = None, likelihood.best_temperature(None)[1]
    choices = product(PRIOR_BANDWIDTHS_M, PRIOR_TEMPERATURES, NULL_SIMILARITIES, MATCH_EXPONENTS, PRIOR_WEIGHTS)
    for bandwidth_m, temperature, null_similarity, exponent, weight in choices:
        candidate = RetrievalPriorConfig(weight, bandwidth_m, temperature, null_similarity, exponent, typical)
        loss = likelihood.best_temperature(candidate)[1]
        if loss < best_loss:
            best, best_loss = candidate, loss
    return best


class GridLikelihood:
    """How likely the labels of held-out photos are under their grids, with a retrieval prior or without."""

    def __init__(self, sets: Sequence[CalibrationSet]):
        self._sets = sets
        self._kernels = [label_kernel(own.grid.centres_enu_m, own.truth_enu_m) for own in sets if own.grid is not None]

    def best_temperature(self, prior: RetrievalPriorConfig | None) -> tuple[float, float]:
        """The likeliest temperature, and the mean negative log likelihood there."""
        calibration = Calibration(MIN_FLOOR_SIGMA_M, retrieval_prior=prior)
        pooled = [
            PosteriorEstimator(calibration, own.grid).pooled_grid(own.outputs, own.retrieval) for own in self._sets
        ]
        with np.errstate(divide="ignore"):
            logs = [np.log(grid_probs).astype(np.float32) for grid_probs in pooled if grid_probs is not None]
        logs = [own - own.max(axis=1, keepdims=True) for own in logs]

        def loss(log_temperature: float) -> float:
            powers = [np.exp(own * np.float32(1.0 / np.exp(log_temperature))) for own in logs]
            shares = [
                (power * kernel).sum(axis=1) / power.sum(axis=1)
                for power, kernel in zip(powers, self._kernels, strict=True)
            ]
            return float(-np.log(np.concatenate(shares) + MIN_LIKELIHOOD).mean())

        found = optimize.minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 0.05})
        return float(np.exp(found.x)), float(found.fun)


def label_kernel(cells_enu_m: np.ndarray, truth_enu_m: np.ndarray) -> np.ndarray:
    """(N, K) float32: how much of a cell's mass a label (N, 2) metres is smeared over, at most 1."""
    squared_m2 = ((cells_enu_m - truth_enu_m[:, None, :]) ** 2).sum(axis=-1)
    return np.exp(-squared_m2 / (2.0 * LABEL_SIGMA_M**2)).astype(np.float32)


def _fit_lights(
    sets: Sequence[CalibrationSet], withheld: Sequence[CalibrationSet], base: Calibration, fitted: Calibration
) -> tuple[Calibration | None, dict[str, object]]:
    """A calibration with one covariance by day and another by night, if the data call for it; numbers of the test."""
    night = concatenated(sets, lambda own: own.night)
    counts = [int((night == light).sum()) for light in (0.0, 1.0)]
    if min(counts) < MIN_PHOTOS:
        return None, {"light": f"not tested: {counts[0]} photos by day, {counts[1]} by night"}
    threshold, accuracy = brightness_of_night(concatenated(sets, lambda own: own.brightness), night)
    by_light, withheld_by_light = ([_of_light(own, light) for light in (0.0, 1.0)] for own in (sets, withheld))
    covariances = [
        fit_covariance_of_sets(light, base, withheld=spots)
        for light, spots in zip(by_light, withheld_by_light, strict=True)
    ]
    apart = sum(
        _nll_sum(light, base.with_covariance(covariance))
        for light, covariance in zip(by_light, covariances, strict=True)
    )
    together = sum(_nll_sum(light, fitted) for light in by_light)
    # photos of one stretch of a walk are one observation, not many
    effective = sum(len(set(own.blocks.tolist())) for own in sets) / sum(map(len, sets))
    ratio, free = 2.0 * (together - apart) * effective, 3 if sets[0].grid is not None else 2
    limit = float(stats.chi2.ppf(1.0 - SIGNIFICANCE, free))
    separate = ratio > limit and accuracy >= MIN_LIGHT_ACCURACY
    measured: dict[str, object] = {
        "light_ratio": round(ratio, 2),
        "light_ratio_limit": round(limit, 2),
        "light_accuracy": round(accuracy, 3),
        "light": "apart" if separate else "together",
    }
    if not separate:
        return None, measured
    day, night_covariance = covariances
    return replace(base.with_covariance(day), night=night_covariance, night_brightness_threshold=threshold), measured


def _of_light(sets: Sequence[CalibrationSet], light: float) -> list[CalibrationSet]:
    """The photos of one light (1 for night), without sets that have none."""
    found = [own.rows(own.night == light) for own in sets]
    return [own for own in found if len(own)]


def brightness_of_night(brightness: np.ndarray, night: np.ndarray) -> tuple[float, float]:
    """The brightness below which it is night, and how often that is right (mean of both lights), of photos (N,)."""
    known = np.isfinite(night)
    brightness, is_night = brightness[known], night[known] == 1.0
    candidates = np.quantile(brightness, np.linspace(0.01, 0.99, 99))
    below = brightness[None, :] < candidates[:, None]
    right = 0.5 * (below[:, is_night].mean(axis=1) + (~below[:, ~is_night]).mean(axis=1))
    best = int(right.argmax())
    return round(float(candidates[best]), 2), float(right[best])


def _nll_sum(sets: Sequence[CalibrationSet], calibration: Calibration) -> float:
    return float(gaussian_nll(*offsets_and_covs(sets, calibration)).sum())
