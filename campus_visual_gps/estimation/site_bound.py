"""The covariance of "anywhere on the site": who is on the site is no farther from a position than the site's other end.

An image that matches nothing has a covariance that was inflated by a rule, and rules know no site: its ellipse can be
twice as long as the site is. Here it is kept below the second moment, about the reported position, of a uniform
distribution over the site.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Who stands beside the cells or the hull of the training photos is on the site too: a Gaussian of this sigma about
# every point of it. Of a campus, photos of a session that was held out lie up to 17 m outside the cells of the others.
MARGIN_SIGMA_M = 15.0
# Below this area, in square metres, a polygon is a line or a point: its corners stand for it.
_MIN_AREA_M2 = 1e-3


class SiteMoments(NamedTuple):
    """Mean (2,) metres and covariance (2, 2) square metres of a uniform distribution over a site."""

    mean_enu_m: np.ndarray
    cov_enu_m2: np.ndarray

    @classmethod
    def of_cells(cls, centres_enu_m: np.ndarray, cell_m: float) -> SiteMoments:
        """Of the squares of `cell_m` metres about centres (K, 2), and the margin about them."""
        mean = centres_enu_m.mean(axis=0)
        offsets = centres_enu_m - mean
        around_m2 = cell_m**2 / 12.0 + MARGIN_SIGMA_M**2
        return cls(mean, offsets.T @ offsets / len(offsets) + around_m2 * np.eye(2))

    @classmethod
    def of_polygon(cls, corners_enu_m: np.ndarray) -> SiteMoments:
        """Of a polygon (V, 2) that does not cross itself, and the margin about it; by Green's theorem on its edges."""
        corners = np.asarray(corners_enu_m, dtype=np.float64)
        centre = corners.mean(axis=0)
        x, y = (corners - centre).T
        u, v = np.roll(x, -1), np.roll(y, -1)
        cross = x * v - u * y
        area = cross.sum() / 2.0
        margin = MARGIN_SIGMA_M**2 * np.eye(2)
        if abs(area) < _MIN_AREA_M2:
            return cls(centre, np.stack([x, y]) @ np.stack([x, y]).T / len(corners) + margin)
        mean = np.array([((x + u) * cross).sum(), ((y + v) * cross).sum()]) / (6.0 * area)
        xx, yy = ((a * a + a * b + b * b) @ cross / (12.0 * area) for a, b in ((x, u), (y, v)))
        xy = (x * v + 2.0 * x * y + 2.0 * u * v + u * y) @ cross / (24.0 * area)
        return cls(centre + mean, np.array([[xx, xy], [xy, yy]]) - np.outer(mean, mean) + margin)

    def about(self, positions_enu_m: np.ndarray) -> np.ndarray:
        """Second moments (..., 2, 2) square metres of the uniform distribution about positions (..., 2) metres."""
        offsets = np.asarray(positions_enu_m, dtype=np.float64) - self.mean_enu_m
        return self.cov_enu_m2 + offsets[..., :, None] * offsets[..., None, :]


def bounded(cov_m2: np.ndarray, anywhere_m2: np.ndarray) -> np.ndarray:
    """Covariances (..., 2, 2), positive semidefinite, kept below positive definite ones M: none is wider on any axis.

    In coordinates in which M is the identity, variances above 1 become 1, along the axes that the covariance has there.
    What is below M stays as it is; the result is below both, whatever their axes, and continuous in both.
    """
    root = _cholesky(anywhere_m2)
    turned = np.swapaxes(root, -1, -2)
    inverse = np.empty_like(root)
    a, b, d = root[..., 0, 0], root[..., 1, 0], root[..., 1, 1]
    inverse[..., 0, 0], inverse[..., 0, 1], inverse[..., 1, 0], inverse[..., 1, 1] = 1.0 / a, 0.0, -b / (a * d), 1.0 / d
    whitened = inverse @ cov_m2 @ np.swapaxes(inverse, -1, -2)
    kept = root @ _at_most_one(whitened) @ turned
    return 0.5 * (kept + np.swapaxes(kept, -1, -2))


def _cholesky(covs: np.ndarray) -> np.ndarray:
    """Lower roots of (..., 2, 2) in closed form: NaN stays NaN, where a factorisation would raise."""
    root = np.zeros_like(covs)
    root[..., 0, 0] = np.sqrt(covs[..., 0, 0])
    root[..., 1, 0] = covs[..., 1, 0] / root[..., 0, 0]
    root[..., 1, 1] = np.sqrt(covs[..., 1, 1] - root[..., 1, 0] ** 2)
    return root


def _at_most_one(matrices: np.ndarray) -> np.ndarray:
    """Symmetric positive semidefinite (..., 2, 2) with the same axes and eigenvalues of 1 at most."""
    a, b, d = matrices[..., 0, 0], matrices[..., 0, 1], matrices[..., 1, 1]
    middle, half = 0.5 * (a + d), np.hypot(0.5 * (a - d), b)
    high, low = np.minimum(middle + half, 1.0), np.clip(middle - half, 0.0, 1.0)
    # low I + (high - low) v v', v the axis of the greater variance: v v' = (I + deviator / half) / 2
    share = np.divide(high - low, 2.0 * half, out=np.zeros_like(half), where=half > 0.0)
    deviator = matrices - middle[..., None, None] * np.eye(2)
    return (0.5 * (high + low))[..., None, None] * np.eye(2) + share[..., None, None] * deviator
