"""How likely the truth is by the grid itself, without the ellipse that is made of it."""

from __future__ import annotations

import numpy as np

from campus_visual_gps.estimation.grid import LocationGrid

# A label's own error, metres: what may have moved a truth out of the cells.
LABEL_SIGMA_M = 7.0
# The most that a truth outside of the cells adds, nats, as at seven sigma: it must not decide alone.
MAX_PENALTY = 0.5 * 7.0**2


def grid_nll(grid_probs: np.ndarray, grid: LocationGrid, truth_enu_m: np.ndarray) -> np.ndarray:
    """Negative natural logarithm of the grid's density in 1 / m^2 at truths (N, 2) metres, (N,); NaN where it is.

    The density is the probability of the truth's cell over its area. A truth that lies in no cell counts with the
    nearest one times exp(-d^2 / (2 LABEL_SIGMA_M^2)), d the distance to it, and MAX_PENALTY nats at most.

    Args:
        grid_probs: (N, K), each row sums to 1.
        grid: The K cells.
        truth_enu_m: (N, 2) metres.
    """
    outside_m = np.abs(grid.centres_enu_m - np.asarray(truth_enu_m)[:, None, :]) - grid.cell_m / 2.0
    distances_m = np.linalg.norm(outside_m.clip(min=0.0), axis=-1)
    nearest = distances_m.argmin(axis=1)
    rows = np.arange(len(nearest))
    penalty = np.minimum(0.5 * (distances_m[rows, nearest] / LABEL_SIGMA_M) ** 2, MAX_PENALTY)
    # a probability that underflowed is small, and not zero
    density = np.maximum(grid_probs[rows, nearest], np.finfo(np.float64).tiny) / grid.cell_m**2
    return penalty - np.log(density)
