"""Autocorrelation of a drive's errors: consecutive images share their error, but a filter takes them as independent.

N fixes whose errors are correlated by rho(lag) are worth N / (1 + 2 sum rho) independent ones; a filter that takes
each as independent must be given covariances larger by that factor, or fewer fixes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import correlate

MIN_FIXES = 20


@dataclass(frozen=True)
class AutocorrelationMetrics:
    """Of the errors of fixes in the order of time; None for fewer than MIN_FIXES of them.

    `interval_s` is the median time between fixes, `lag1` the correlation from one to the next, `inflation` the factor
    on the covariance if every fix is taken, `n_effective` the number of independent fixes with the same information.
    `max_rate_hz` takes no more than one fix in each `decorrelation_s`, after which the correlation is below 1 / e, and
    `inflation_at_max_rate` is the factor that is left then.
    """

    n_fixes: int
    interval_s: float | None = None
    lag1: float | None = None
    inflation: float | None = None
    n_effective: float | None = None
    decorrelation_s: float | None = None
    max_rate_hz: float | None = None
    inflation_at_max_rate: float | None = None


def autocorrelation(offsets_m: np.ndarray) -> np.ndarray:
    """Errors (N, 2) metres in the order of time -> correlation (N,) by lag in fixes, of both axes together.

    The mean is not subtracted, because a fix is stated to have none: an offset that lasts the whole drive is an error
    that every fix shares. Sums of fewer and fewer products are divided by the same N, which keeps far lags quiet.
    """
    offsets = np.asarray(offsets_m, dtype=np.float64)
    sums = sum(correlate(axis, axis)[len(axis) - 1 :] for axis in offsets.T)
    return sums / sums[0] if sums[0] > 0.0 else np.append(1.0, np.zeros(len(sums) - 1))


def summed_lags(correlation: np.ndarray) -> int:
    """How many lags of a correlation (L,) are more than noise: up to where that of two neighbours is not positive.

    Sums of such pairs are positive in a reversible process (initial positive sequence, Geyer, Statistical Science
    7, 1992, section 3.3).
    """
    even = len(correlation) // 2 * 2
    noise = np.flatnonzero(correlation[:even].reshape(-1, 2).sum(axis=1) <= 0.0)
    return 2 * int(noise[0]) if len(noise) else even


def inflation(correlation: np.ndarray) -> float:
    """1 + 2 sum rho over the `summed_lags` from 1, not below 1, of a correlation (L,) by lag."""
    return max(1.0, float(2.0 * correlation[: summed_lags(correlation)].sum() - 1.0))


def decorrelation_lag(correlation: np.ndarray) -> int | None:
    """The first lag whose correlation is below 1 / e; None where there is none."""
    below = np.flatnonzero(correlation < np.exp(-1.0))
    return int(below[0]) if len(below) else None


def autocorrelation_metrics(times_s: np.ndarray, offsets_m: np.ndarray) -> AutocorrelationMetrics:
    """Of fixes at ascending times (N,) seconds with errors (N, 2) metres; lags are counted in fixes."""
    count = len(times_s)
    if count < MIN_FIXES:
        return AutocorrelationMetrics(count)
    correlation, interval_s = autocorrelation(offsets_m), float(np.median(np.diff(times_s)))
    factor, lag = inflation(correlation), decorrelation_lag(correlation)
    metrics = AutocorrelationMetrics(count, interval_s, float(correlation[1]), factor, count / factor)
    if lag is None or interval_s <= 0.0:
        return metrics
    return replace(
        metrics,
        decorrelation_s=lag * interval_s,
        max_rate_hz=1.0 / (lag * interval_s),
        inflation_at_max_rate=inflation(correlation[::lag]),
    )
