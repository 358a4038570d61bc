"""Values over time, linear between stamps."""

from __future__ import annotations

import numpy as np

MAX_GAP_S = 2.0


def interpolate(
    known_ns: np.ndarray, values: np.ndarray, stamps_ns: np.ndarray, max_gap_s: float = MAX_GAP_S
) -> np.ndarray:
    """Values at other stamps, linear in time; NaN outside the known stamps and across longer gaps.

    Args:
        known_ns: (N,) ascending stamps, nanoseconds.
        values: (N, D) values at these stamps.
        stamps_ns: (K,) stamps to interpolate at, nanoseconds.
        max_gap_s: greatest distance of two neighbouring stamps that is bridged, seconds.

    Returns:
        (K, D) float64.
    """
    stamps = np.asarray(stamps_ns, dtype=np.int64)
    if len(known_ns) == 0 or len(stamps) == 0:
        return np.full((len(stamps), values.shape[1]), np.nan)
    # seconds from the first stamp: float64 cannot hold nanoseconds since 1970
    known_s = (known_ns - known_ns[0]) / 1e9
    wanted_s = (stamps - known_ns[0]) / 1e9
    after = np.clip(np.searchsorted(known_s, wanted_s, side="left"), 0, len(known_s) - 1)
    before = np.clip(np.searchsorted(known_s, wanted_s, side="right") - 1, 0, len(known_s) - 1)
    outside = (wanted_s < known_s[0]) | (wanted_s > known_s[-1])
    bad = outside | (known_s[after] - known_s[before] > max_gap_s)
    columns = [np.interp(wanted_s, known_s, column) for column in values.T]
    return np.where(bad[:, None], np.nan, np.stack(columns, axis=1))
