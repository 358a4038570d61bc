"""Probabilities over a grid of the site's cells: the position taken from them, its covariance, and their modes.

Grid probabilities are (K,) float64, sum to 1, and belong to cells (K, 2), the east/north centres of squares of `cell_m`
metres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np

GEOMETRIC_MEDIAN = "geometric_median"
MEAN = "mean"
MEDIAN_MEAN = "median_mean"
POINT_ESTIMATORS = (GEOMETRIC_MEDIAN, MEAN, MEDIAN_MEAN)
# Of the way from the geometric median to the mean, MEDIAN_MEAN goes so much (docs/results.md).
MEAN_SHARE = 0.75

# A mode is a connected component of the smallest region that holds REGION_MASS, if it holds MIN_MODE_MASS itself; modes
# nearer to each other than MIN_SEPARATION_M are one, for a label's own error is of that size.
REGION_MASS, MIN_MODE_MASS, MIN_SEPARATION_M = 0.9, 0.15, 25.0

_TOLERANCE_M = 0.0005
_MAX_STEPS = 60


class Mode(NamedTuple):
    """A possible position: its centre (2,) in metres and its share of the probability."""

    mean_enu_m: np.ndarray
    share: float


class LocationGrid:
    """The cells (K, 2) of a site with their neighbourhood.

    Attributes:
        centres_enu_m: (K, 2) metres.
        rows: (K,) of each cell in the raster, from the south; `columns` (K,) from the west.
        raster_shape: Rows and columns.

    Raises:
        ValueError: the cells lie on no common raster of `cell_m` metres.
    """

    def __init__(self, cells_enu_m: np.ndarray, cell_m: float):
        self.centres_enu_m = np.asarray(cells_enu_m, dtype=np.float64)
        self.cell_m = float(cell_m)
        steps = (self.centres_enu_m - self.centres_enu_m.min(axis=0)) / self.cell_m
        self.columns, self.rows = np.round(steps).astype(int).T
        self.raster_shape = (int(self.rows.max()) + 1, int(self.columns.max()) + 1)
        taken = set(zip(self.rows.tolist(), self.columns.tolist(), strict=True))
        if np.abs(steps - np.round(steps)).max() > 0.05 or len(taken) != len(steps):
            raise ValueError(f"the {len(steps)} cells do not lie on a raster of {cell_m} m")

    def __len__(self) -> int:
        return len(self.centres_enu_m)

    @cached_property
    def axes_enu_m(self) -> np.ndarray:
        """(2, K) metres, the centres for arithmetic over all cells."""
        return np.ascontiguousarray(self.centres_enu_m.T)

    def modes(self, grid_probs: np.ndarray) -> tuple[Mode, ...]:
        """Modes of grid probabilities (K,), the heaviest first; one at least, none where they are not finite."""
        if not np.isfinite(grid_probs).all():
            return ()
        # lighter cells than these hold less than the rest
        falling = np.sort(grid_probs[grid_probs > (1.0 - REGION_MASS) / len(grid_probs)])[::-1]
        least = falling[min(int(np.searchsorted(np.cumsum(falling), REGION_MASS)), len(falling) - 1)]
        region = np.flatnonzero(grid_probs >= least)
        probs, rows, columns = grid_probs[region], self.rows[region], self.columns[region]
        raster = np.zeros(self.raster_shape, dtype=np.uint8)
        raster[rows, columns] = 1
        count, labels = cv2.connectedComponents(raster, connectivity=8)
        label_of = labels[rows, columns]
        weights = (probs, *(probs * self.axes_enu_m[:, region]))
        masses, east, north = (np.bincount(label_of, weights=own, minlength=count) for own in weights)
        order = np.argsort(-masses, kind="stable")
        heavy = [label for label in order if masses[label] >= MIN_MODE_MASS] or [order[0]]
        return merge_near([Mode(np.array([east[own], north[own]]) / masses[own], float(masses[own])) for own in heavy])

    def mode_separations_m(self, grid_probs: np.ndarray) -> np.ndarray:
        """`mode_separation_m` (N,) of grid probabilities (N, K)."""
        return np.array([mode_separation_m(self.modes(own)) for own in grid_probs], dtype=np.float64)


def mode_separation_m(modes: Sequence[Mode]) -> float:
    """Greatest distance between the heaviest mode and another, metres; 0 for one mode."""
    return max((float(np.hypot(*(mode.mean_enu_m - modes[0].mean_enu_m))) for mode in modes[1:]), default=0.0)


def mean_grid_probs(grid_log_probs: np.ndarray) -> np.ndarray:
    """Members' log probabilities (..., M, K) -> their mean probabilities (..., K), sum 1; NaN where a member's are."""
    probs = np.exp(np.asarray(grid_log_probs, dtype=np.float64)).mean(axis=-2)
    return probs / probs.sum(axis=-1, keepdims=True)


def apply_temperature(grid_probs: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (..., K) to the power 1 / temperature, normalised: above 1 they are flatter, below 1 sharper."""
    if temperature == 1.0:
        return grid_probs
    with np.errstate(divide="ignore"):
        logs = np.log(grid_probs) / temperature
    powers = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def point_and_covariance(
    grid_probs: np.ndarray, cells_enu_m: np.ndarray, cell_m: float, estimator: str = GEOMETRIC_MEDIAN
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (..., K) -> points (..., 2) metres and the second moments (..., 2, 2) about them, square metres.

    About the reported point and not about the mean: where there are two modes, the filter is told how far the other one
    is. The mass of a cell lies all over its square, which adds cell_m^2 / 12 per axis.
    """
    point = mean = grid_probs @ cells_enu_m
    if estimator != MEAN:
        centres_m = np.ascontiguousarray(cells_enu_m.T)
        rows = np.reshape(grid_probs, (-1, len(cells_enu_m)))
        point = np.array([geometric_median(own, centres_m, cell_m) for own in rows]).reshape(mean.shape)
    if estimator == MEDIAN_MEAN:
        point = point + MEAN_SHARE * (mean - point)
    offsets = cells_enu_m - point[..., None, :]
    cov = np.swapaxes(offsets * grid_probs[..., None], -1, -2) @ offsets
    return point, cov + cell_m**2 / 12.0 * np.eye(2)


def geometric_median(probs: np.ndarray, centres_m: np.ndarray, cell_m: float) -> np.ndarray:
    """(2,) metres, of masses (N,), sum 1, at (2, N): by Newton's step where it is better, else Weiszfeld's.

    The expected distance is convex, so that there is one minimum however many modes there are. Weiszfeld's step never
    fails (Vardi and Zhang, PNAS 97, 2000) but is slow between two modes. Distances are those to a square of `cell_m`
    rather than to its centre, which also keeps them from being zero.
    """
    point, smoothing_m2 = centres_m @ probs, cell_m**2 / 6.0
    least_m, newton, weiszfeld = math.inf, np.zeros(2), None
    for _ in range(_MAX_STEPS):
        offsets = centres_m - point[:, None]
        east, north = offsets
        squares = east * east + north * north + smoothing_m2
        distances = np.sqrt(squares)
        expected_m = float(probs @ distances)
        if expected_m > least_m and weiszfeld is not None:  # Newton went too far
            point, weiszfeld = point - newton + weiszfeld, None
            continue
        least_m = min(least_m, expected_m)
        weights = probs / distances
        curvature = weights / squares
        total, (down_east, down_north) = float(weights.sum()), (offsets @ weights).tolist()
        weighted = curvature * east
        xx, xy = total - float(weighted @ east), -float(weighted @ north)
        yy = total - float((curvature * north) @ north)
        determinant = xx * yy - xy * xy
        weiszfeld = np.array([down_east, down_north]) / total
        newton = weiszfeld
        if determinant > 1e-12:
            newton = np.array([yy * down_east - xy * down_north, xx * down_north - xy * down_east]) / determinant
        point = point + newton
        if not np.abs(newton).max() > _TOLERANCE_M:  # also ends for NaN
            break
    return point


def merge_near(modes: list[Mode]) -> tuple[Mode, ...]:
    """Modes, heaviest first, with those nearer than MIN_SEPARATION_M to a heavier one merged into it."""
    kept: list[Mode] = []
    for mode in modes:
        distances = [np.hypot(*(mode.mean_enu_m - other.mean_enu_m)) for other in kept]
        if not distances or min(distances) >= MIN_SEPARATION_M:
            kept.append(mode)
            continue
        nearest = int(np.argmin(distances))
        other = kept[nearest]
        share = other.share + mode.share
        centre = (other.share * other.mean_enu_m + mode.share * mode.mean_enu_m) / share
        kept[nearest] = Mode(centre, share)
    return tuple(kept)
