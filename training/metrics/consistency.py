"""Is a claimed covariance true? NEES, coverage, likelihood, sharpness and what its ranking is worth.

A covariance is proven by several figures at once: NEES and coverage can be had with a sigma that is large everywhere,
which the likelihood and the median sigma tell, and with one that is the same everywhere, which the risk-coverage
curve tells (`risk_coverage`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import stats

from campus_visual_gps.estimation.posterior import sigma_m
from training.metrics.bootstrap import CONFIDENCE, BlockBootstrap, Interval
from training.metrics.errors import Figures, share_figures, with_interval
from training.metrics.risk_coverage import risk_figures

COVERAGE_LEVELS = (0.50, 0.90, 0.95)
IDEAL_NEES = 2.0


def nees(offsets_m: np.ndarray, covs_m2: np.ndarray) -> np.ndarray:
    """Normalised estimation error squared: e' P^-1 e for offsets (N, 2) and covariances (N, 2, 2) -> (N,).

    Its mean is 2 for a two-dimensional Gaussian whose covariance holds (Bar-Shalom, Li and Kirubarajan,
    Estimation with Applications to Tracking and Navigation, section 5.4); above 2 the covariance is too small.
    """
    offsets = np.asarray(offsets_m, dtype=np.float64)[..., None]
    return (offsets * np.linalg.solve(np.asarray(covs_m2, dtype=np.float64), offsets)).sum(axis=(1, 2))


def nees_interval(n_independent: int) -> Interval:
    """Where the mean NEES of so many independent errors lies with CONFIDENCE if the covariance holds.

    Their sum is then chi-square with 2 degrees of freedom each (Bar-Shalom et al., equation 5.4.2-7).
    """
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = stats.chi2.ppf([tail, 1.0 - tail], 2 * n_independent) / n_independent
    return (float(low), float(high))


def covered(nees_values: np.ndarray, level: float) -> np.ndarray:
    """Whether the truth lies in the ellipse that claims to hold it with probability `level`: (N,) bool.

    For two dimensions the chi-square quantile is -2 ln(1 - level).
    """
    return np.asarray(nees_values) <= -2.0 * np.log1p(-level)


def gaussian_nll(nees_values: np.ndarray, covs_m2: np.ndarray) -> np.ndarray:
    """Negative natural logarithm (N,) of the claimed Gaussian's density, in 1 / m^2, at the truth."""
    return 0.5 * nees_values + 0.5 * np.linalg.slogdet(covs_m2)[1] + np.log(2.0 * np.pi)


def usable(offsets_m: np.ndarray, covs_m2: np.ndarray) -> np.ndarray:
    """(N,) bool: there is a position, and a covariance that is finite and positive definite."""
    finite = np.isfinite(offsets_m).all(axis=1) & np.isfinite(covs_m2).all(axis=(1, 2))
    determinants = covs_m2[:, 0, 0] * covs_m2[:, 1, 1] - covs_m2[:, 0, 1] * covs_m2[:, 1, 0]
    return finite & (determinants > 0.0) & (covs_m2[:, 0, 0] > 0.0)


def consistency_figures(
    offsets_m: np.ndarray,
    covs_m2: np.ndarray,
    blocks: np.ndarray,
    radii_m: Mapping[int, np.ndarray] | None = None,
) -> Figures:
    """Figures of offsets (N, 2) with covariances (N, 2, 2) in blocks (N,); what is not `usable` is only counted.

    `nees_interval_low` and `_high` take the blocks as the number of independent errors, for photos of one stretch share
    their error; the band is the wider for it. radii_m: percent -> conformal radii (N,), where there are some.
    """
    known = usable(offsets_m, covs_m2)
    figures: Figures = {"n_without_covariance": int((~known).sum())}
    if not known.any():
        return figures | {"nees_mean": None, "nees_in_interval": None, "sigma_median_m": None}
    offsets, covs, bootstrap = offsets_m[known], covs_m2[known], BlockBootstrap(np.asarray(blocks)[known])
    figures |= _ellipse_figures(nees(offsets, covs), covs, bootstrap)
    errors_m = np.hypot(*offsets.T)
    figures |= risk_figures(sigma_m(covs), errors_m, bootstrap)
    for percent, radii in (radii_m or {}).items():
        figures |= _conformal_figures(percent, radii[known], errors_m, np.asarray(blocks)[known])
    return figures


def _ellipse_figures(values: np.ndarray, covs_m2: np.ndarray, bootstrap: BlockBootstrap) -> Figures:
    figures = with_interval("nees_mean", values.mean(), bootstrap.interval(bootstrap.means(values)))
    low, high = nees_interval(bootstrap.n_blocks)
    in_band = bool(low <= values.mean() <= high)
    figures |= {"nees_interval_low": low, "nees_interval_high": high, "nees_in_interval": in_band}
    for level in COVERAGE_LEVELS:
        figures |= share_figures(f"coverage_{level * 100:.0f}_share", covered(values, level), bootstrap)
    nll = gaussian_nll(values, covs_m2)
    figures |= with_interval("nll_mean", nll.mean(), bootstrap.interval(bootstrap.means(nll)))
    return figures | {"sigma_median_m": float(np.median(sigma_m(covs_m2)))}


def _conformal_figures(percent: int, radii_m: np.ndarray, errors_m: np.ndarray, blocks: np.ndarray) -> Figures:
    """Share of truths within the circle that is to hold that many percent, and the circle's median radius."""
    known = np.isfinite(radii_m)
    inside = errors_m[known] <= radii_m[known]
    median_m = float(np.median(radii_m[known])) if known.any() else None
    shares = share_figures(f"conformal_{percent}_share", inside, BlockBootstrap(blocks[known]))
    return shares | {f"conformal_{percent}_radius_median_m": median_m}
