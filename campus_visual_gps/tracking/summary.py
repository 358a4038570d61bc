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
    point_and_covariance,
)

# More cells than these are joined to blocks for the geometric median: it is far from the edge of any block then.
_MEDIAN_CELLS = 400
# Of the heaviest cell; lighter ones do not move the median.
_NEGLIGIBLE = 1e-5


def point_and_moment(grid_probs: np.ndarray, grid: LocationGrid) -> tuple[np.ndarray, np.ndarray]:
    """Geometric median (2,) in metres and second moment (2, 2) about it, as `estimation.grid.point_and_covariance`."""
    heavy = np.flatnonzero(grid_probs > _NEGLIGIBLE * grid_probs.max())
    probs, centres = grid_probs[heavy], grid.centres_enu_m[heavy]
    if len(heavy) > _MEDIAN_CELLS:
        probs, centres = _blocks(probs, centres, grid.rows[heavy], grid.columns[heavy])
    point, _ = point_and_covariance(probs / probs.sum(), centres, grid.cell_m)
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
