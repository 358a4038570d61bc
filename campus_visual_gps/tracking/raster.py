"""BeliefRaster: the cells of a grid as a dense raster, with walls, and how a random walk spreads over it."""

from __future__ import annotations

import cv2
import numpy as np

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.estimation.grid import LocationGrid

# Empty cells about the grid, so that a belief can be moved by a fraction of a cell.
PADDING = 2
# A step of the random walk moves this share to each of four neighbours: below 1/4, so that no pattern of odd and even
# cells appears. A stride takes so many steps before the next one, twice as long, goes on.
_MAX_SHARE, _STEPS_PER_STRIDE = 0.2, 6


class BeliefRaster:
    """Geometry of a belief: (R, C) arrays over the bounding box of a grid, and (K,) arrays over its cells.

    Attributes:
        shape: (R, C).
        site: (R, C) bool, cells where the camera can be.
        nearest: (R, C) indices of the nearest reachable cell of the grid.

    Args:
        grid: Of the posterior.
        reachable: (K,) bool, False where nobody can be; None for all.

    Raises:
        ConfigError: no cell is reachable, or the mask has another length than the grid.
    """

    def __init__(self, grid: LocationGrid, reachable: np.ndarray | None = None):
        self.grid = grid
        count = len(grid)
        mask = np.ones(count, dtype=bool) if reachable is None else np.asarray(reachable, dtype=bool)
        if mask.shape != (count,):
            raise ConfigError(f"expected a mask of {count} reachable cells, got one of shape {mask.shape}")
        if not mask.any():
            raise ConfigError("no cell of the grid is reachable; mend the unreachable polygons of the bundle")
        self.reachable = mask
        rows, columns = grid.rows + PADDING, grid.columns + PADDING
        height, width = grid.raster_shape
        self.shape = (height + 2 * PADDING, width + 2 * PADDING)
        self.site = np.zeros(self.shape, dtype=bool)
        self.site[rows[mask], columns[mask]] = True
        self.nearest = _nearest(self.shape, rows, columns, np.flatnonzero(mask))
        self._cells = self.nearest.ravel()
        # in 32 bits, as the beliefs: on these sizes numpy takes twice as long or more on 64, or on both together
        self._uniform = (self.site / self.site.sum()).astype(np.float32)
        self._off_site = (~self.site).astype(np.float32)
        self._uniform_cells = mask / mask.sum()
        self._degrees: dict[int, np.ndarray] = {}

    @property
    def cell_m(self) -> float:
        """Width of a cell, metres."""
        return self.grid.cell_m

    def uniform(self) -> np.ndarray:
        """(R, C) float32, equal over all cells of the site, sum 1."""
        return self._uniform

    def off_site(self, factor: float) -> np.ndarray:
        """(R, C) float32: the factor off the site, and 1 on it."""
        return 1.0 - np.float32(1.0 - factor) * self._off_site

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Values (K,) of cells -> (R, C); outside the site those of the nearest cell."""
        return values[self.nearest]

    def mean_of_cells(self, values: np.ndarray) -> float:
        """Mean over the reachable cells of values (K,)."""
        return float(values @ self._uniform_cells)

    def mean(self, values: np.ndarray) -> float:
        """Mean over the site of values (R, C)."""
        return float(np.vdot(values, self._uniform))

    def gather(self, belief: np.ndarray) -> np.ndarray:
        """Mass (R, C) -> (K,); mass outside the site counts for the nearest cell."""
        return np.bincount(self._cells, weights=belief.ravel(), minlength=len(self.grid))

    def random_walk(self, belief: np.ndarray, variance_m2: float) -> np.ndarray:
        """Beliefs (..., R, C) after a random walk with this variance an axis; walls reflect.

        Mass and uniformity are kept.

        The walk is symmetric: what flows between two neighbours depends on both alike, so that a uniform belief stays
        uniform. Long walks take longer strides, so that the cost grows with the logarithm of the variance only.
        """
        left = variance_m2 / self.cell_m**2
        if left <= 0.0:
            return belief
        if left >= max(self.shape) ** 2:
            mass = belief.sum(axis=(-2, -1), keepdims=True)
            return (self.uniform() * mass).astype(belief.dtype, copy=False)
        stride, own = 1, belief
        while left > 0.0:
            for _ in range(_STEPS_PER_STRIDE):
                share = min(left / (2 * stride**2), _MAX_SHARE)
                own = self._step(own, stride, share)
                left -= 2 * stride**2 * share
                if left <= 1e-12:
                    return own
            stride *= 2
        return own

    def _step(self, belief: np.ndarray, stride: int, share: float) -> np.ndarray:
        if stride not in self._degrees:
            self._degrees[stride] = _neighbour_sum(self.site.astype(np.float32), stride)
        result = _neighbour_sum(belief, stride)
        result *= self.site
        result -= self._degrees[stride] * belief
        result *= share
        result += belief
        return result


def _neighbour_sum(values: np.ndarray, stride: int) -> np.ndarray:
    """Sum (..., R, C) of the four neighbours `stride` cells away; none beyond the edge."""
    total = np.zeros_like(values)
    total[..., stride:, :] += values[..., :-stride, :]
    total[..., :-stride, :] += values[..., stride:, :]
    total[..., stride:] += values[..., :-stride]
    total[..., :-stride] += values[..., stride:]
    return total


def _nearest(shape: tuple[int, int], rows: np.ndarray, columns: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """(R, C) indices of the nearest of `cells`, which lie at these rows and columns."""
    image = np.ones(shape, dtype=np.uint8)
    image[rows[cells], columns[cells]] = 0
    _, labels = cv2.distanceTransformWithLabels(image, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    cell_of_label = np.zeros(labels.max() + 1, dtype=np.int64)
    cell_of_label[labels[rows[cells], columns[cells]]] = cells
    return cell_of_label[labels]
