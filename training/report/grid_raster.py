"""Grid probabilities as pictures: one raster, one scale of colours and one way to say where the mass lies."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, ListedColormap, LogNorm

from campus_visual_gps.estimation.grid import LocationGrid, point_and_covariance

# Probability of a cell that the lightest and the darkest colour stand for. Logarithmic: a belief that is spread over
# the site and one that is certain must both be seen.
LOWEST, HIGHEST = 1e-4, 1.0
TICKS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
TICK_LABELS = ("0.01", "0.1", "1", "10", "100")
# Lightness falls evenly from pale yellow to black, so that it reads the same without colours.
COLOURS: Colormap = ListedColormap(colormaps["magma_r"](np.linspace(0.03, 0.97, 256)), name="grid probability")
NORM = LogNorm(LOWEST, HIGHEST, clip=True)
TRUTH, ESTIMATE = "#0096d6", "#111111"


class GridRaster:
    """The cells of a grid as the pixels of a picture whose first row is the northernmost.

    Attributes:
        shape: Rows and columns.
        extent_m: West, east, south and north border of the picture, metres.
    """

    def __init__(self, grid: LocationGrid):
        self.grid = grid
        low, high = grid.centres_enu_m.min(axis=0), grid.centres_enu_m.max(axis=0)
        steps = np.round((grid.centres_enu_m - low) / grid.cell_m).astype(int)
        columns, rows = steps.max(axis=0) + 1
        self.shape = (int(rows), int(columns))
        self._pixels = rows - 1 - steps[:, 1], steps[:, 0]
        half = grid.cell_m / 2.0
        self.extent_m = (low[0] - half, high[0] + half, low[1] - half, high[1] + half)

    def picture(self, grid_probs: np.ndarray) -> np.ndarray:
        """Probabilities (K,) -> (rows, columns), NaN where there is no cell."""
        values = np.full(self.shape, np.nan)
        values[self._pixels] = grid_probs
        return values

    def rgb(self, grid_probs: np.ndarray) -> np.ndarray:
        """Probabilities (K,) -> (rows, columns, 3) uint8; white where there is no cell, grey where it is unknown."""
        colours = np.full((*self.shape, 3), 255, dtype=np.uint8)
        known = np.isfinite(grid_probs)
        painted = COLOURS(NORM(np.where(known, grid_probs, LOWEST)), bytes=True)[:, :3]
        colours[self._pixels] = np.where(known[:, None], painted, 200)
        return colours


def point_and_sigma(grid_probs: np.ndarray, grid: LocationGrid) -> tuple[np.ndarray, float]:
    """The position (2,) that probabilities (K,) stand for, and the root mean square of its deviation per axis, metres.

    NaN where they are not finite.
    """
    point, cov = point_and_covariance(grid_probs, grid.centres_enu_m, grid.cell_m)
    return point, float(np.sqrt(np.trace(cov) / 2.0))
