"""Probabilities over a grid of the site's cells: the position taken from them, its covariance, and their modes.

Grid probabilities are (K,) float64, sum to 1, and belong to cells (K, 2), the east/north centres of squares of `cell_m`
metres.
"""

from __future__ import annotations

from collections.abc import Sequence
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
_MAX_STEPS = 40


class Mode(NamedTuple):
    """A possible position: its centre (2,) in metres and its share of the probability."""

    mean_enu_m: np.ndarray
    share: float


class LocationGrid:
    """The cells (K, 2) of a site with their neighbourhood.

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

    def modes(self, grid_probs: np.ndarray) -> tuple[Mode, ...]:
        """Modes of grid probabilities (K,), the heaviest first; one at least, none where they are not finite."""
        if not np.all(np.isfinite(grid_probs)):
            return ()
        order = np.argsort(-grid_probs, kind="stable")
        region = order[: int(np.searchsorted(np.cumsum(grid_probs[order]), REGION_MASS)) + 1]
        raster = np.zeros(self.raster_shape, dtype=np.uint8)
        raster[self.rows[region], self.columns[region]] = 1
        count, labels = cv2.connectedComponents(raster, connectivity=8)
        label_of = labels[self.rows[region], self.columns[region]]
        masses = np.bincount(label_of, weights=grid_probs[region], minlength=count)
        heavy = [label for label in np.argsort(-masses) if masses[label] >= MIN_MODE_MASS]
        found = [self._mode(grid_probs, region[label_of == label]) for label in heavy or [np.argmax(masses)]]
        return merge_near(found)

    def mode_separations_m(self, grid_probs: np.ndarray) -> np.ndarray:
        """`mode_separation_m` (N,) of grid probabilities (N, K)."""
        return np.array([mode_separation_m(self.modes(own)) for own in grid_probs], dtype=np.float64)

    def _mode(self, grid_probs: np.ndarray, cells: np.ndarray) -> Mode:
        share = float(grid_probs[cells].sum())
        return Mode(grid_probs[cells] @ self.centres_enu_m[cells] / share, share)


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
    mean = grid_probs @ cells_enu_m
    point = mean if estimator == MEAN else _geometric_median(grid_probs, cells_enu_m, cell_m, mean)
    if estimator == MEDIAN_MEAN:
        point = point + MEAN_SHARE * (mean - point)
    offsets = cells_enu_m - point[..., None, :]
    cov = np.swapaxes(offsets * grid_probs[..., None], -1, -2) @ offsets
    return point, cov + cell_m**2 / 12.0 * np.eye(2)


def _geometric_median(grid_probs: np.ndarray, cells_enu_m: np.ndarray, cell_m: float, start: np.ndarray) -> np.ndarray:
    """The weighted geometric median of the cells: by Newton's step or, where it is better, Weiszfeld's.

    The expected distance is convex, so that there is one minimum however many modes there are. Weiszfeld's step never
    fails (Vardi and Zhang, PNAS 97, 2000) but is slow between two modes. Distances are those to a square of `cell_m`
    rather than to its centre, which also keeps them from being zero.
    """
    east, north = np.ascontiguousarray(cells_enu_m.T)
    smoothing_m2 = cell_m**2 / 6.0

    def offsets(point: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x, y = east - point[..., :1], north - point[..., 1:]
        return x, y, np.sqrt(x * x + y * y + smoothing_m2)

    point = start
    x, y, distance = offsets(point)
    for _ in range(_MAX_STEPS):
        weights = grid_probs / distance
        total = weights.sum(axis=-1)
        gradient = np.stack([(weights * x).sum(axis=-1), (weights * y).sum(axis=-1)], axis=-1)
        curvature = weights / distance**2
        xx, xy, yy = ((curvature * product).sum(axis=-1) for product in (x * x, x * y, y * y))
        steps = (_solve(total - xx, -xy, total - yy, gradient), gradient / total[..., None])
        tried = [(point + step, *offsets(point + step)) for step in steps]
        newton, weiszfeld = ((grid_probs * distances).sum(axis=-1) for *_, distances in tried)
        first = (newton <= weiszfeld)[..., None]
        before, point = point, np.where(first, tried[0][0], tried[1][0])
        x, y, distance = (np.where(first, one, other) for one, other in zip(tried[0][1:], tried[1][1:], strict=True))
        if not np.any(np.abs(point - before) > _TOLERANCE_M):  # also ends for NaN
            break
    return point


def _solve(a: np.ndarray, b: np.ndarray, c: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solutions (..., 2) of [[a, b], [b, c]] with right sides (..., 2)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1.0 / (a * c - b * b)
    solution = np.stack([c * right[..., 0] - b * right[..., 1], a * right[..., 1] - b * right[..., 0]], axis=-1)
    return solution * inverse[..., None]


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
