"""Scale and floor of a covariance, fitted to errors for likelihood and coverage together.

Of any covariance that was claimed before the truth was known: of single images, with their match scores and the site's
bound, or of tracked positions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import optimize, special

from campus_visual_gps.estimation.calibration import MIN_FLOOR_SIGMA_M, CovarianceCalibration, sigma_m
from training.metrics.consistency import gaussian_nll, nees

LEVEL = 0.95
# Share of the held-out photos that the 95 % ellipses are to hold.
COVERAGE = LEVEL
# Quantile of the held-out photos' match scores that becomes `reference_match_score`.
REFERENCE_MATCH_QUANTILE = 0.95
_MAX_WIDENING = np.log(1e4)


def fit_covariance(
    errors_m: np.ndarray,
    covs_m2: np.ndarray,
    match_score: np.ndarray | None = None,
    anywhere_m2: np.ndarray | None = None,
    coverage: float | None = COVERAGE,
    reference_match_score: float | None = None,
) -> CovarianceCalibration:
    """Minimises the mean NLL of the errors, then widens scale and floor by one factor until the ellipses hold.

    With match scores, sigma of a photo that matches no reference photo is inflated in inverse proportion to its score,
    by rule and not by fit: with each session of a campus held out in turn, an exponent that was fitted to the others
    was 0.4 to 0.5, and 0.2 for the one session that needed it most (docs/results.md).

    Args:
        errors_m: (N, 2) position minus truth.
        covs_m2: (N, 2, 2) as they were claimed; zero for points that claim nothing.
        match_score: (N,) of the reference photos near the positions, or None.
        anywhere_m2: (N, 2, 2) second moments of the site about the positions (SiteMoments.about); None fits without.
        coverage: Share of the errors that lie in the 95 % ellipses, at least; None leaves the likeliest covariance.
        reference_match_score: None takes the REFERENCE_MATCH_QUANTILE of the match scores.

    Returns:
        scale, floor, reference match score, bound, and conformal quantiles; its temperature is 1.
    """
    reference = reference_match_score
    if match_score is not None and reference is None:
        reference = float(np.quantile(match_score, REFERENCE_MATCH_QUANTILE))
    base = CovarianceCalibration(MIN_FLOOR_SIGMA_M, reference_match_score=reference, bounded=True)

    def claimed(calibration: CovarianceCalibration) -> np.ndarray:
        return calibration.apply(covs_m2, match_score, anywhere_m2)

    def loss(parameters: np.ndarray) -> float:
        return float(gaussian_nll(errors_m, claimed(_with(base, *parameters))).mean())

    likeliest = _with(base, *_minimum(loss, errors_m, covs_m2))

    def covered(calibration: CovarianceCalibration) -> bool:
        assert coverage is not None
        return conformal_quantile(nees(errors_m, claimed(calibration)), coverage) <= special.chdtri(2, 1.0 - LEVEL)

    fitted = likeliest if coverage is None else _widened(likeliest, covered)
    ratios = np.linalg.norm(errors_m, axis=1) / sigma_m(claimed(fitted))
    return replace(fitted, conformal_90=conformal_quantile(ratios, 0.90), conformal_95=conformal_quantile(ratios, 0.95))


def fit_scale_and_floor(
    errors_m: np.ndarray, covs_m2: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, float]:
    """Scale and floor (metres) under which errors (N, 2) are likeliest with covariances (N, 2, 2), and no more.

    `weights` (N,) say how often each error counts; None for once.
    """

    def loss(parameters: np.ndarray) -> float:
        own = _with(CovarianceCalibration(MIN_FLOOR_SIGMA_M), *parameters)
        return float(np.average(gaussian_nll(errors_m, own.apply(covs_m2)), weights=weights))

    likeliest = _with(CovarianceCalibration(MIN_FLOOR_SIGMA_M), *_minimum(loss, errors_m, covs_m2))
    return likeliest.scale, likeliest.floor_sigma_m


def _with(base: CovarianceCalibration, log_scale: float, log_floor: float) -> CovarianceCalibration:
    scale, floor_sigma_m = np.exp(np.clip([log_scale, log_floor], -7.0, 7.0))
    return replace(base, scale=float(scale), floor_sigma_m=float(max(floor_sigma_m, MIN_FLOOR_SIGMA_M)))


def _minimum(loss: Callable[[np.ndarray], float], errors_m: np.ndarray, covs_m2: np.ndarray) -> np.ndarray:
    """Logarithms of scale and floor of least loss; only a floor where nothing is claimed, as by points."""
    trace_m2 = float(np.trace(covs_m2, axis1=-2, axis2=-1).mean())
    error_m2 = float((errors_m**2).sum(axis=1).mean())
    if trace_m2 < 1e-6:
        found = optimize.minimize_scalar(
            lambda floor: loss(np.array([0.0, floor])), bounds=(0.0, 7.0), method="bounded"
        )
        return np.array([0.0, found.x])
    start_floor = np.log(max(np.sqrt(error_m2 / 4.0), MIN_FLOOR_SIGMA_M))
    starts = [(np.log(max(error_m2 / trace_m2, 1e-2) / 2.0), start_floor), (np.log(error_m2 / trace_m2 + 1e-2), 0.0)]
    return min((optimize.minimize(loss, start, method="Nelder-Mead") for start in starts), key=lambda one: one.fun).x


def _widened(
    calibration: CovarianceCalibration, covered: Callable[[CovarianceCalibration], bool]
) -> CovarianceCalibration:
    """With scale and floor^2 greater by the least factor, 1 or more, for which `covered` holds."""

    def wider(log_factor: float) -> CovarianceCalibration:
        factor = float(np.exp(log_factor))
        floor_sigma_m = calibration.floor_sigma_m * factor**0.5
        return replace(calibration, scale=calibration.scale * factor, floor_sigma_m=floor_sigma_m)

    if covered(calibration):
        return calibration
    low, high = 0.0, _MAX_WIDENING  # nobody is farther away than the bound: with one, more may not help
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if covered(wider(middle)) else (middle, high)
    return wider(high)


def conformal_quantile(scores: np.ndarray, level: float, weights: np.ndarray | None = None) -> float:
    """The quantile of scores (N,) that a new one stays below with probability `level` or more, if all are exchangeable.

    With N + 1 in the place of N (Vovk et al., Algorithmic Learning in a Random World, 2005, section 2.2). `weights`
    (N,) say how often each score counts, N being their sum; None for once.
    """
    order = np.argsort(scores, kind="stable")
    counted = np.cumsum(np.ones(len(scores)) if weights is None else np.asarray(weights)[order])
    rank = min(int(np.searchsorted(counted, (counted[-1] + 1.0) * level)), len(scores) - 1)
    return float(scores[order[rank]])
