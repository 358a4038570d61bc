"""A small site for the tests of the tracker, and images that see it well, badly or not at all."""

import numpy as np

from campus_visual_gps.estimation.grid import LocationGrid

CELL_M = 5.0
_COLUMNS, _ROWS = np.meshgrid(np.arange(24), np.arange(12))
CENTRES = np.stack([_COLUMNS.ravel(), _ROWS.ravel()], axis=1) * CELL_M
GRID = LocationGrid(CENTRES, CELL_M)
UNIFORM = np.full(len(GRID), 1.0 / len(GRID))


def seen_at(*points_enu_m, sigma_m=8.0, flat_share=0.02):
    """Posterior of an image that may have been taken at any of some points."""
    mass = sum(np.exp(-((CENTRES - point) ** 2).sum(axis=1) / (2 * sigma_m**2)) for point in points_enu_m)
    return (1.0 - flat_share) * mass / mass.sum() + flat_share / len(GRID)


def error_m(position, truth_enu_m):
    """Metres between a tracked position and the truth."""
    return float(np.hypot(*(position.mean_enu_m - truth_enu_m)))
