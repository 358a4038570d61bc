"""The numbers of one stage of table 14: mean error and count over 50 m, of an evaluation's photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.metrics.bootstrap import BlockBootstrap, walk_blocks
from training.metrics.errors import share_of
from training.metrics.estimate import UNKNOWN, Estimate
from training.photos.manifest import capture_times_s

CATASTROPHIC_M = 50.0  # paper, table 14


@dataclass(frozen=True)
class StageMetrics:
    """Of some photos.

    Attributes:
        photos: Their number.
        without_position: Number of photos without a position; they are in no mean, and over 50 m.
        mean_error_m: Mean with its interval.
        over: Number of photos over CATASTROPHIC_M.
        over_share: Share of all photos.
    """

    photos: int
    without_position: int
    mean_error_m: Estimate
    over: int
    over_share: Estimate


def stage_metrics(predictions: pd.DataFrame, errors_m: np.ndarray) -> StageMetrics:
    """Of predictions with errors (N,) metres; the intervals are those of the report, of blocks of a walk."""
    blocks = blocks_of(predictions)
    known = np.isfinite(errors_m)
    over = ~(errors_m <= CATASTROPHIC_M)
    return StageMetrics(
        photos=len(errors_m),
        without_position=int((~known).sum()),
        mean_error_m=_mean(errors_m[known], blocks[known]),
        over=int(over.sum()),
        over_share=share_of(over, BlockBootstrap(blocks)),
    )


def paired_difference_m(predictions: pd.DataFrame, errors_m: np.ndarray, first_m: np.ndarray) -> Estimate:
    """Mean of the errors less those of the first stage, on the same photos."""
    known = np.isfinite(errors_m) & np.isfinite(first_m)
    return _mean((errors_m - first_m)[known], blocks_of(predictions)[known])


def blocks_of(predictions: pd.DataFrame) -> np.ndarray:
    """(N,) labels of the stretches that are drawn for the intervals."""
    times = predictions.get("captured_at", pd.Series("", index=predictions.index))
    return walk_blocks(predictions["session"].tolist(), capture_times_s(times))[0]


def _mean(values: np.ndarray, blocks: np.ndarray) -> Estimate:
    if not len(values):
        return UNKNOWN
    bootstrap = BlockBootstrap(blocks)
    return Estimate.of(float(values.mean()), bootstrap.interval(bootstrap.means(values)))
