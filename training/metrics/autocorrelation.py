"""How long the errors of a drive remember: consecutive frames err together, and a filter takes them as independent.

N fixes whose errors are correlated by rho(lag) are worth N / (1 + 2 sum rho) independent ones; a filter that takes
each as independent must be given covariances larger by that factor, or fewer fixes.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import correlate

from training.metrics.errors import Figures

MIN_FIXES = 20
_KEYS = ("lag1", "inflation", "n_effective", "decorrelation_s", "max_rate_hz", "inflation_at_max_rate")


def autocorrelation(offsets_m: np.ndarray) -> np.ndarray:
    """Errors (N, 2) metres in the order of time -> correlation (N,) by lag in frames, of both axes together.

    No mean is taken off, for the fix claims to have none: an offset that lasts the whole drive is an error that
    every frame shares. Sums of fewer and fewer products are divided by the same N, which keeps far lags quiet.
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


def autocorrelation_figures(times_s: np.ndarray, offsets_m: np.ndarray) -> Figures:
    """Figures of fixes at ascending times (N,) seconds with errors (N, 2) metres; None for under MIN_FIXES of them.

    Lags are counted in fixes and told in seconds by their median interval, `autocorrelation.interval_s`.
    `max_rate_hz` takes no more than one fix in each `decorrelation_s`, after which rho is below 1 / e, and
    `inflation_at_max_rate` is what these still call for.
    """
    figures: Figures = {"autocorrelation.n_fixes": len(times_s)}
    values: dict[str, float | None] = dict.fromkeys(("interval_s", *_KEYS))
    if len(times_s) >= MIN_FIXES:
        correlation, interval_s = autocorrelation(offsets_m), float(np.median(np.diff(times_s)))
        factor, lag = inflation(correlation), decorrelation_lag(correlation)
        values |= {"interval_s": interval_s, "lag1": float(correlation[1])}
        values |= {"inflation": factor, "n_effective": len(times_s) / factor}
        if lag is not None and interval_s > 0.0:
            values |= {"decorrelation_s": lag * interval_s, "max_rate_hz": 1.0 / (lag * interval_s)}
            values["inflation_at_max_rate"] = inflation(correlation[::lag])
    return figures | {f"autocorrelation.{name}": value for name, value in values.items()}
