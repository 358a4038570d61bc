"""Errors and the paper's tables: numpy in, plain numbers out.

Each `*_figures` function gives a flat dict; `x_low` and `x_high` beside `x` are its 95 % interval, None where there
are too few blocks of photos for one (see `bootstrap`).
"""

from __future__ import annotations

import numpy as np

from training.metrics.bootstrap import BlockBootstrap, Interval

Figures = dict[str, float | int | None]

THRESHOLDS_M = (5, 10, 15, 20)  # paper, table 2


def position_errors_m(predicted_enu_m: np.ndarray, truth_enu_m: np.ndarray) -> np.ndarray:
    """(N, 2) and (N, 2) metres -> distances (N,) metres (paper, section 4.2); NaN where there is no position."""
    offset = np.asarray(predicted_enu_m, dtype=np.float64) - np.asarray(truth_enu_m, dtype=np.float64)
    return np.hypot(offset[:, 0], offset[:, 1])


def error_figures(errors_m: np.ndarray, blocks: np.ndarray) -> Figures:
    """Mean, median, 90th percentile and maximum error, and the paper's table 2, of errors (N,) in blocks (N,).

    A photo without a position (NaN) has no distance: it is left out of the mean and the quantiles, counted in
    `n_without_position`, and stands beyond the last threshold, so that the table's counts add up to n_photos.
    """
    errors_m = np.asarray(errors_m, dtype=np.float64)
    known = np.isfinite(errors_m)
    everything = BlockBootstrap(blocks)
    of_known = everything if known.all() else BlockBootstrap(np.asarray(blocks)[known])
    figures: Figures = {"n_photos": len(errors_m), "n_without_position": int((~known).sum())}
    return figures | _distance_figures(errors_m[known], of_known) | _table(errors_m, everything)


def _distance_figures(errors_m: np.ndarray, bootstrap: BlockBootstrap) -> Figures:
    figures: Figures = {"n_blocks": bootstrap.n_blocks}
    if len(errors_m):
        figures |= with_interval("mean_error_m", errors_m.mean(), bootstrap.interval(bootstrap.means(errors_m)))
        for name, quantile in (("median_error_m", 0.5), ("p90_error_m", 0.9)):
            interval = bootstrap.interval(bootstrap.quantiles(errors_m, quantile))
            figures |= with_interval(name, np.quantile(errors_m, quantile), interval)
        return figures | {"max_error_m": float(errors_m.max())}
    for name in ("mean_error_m", "median_error_m", "p90_error_m"):
        figures |= with_interval(name, np.nan, (np.nan, np.nan))
    return figures | {"max_error_m": None}


def _table(errors_m: np.ndarray, bootstrap: BlockBootstrap) -> Figures:
    rows = [(f"within_{threshold}m", errors_m <= threshold) for threshold in THRESHOLDS_M]
    rows.append((f"beyond_{THRESHOLDS_M[-1]}m", ~(errors_m <= THRESHOLDS_M[-1])))  # NaN is beyond
    figures: Figures = {}
    for name, flags in rows:
        figures |= {f"{name}_count": int(flags.sum())} | share_figures(f"{name}_share", flags, bootstrap)
    return figures


def share_figures(name: str, flags: np.ndarray, bootstrap: BlockBootstrap) -> Figures:
    """Share of true flags (N,) with its interval."""
    if not len(flags):
        return with_interval(name, np.nan, (np.nan, np.nan))
    return with_interval(name, np.mean(flags), bootstrap.share_interval(flags))


def ratio_figures(name: str, errors_m: np.ndarray, baseline_m: np.ndarray, blocks: np.ndarray) -> Figures:
    """Our mean error over a baseline's, on the photos where both have one; the interval is of paired draws."""
    both = np.isfinite(errors_m) & np.isfinite(baseline_m)
    if not both.any() or baseline_m[both].sum() <= 0.0:
        return with_interval(name, np.nan, (np.nan, np.nan))
    ours, theirs, bootstrap = errors_m[both], baseline_m[both], BlockBootstrap(blocks[both])
    with np.errstate(divide="ignore", invalid="ignore"):  # draws in which the baseline never errs
        interval = bootstrap.interval(bootstrap.ratios(ours, theirs))
    return with_interval(name, ours.mean() / theirs.mean(), interval)


def with_interval(name: str, value: float, interval: Interval) -> Figures:
    """{name, name_low, name_high} as plain floats, None for what is not finite (JSON has no NaN)."""
    values = {name: value, f"{name}_low": interval[0], f"{name}_high": interval[1]}
    return {key: float(number) if np.isfinite(number) else None for key, number in values.items()}
