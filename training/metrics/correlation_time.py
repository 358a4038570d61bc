"""For how long the errors of consecutive images stay alike: an exponential correlation time, from pairs of images.

The errors are taken in units of their own covariance, because that is what a filter weighs: the large errors of a few
uncertain images do not decide. The mean is not subtracted: an offset that lasts is an error that all images share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

# Errors beyond this many sigmas count as this many, in their direction: a wrong image or label must not decide.
CLIP_SIGMAS = 3.0
# Lags, by octaves: each counts as much as the next, however many pairs it has. Further apart, only offsets are alike.
LAG_EDGES_S = (0.1, 0.35, 0.71, 1.41, 2.83, 5.66, 11.3, 22.6, 45.3)
MIN_IMAGES, MIN_PAIRS = 30, 30
MIN_LAGS = 2
LIMITS_S = (0.1, 60.0)


@dataclass(frozen=True)
class CorrelationTime:
    """The fit, and what it was fitted to: mean lag (L,) seconds, correlation (L,) and number of pairs (L,) by lag."""

    correlation_time_s: float
    lags_s: tuple[float, ...]
    correlations: tuple[float, ...]
    pairs: tuple[int, ...]


def fit_correlation_time(
    sessions: Sequence[str] | np.ndarray, times_s: np.ndarray, offsets_m: np.ndarray, covs_m2: np.ndarray
) -> CorrelationTime | None:
    """Least squares of exp(-lag / tau) over the correlations by lag, of both axes together.

    tau is not below a third of the shortest lag with enough pairs: images that far apart cannot tell that errors
    are independent at shorter lags.

    Args:
        sessions: (N,) names; images of two sessions make no pair.
        times_s: (N,) capture times in seconds; images with NaN here or in their error are left out.
        offsets_m: (N, 2) errors.
        covs_m2: (N, 2, 2) covariances that were claimed for them.

    Returns:
        None for fewer than MIN_IMAGES images or MIN_LAGS lags with MIN_PAIRS pairs, or where all errors are zero.
    """
    known = np.isfinite(times_s) & np.isfinite(offsets_m).all(axis=1) & np.isfinite(covs_m2).all(axis=(1, 2))
    names, times_s = np.asarray(sessions, dtype=object)[known], np.asarray(times_s, dtype=np.float64)[known]
    whitened = clipped(whiten(offsets_m[known], covs_m2[known]))
    variance = float((whitened**2).mean()) if len(whitened) else 0.0
    if len(whitened) < MIN_IMAGES or variance <= 0.0:
        return None
    lags_s, products = _pairs(names, times_s, whitened)
    which = np.digitize(lags_s, LAG_EDGES_S)
    bins = [which == number for number in range(1, len(LAG_EDGES_S))]
    bins = [rows for rows in bins if rows.sum() >= MIN_PAIRS]
    if len(bins) < MIN_LAGS:
        return None
    lags = np.array([lags_s[rows].mean() for rows in bins])
    correlations = np.array([products[rows].mean() for rows in bins]) / variance

    def loss(log_time_s: float) -> float:
        return float(((correlations - np.exp(-lags / np.exp(log_time_s))) ** 2).sum())

    # one minimum lies in each of the stretches that a coarse search tells apart
    grid = np.linspace(math.log(LIMITS_S[0]), math.log(LIMITS_S[1]), 60)
    best = grid[np.argmin([loss(value) for value in grid])]
    step = grid[1] - grid[0]
    found = minimize_scalar(loss, bounds=(best - step, best + step), method="bounded")
    fitted_s = float(np.clip(np.exp(found.x), max(LIMITS_S[0], lags[0] / 3.0), LIMITS_S[1]))
    counts = tuple(int(rows.sum()) for rows in bins)
    return CorrelationTime(fitted_s, tuple(lags.tolist()), tuple(correlations.tolist()), counts)


def whiten(offsets_m: np.ndarray, covs_m2: np.ndarray) -> np.ndarray:
    """Errors (N, 2) times the inverse symmetric root of their covariances (N, 2, 2), which keeps their directions."""
    values, vectors = np.linalg.eigh(covs_m2)
    turned = np.einsum("nji,nj->ni", vectors, offsets_m)
    return np.einsum("nij,nj->ni", vectors, turned / np.sqrt(np.maximum(values, 1e-12)))


def clipped(whitened: np.ndarray) -> np.ndarray:
    """Whitened errors (N, 2), none longer than CLIP_SIGMAS."""
    length = np.linalg.norm(whitened, axis=1, keepdims=True)
    return whitened * np.minimum(1.0, CLIP_SIGMAS / np.maximum(length, CLIP_SIGMAS))


def _pairs(names: np.ndarray, times_s: np.ndarray, whitened: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lags and mean products of both axes of all pairs of one session that are near enough in time."""
    found = [
        pairs
        for name in sorted(set(names.tolist()), key=str)
        for pairs in _pairs_of_session(times_s[names == name], whitened[names == name])
    ]
    if not found:
        return np.empty(0), np.empty(0)
    lags_s, products = zip(*found, strict=True)
    return np.concatenate(lags_s), np.concatenate(products)


def _pairs_of_session(times_s: np.ndarray, whitened: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    order = np.argsort(times_s, kind="stable")
    times_s, whitened = times_s[order], whitened[order]
    for apart in range(1, len(times_s)):
        lags_s = times_s[apart:] - times_s[:-apart]
        near = lags_s < LAG_EDGES_S[-1]
        if not near.any():
            return
        yield lags_s[near], (whitened[apart:] * whitened[:-apart]).mean(axis=1)[near]
