"""Point, second moment and modes of a belief, in the time of a step: those of estimation/grid.py take longer."""

from __future__ import annotations

import cv2
import numpy as np

from campus_visual_gps.estimation.grid import (
    MIN_MODE_MASS,
    REGION_MASS,
    LocationGrid,
    Mode,
    merge_near,
)

# More cells than these are joined to blocks for the geometric median: it is far from the edge of any block then.
_MEDIAN_CELLS = 400
# Of the heaviest cell; lighter ones do not move the median.
_NEGLIGIBLE = 1e-5
_TOLERANCE_M, _MAX_STEPS = 0.001, 60
# The point is that of a belief so much sharper: what outliers and images that say nothing give to every cell alike
# would draw it to the middle of the site (docs/results.md).
POINT_POWER = 1.25


def point_and_moment(grid_probs: np.ndarray, grid: LocationGrid) -> tuple[np.ndarray, np.ndarray]:
    """Geometric median (2,) in metres of the belief to the POINT_POWER; second moment (2, 2) of the belief about it.

    Else as `estimation.grid.point_and_covariance`.
    """
    heavy = np.flatnonzero(grid_probs > _NEGLIGIBLE * grid_probs.max())
    probs, centres = grid_probs[heavy] ** POINT_POWER, grid.centres_enu_m[heavy]
    if len(heavy) > _MEDIAN_CELLS:
        probs, centres = _blocks(probs, centres, grid.rows[heavy], grid.columns[heavy])
    point = _geometric_median(probs / probs.sum(), np.ascontiguousarray(centres.T), grid.cell_m)
    offsets = np.ascontiguousarray((grid.centres_enu_m - point).T)
    moment = (offsets * grid_probs) @ offsets.T
    return point, moment + grid.cell_m**2 / 12.0 * np.eye(2)


def modes(grid_probs: np.ndarray, grid: LocationGrid) -> tuple[Mode, ...]:
    """As `LocationGrid.modes`: connected regions of the smallest one that holds most of the mass."""
    # lighter cells than these hold less than the rest
    falling = np.sort(grid_probs[grid_probs > (1.0 - REGION_MASS) / len(grid_probs)])[::-1]
    least = falling[min(int(np.searchsorted(np.cumsum(falling), REGION_MASS)), len(falling) - 1)]
    region = np.flatnonzero(grid_probs >= least)
    raster = np.zeros(grid.raster_shape, dtype=np.uint8)
    raster[grid.rows[region], grid.columns[region]] = 1
    count, labels = cv2.connectedComponents(raster, connectivity=8)
    label_of = labels[grid.rows[region], grid.columns[region]]
    masses, east, north = (
        np.bincount(label_of, weights=own, minlength=count)
        for own in (grid_probs[region], *(grid_probs[region, None] * grid.centres_enu_m[region]).T)
    )
    order = np.argsort(-masses, kind="stable")
    heavy = [label for label in order if masses[label] >= MIN_MODE_MASS] or [order[0]]
    return merge_near([Mode(np.array([east[own], north[own]]) / masses[own], float(masses[own])) for own in heavy])


def _blocks(
    probs: np.ndarray, centres_enu_m: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Masses and centres of mass of square blocks of cells."""
    size = int(np.ceil(np.sqrt(len(probs) / _MEDIAN_CELLS)))
    block = (rows // size) * (columns.max() // size + 1) + columns // size
    masses, east, north = (np.bincount(block, weights=own) for own in (probs, *(probs[:, None] * centres_enu_m).T))
    taken = masses > 0.0
    return masses[taken], np.stack([east[taken], north[taken]], axis=1) / masses[taken, None]


def _geometric_median(probs: np.ndarray, centres_m: np.ndarray, cell_m: float) -> np.ndarray:
    """(2,) metres, of masses (N,) at (2, N): by Newton's step where it is better, else Weiszfeld's.

    As `estimation.grid`, which is made for many posteriors at once and takes several times as long for one.
    """
    point = centres_m @ probs
    best_m = np.inf
    newton = weiszfeld = np.zeros(2)
    for _ in range(_MAX_STEPS):
        offsets = centres_m - point[:, None]
        distances = np.sqrt(offsets[0] ** 2 + offsets[1] ** 2 + cell_m**2 / 6.0)
        expected_m = float(probs @ distances)
        if expected_m > best_m and newton is not weiszfeld:  # Newton went too far: Weiszfeld never does
            point = point - newton + weiszfeld
            newton = weiszfeld
            continue
        best_m = min(best_m, expected_m)
        weights = probs / distances
        gradient, total = offsets @ weights, float(weights.sum())
        curvature = total * np.eye(2) - (offsets * (weights / distances**2)) @ offsets.T
        weiszfeld = gradient / total
        newton = np.linalg.solve(curvature, gradient) if abs(np.linalg.det(curvature)) > 1e-12 else weiszfeld
        point = point + newton
        if np.abs(newton).max() < _TOLERANCE_M:
            break
    return point
