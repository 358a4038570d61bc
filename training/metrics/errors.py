"""Distance errors and the paper's table 2 of them, with intervals from the block bootstrap (see `bootstrap`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.metrics.bootstrap import BlockBootstrap
from training.metrics.estimate import UNKNOWN, Estimate

THRESHOLDS_M = (5, 10, 15, 20)  # paper, table 2
CATASTROPHIC_M = 50  # paper, table 14


@dataclass(frozen=True)
class CountAndShare:
    """How many photos, and which share of all."""

    count: int
    share: Estimate


@dataclass(frozen=True)
class ErrorMetrics:
    """Distance errors of a group of photos.

    A photo without a position has no distance: it is left out of the mean and the quantiles, counted in
    `n_without_position`, and counts as beyond the last threshold, so that the table's counts add up to n_photos.
    `n_blocks` is the number of independent stretches that the intervals are drawn from; `within` has one entry for
    each of THRESHOLDS_M, `beyond` is beyond the last of them and `catastrophic` beyond CATASTROPHIC_M.
    """

    n_photos: int
    n_without_position: int
    n_blocks: int
    mean_error_m: Estimate
    median_error_m: Estimate
    p90_error_m: Estimate
    max_error_m: float | None
    within: dict[int, CountAndShare]
    beyond: CountAndShare
    catastrophic: CountAndShare


def position_errors_m(predicted_enu_m: np.ndarray, truth_enu_m: np.ndarray) -> np.ndarray:
    """(N, 2) and (N, 2) metres -> distances (N,) metres (paper, section 4.2); NaN where there is no position."""
    offset = np.asarray(predicted_enu_m, dtype=np.float64) - np.asarray(truth_enu_m, dtype=np.float64)
    return np.hypot(offset[:, 0], offset[:, 1])


def error_metrics(errors_m: np.ndarray, blocks: np.ndarray) -> ErrorMetrics:
    """Mean, median, 90th percentile and maximum error, and the paper's table 2.

    Args:
        errors_m: (N,) metres, NaN for a photo without a position.
        blocks: (N,) labels of the stretches that are drawn for the intervals.
    """
    errors_m = np.asarray(errors_m, dtype=np.float64)
    known = np.isfinite(errors_m)
    everything = BlockBootstrap(blocks)
    of_known = everything if known.all() else BlockBootstrap(np.asarray(blocks)[known])
    distances_m, last_m = errors_m[known], THRESHOLDS_M[-1]
    return ErrorMetrics(
        n_photos=len(errors_m),
        n_without_position=int((~known).sum()),
        n_blocks=of_known.n_blocks,
        mean_error_m=_mean(distances_m, of_known),
        median_error_m=_quantile(distances_m, 0.5, of_known),
        p90_error_m=_quantile(distances_m, 0.9, of_known),
        max_error_m=float(distances_m.max()) if len(distances_m) else None,
        within={threshold: _count_and_share(errors_m <= threshold, everything) for threshold in THRESHOLDS_M},
        beyond=_count_and_share(~(errors_m <= last_m), everything),  # NaN is beyond
        catastrophic=_count_and_share(~(errors_m <= CATASTROPHIC_M), everything),
    )


def _mean(distances_m: np.ndarray, bootstrap: BlockBootstrap) -> Estimate:
    if not len(distances_m):
        return UNKNOWN
    return Estimate.of(distances_m.mean(), bootstrap.interval(bootstrap.means(distances_m)))


def _quantile(distances_m: np.ndarray, quantile: float, bootstrap: BlockBootstrap) -> Estimate:
    if not len(distances_m):
        return UNKNOWN
    value = float(np.quantile(distances_m, quantile))
    return Estimate.of(value, bootstrap.interval(bootstrap.quantiles(distances_m, quantile)))


def _count_and_share(flags: np.ndarray, bootstrap: BlockBootstrap) -> CountAndShare:
    return CountAndShare(int(flags.sum()), share_of(flags, bootstrap))


def share_of(flags: np.ndarray, bootstrap: BlockBootstrap) -> Estimate:
    """Share of true flags (N,) with its interval."""
    if not len(flags):
        return UNKNOWN
    return Estimate.of(float(np.mean(flags)), bootstrap.share_interval(flags))


def mean_error_difference(errors_m: np.ndarray, baseline_m: np.ndarray, blocks: np.ndarray) -> Estimate:
    """Mean error minus a baseline's, on the photos where both have one; the interval is of paired draws."""
    both = np.isfinite(errors_m) & np.isfinite(baseline_m)
    return _mean(errors_m[both] - baseline_m[both], BlockBootstrap(blocks[both]))


def mean_error_ratio(errors_m: np.ndarray, baseline_m: np.ndarray, blocks: np.ndarray) -> Estimate:
    """Mean error over a baseline's, on the photos where both have one; the interval is of paired draws."""
    both = np.isfinite(errors_m) & np.isfinite(baseline_m)
    if not both.any() or baseline_m[both].sum() <= 0.0:
        return UNKNOWN
    ours, theirs, bootstrap = errors_m[both], baseline_m[both], BlockBootstrap(blocks[both])
    with np.errstate(divide="ignore", invalid="ignore"):  # draws in which the baseline has no error
        interval = bootstrap.interval(bootstrap.ratios(ours, theirs))
    return Estimate.of(ours.mean() / theirs.mean(), interval)
