"""Images in time order: where a sequence begins, and how soon an estimate that knew nothing has found the place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from training.metrics.estimate import finite_or_none

# A longer pause begins a new sequence: whoever carries the camera may be anywhere on the site by then.
PAUSE_S = 180.0
# Found is an estimate that errs by at most this at so many images in a row; the first of them counts.
FOUND_M, FOUND_IMAGES = 25.0, 3


@dataclass(frozen=True)
class DelayMetrics:
    """How long a number of trials took to find the place, in seconds and in images.

    The quantiles count trials that never found it before their images ended as longer than all others, and are None
    where they fall among those.
    """

    n_trials: int
    found_share: float | None
    median_s: float | None
    p90_s: float | None
    median_images: float | None
    p90_images: float | None


def split_sequences(sessions: Sequence[str] | np.ndarray, times_s: np.ndarray, pause_s: float = PAUSE_S) -> np.ndarray:
    """Sequence number (N,) int of each image, counted from 0 in each session in time order; -1 without a time.

    Args:
        sessions: (N,) names.
        times_s: (N,) seconds, NaN where unknown.
        pause_s: A longer pause begins a new sequence.
    """
    names, times_s = np.asarray(sessions, dtype=object), np.asarray(times_s, dtype=np.float64)
    numbers = np.full(len(names), -1)
    for name in set(names.tolist()):
        rows = np.flatnonzero((names == name) & np.isfinite(times_s))
        rows = rows[np.argsort(times_s[rows], kind="stable")]
        numbers[rows] = np.concatenate([[0], np.cumsum(np.diff(times_s[rows]) > pause_s)])[: len(rows)]
    return numbers


def first_found(errors_m: np.ndarray, limit_m: float = FOUND_M, images: int = FOUND_IMAGES) -> int | None:
    """The first of `images` errors (N,) in a row that are at most `limit_m`; None where there are none."""
    near = np.asarray(errors_m) <= limit_m
    if len(near) < images:
        return None
    runs = np.lib.stride_tricks.sliding_window_view(near, images).all(axis=1)
    return int(runs.argmax()) if runs.any() else None


def delay_metrics(delays_s: ArrayLike, delays_images: ArrayLike) -> DelayMetrics:
    """Of trials that each took so long (T,); infinite for a trial that never found the place."""
    seconds, images = (np.asarray(delays, dtype=np.float64) for delays in (delays_s, delays_images))
    if not len(seconds):
        return DelayMetrics(0, None, None, None, None, None)
    values = [
        finite_or_none(float(np.quantile(delays, level, method="higher")))
        for delays in (seconds, images)
        for level in (0.5, 0.9)
    ]
    return DelayMetrics(len(seconds), float(np.isfinite(seconds).mean()), *values)
