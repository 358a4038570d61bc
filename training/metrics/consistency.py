"""Does a covariance agree with the errors? NEES, ellipse coverage, likelihood and sharpness.

Several numbers together answer that: NEES and coverage can be had with a sigma that is large everywhere, which the
likelihood and the median sigma show, and with one that is the same everywhere, which the risk-coverage curve shows
(`risk_coverage`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from campus_visual_gps.estimation.calibration import sigma_m
from training.metrics.bootstrap import CONFIDENCE, BlockBootstrap, Interval
from training.metrics.errors import share_of
from training.metrics.estimate import UNKNOWN, Estimate
from training.metrics.risk_coverage import RiskCoverageMetrics, risk_coverage_metrics

COVERAGE_PERCENT = (50, 90, 95)
IDEAL_NEES = 2.0


@dataclass(frozen=True)
class ConformalMetrics:
    """Share of truths within the conformal circle of one level, and the circles' median radius."""

    share: Estimate
    radius_median_m: float | None


@dataclass(frozen=True)
class ConsistencyMetrics:
    """How the covariances of a group of photos agree with their errors; unknown where no photo has a covariance.

    `nees_interval` is where the mean NEES lies with 95 % if the covariance is right, and `nees_in_interval` whether
    it does. `coverage`: percent -> share of truths within the ellipse of that probability. `nll_mean`: mean negative
    natural logarithm of the density in 1 / m^2 at the truth, and `grid_nll_mean` that by the grid itself (grid_nll.py).
    `conformal`: percent -> circles of that level.
    """

    n_without_covariance: int
    nees_mean: Estimate = UNKNOWN
    nees_interval: Interval | None = None
    nees_in_interval: bool | None = None
    coverage: dict[int, Estimate] = field(default_factory=dict)
    nll_mean: Estimate = UNKNOWN
    grid_nll_mean: Estimate = UNKNOWN
    sigma_median_m: float | None = None
    risk_coverage: RiskCoverageMetrics = field(default_factory=RiskCoverageMetrics)
    conformal: dict[int, ConformalMetrics] = field(default_factory=dict)


def nees(offsets_m: np.ndarray, covs_m2: np.ndarray) -> np.ndarray:
    """Normalised estimation error squared: e' P^-1 e for offsets (N, 2) and covariances (N, 2, 2) -> (N,).

    Its mean is 2 for a two-dimensional Gaussian whose covariance holds (Bar-Shalom, Li and Kirubarajan,
    Estimation with Applications to Tracking and Navigation, section 5.4); above 2 the covariance is too small.
    """
    offsets = np.asarray(offsets_m, dtype=np.float64)[..., None]
    return (offsets * np.linalg.solve(np.asarray(covs_m2, dtype=np.float64), offsets)).sum(axis=(1, 2))


def gaussian_nll(offsets_m: np.ndarray, covs_m2: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of offsets (N, 2) under N(0, P), P (N, 2, 2) -> (N,), natural logarithm.

    0.5 e' P^-1 e + 0.5 ln det P + ln 2 pi: the density is in 1 / m^2.
    """
    return 0.5 * nees(offsets_m, covs_m2) + 0.5 * np.linalg.slogdet(covs_m2)[1] + np.log(2.0 * np.pi)


def nees_interval(n_independent: int) -> Interval:
    """Where the mean NEES of so many independent errors lies with CONFIDENCE if the covariance holds.

    Their sum is then chi-square with 2 degrees of freedom each (Bar-Shalom et al., equation 5.4.2-7).
    """
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = stats.chi2.ppf([tail, 1.0 - tail], 2 * n_independent) / n_independent
    return (float(low), float(high))


def covered(nees_values: np.ndarray, level: float) -> np.ndarray:
    """Whether the truth lies in the ellipse of probability `level`, of NEES values (N,): (N,) bool.

    For two dimensions the chi-square quantile is -2 ln(1 - level).
    """
    return np.asarray(nees_values) <= -2.0 * np.log1p(-level)


def usable(offsets_m: np.ndarray, covs_m2: np.ndarray) -> np.ndarray:
    """(N,) bool: there is a position, and a covariance that is finite and positive definite."""
    finite = np.isfinite(offsets_m).all(axis=1) & np.isfinite(covs_m2).all(axis=(1, 2))
    determinants = covs_m2[:, 0, 0] * covs_m2[:, 1, 1] - covs_m2[:, 0, 1] * covs_m2[:, 1, 0]
    return finite & (determinants > 0.0) & (covs_m2[:, 0, 0] > 0.0)


def consistency_metrics(
    offsets_m: np.ndarray,
    covs_m2: np.ndarray,
    blocks: np.ndarray,
    radii_m: Mapping[int, np.ndarray] | None = None,
    grid_nll: np.ndarray | None = None,
) -> ConsistencyMetrics:
    """Consistency of covariances with errors; photos that are not `usable` are only counted.

    The NEES interval takes the blocks as the number of independent errors, because photos of one stretch share
    their error; the interval is the wider for it.

    Args:
        offsets_m: (N, 2) errors east and north, metres.
        covs_m2: (N, 2, 2) covariances, square metres.
        blocks: (N,) labels of the stretches that are drawn for the intervals.
        radii_m: percent -> conformal radii (N,), metres, where there are some.
        grid_nll: (N,) nats by the grids that the covariances were made of, where there are some.
    """
    known = usable(offsets_m, covs_m2)
    n_without = int((~known).sum())
    if not known.any():
        return ConsistencyMetrics(n_without)
    offsets, covs, blocks = offsets_m[known], covs_m2[known], np.asarray(blocks)[known]
    bootstrap, errors_m = BlockBootstrap(blocks), np.hypot(*offsets.T)
    values, nll = nees(offsets, covs), gaussian_nll(offsets, covs)
    low, high = nees_interval(bootstrap.n_blocks)
    return ConsistencyMetrics(
        n_without_covariance=n_without,
        nees_mean=Estimate.of(values.mean(), bootstrap.interval(bootstrap.means(values))),
        nees_interval=(low, high),
        nees_in_interval=bool(low <= values.mean() <= high),
        coverage={percent: share_of(covered(values, percent / 100.0), bootstrap) for percent in COVERAGE_PERCENT},
        nll_mean=Estimate.of(nll.mean(), bootstrap.interval(bootstrap.means(nll))),
        grid_nll_mean=UNKNOWN if grid_nll is None else _known_mean(grid_nll[known], blocks),
        sigma_median_m=float(np.median(sigma_m(covs))),
        risk_coverage=risk_coverage_metrics(sigma_m(covs), errors_m, bootstrap),
        conformal={
            percent: _conformal_metrics(radii[known], errors_m, blocks) for percent, radii in (radii_m or {}).items()
        },
    )


def _known_mean(values: np.ndarray, blocks: np.ndarray) -> Estimate:
    known = np.isfinite(values)
    if not known.any():
        return UNKNOWN
    bootstrap = BlockBootstrap(blocks[known])
    return Estimate.of(values[known].mean(), bootstrap.interval(bootstrap.means(values[known])))


def _conformal_metrics(radii_m: np.ndarray, errors_m: np.ndarray, blocks: np.ndarray) -> ConformalMetrics:
    known = np.isfinite(radii_m)
    share = share_of(errors_m[known] <= radii_m[known], BlockBootstrap(blocks[known]))
    return ConformalMetrics(share, float(np.median(radii_m[known])) if known.any() else None)
