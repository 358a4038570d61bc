"""The covariance of "anywhere on the site": who is on the site is no farther from a position than the site's other end.

An image that matches nothing has a covariance that was inflated by a rule, and rules know no site: its ellipse can be
twice as long as the site is. Here it is kept below the second moment, about the reported position, of a uniform
distribution over the site.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Who walks beside the hull of the training photos is on the site too: a disc of this radius around every point of it.
HULL_MARGIN_M = 25.0
# Below this area, in square metres, a polygon is a line or a point: its corners stand for it.
_MIN_AREA_M2 = 1e-3


class SiteMoments(NamedTuple):
    """Mean (2,) metres and covariance (2, 2) square metres of a uniform distribution over a site."""

    mean_enu_m: np.ndarray
    cov_enu_m2: np.ndarray

    @classmethod
    def of_cells(cls, centres_enu_m: np.ndarray, cell_m: float) -> SiteMoments:
        """Of the squares of `cell_m` metres about centres (K, 2)."""
        mean = centres_enu_m.mean(axis=0)
        offsets = centres_enu_m - mean
        return cls(mean, offsets.T @ offsets / len(offsets) + cell_m**2 / 12.0 * np.eye(2))

    @classmethod
    def of_polygon(cls, corners_enu_m: np.ndarray, margin_m: float = HULL_MARGIN_M) -> SiteMoments:
        """Of a polygon (V, 2) that does not cross itself, with a uniform disc of radius `margin_m` about every point.

        By Green's theorem over its edges. A disc of radius r has r^2 / 4 per axis.
        """
        corners = np.asarray(corners_enu_m, dtype=np.float64)
        centre = corners.mean(axis=0)
        x, y = (corners - centre).T
        u, v = np.roll(x, -1), np.roll(y, -1)
        cross = x * v - u * y
        area = cross.sum() / 2.0
        disc = margin_m**2 / 4.0 * np.eye(2)
        if abs(area) < _MIN_AREA_M2:
            return cls(centre, np.stack([x, y]) @ np.stack([x, y]).T / len(corners) + disc)
        mean = np.array([((x + u) * cross).sum(), ((y + v) * cross).sum()]) / (6.0 * area)
        xx, yy = ((a * a + a * b + b * b) @ cross / (12.0 * area) for a, b in ((x, u), (y, v)))
        xy = (x * v + 2.0 * x * y + 2.0 * u * v + u * y) @ cross / (24.0 * area)
        return cls(centre + mean, np.array([[xx, xy], [xy, yy]]) - np.outer(mean, mean) + disc)

    def about(self, positions_enu_m: np.ndarray) -> np.ndarray:
        """Second moments (..., 2, 2) square metres of the uniform distribution about positions (..., 2) metres."""
        offsets = np.asarray(positions_enu_m, dtype=np.float64) - self.mean_enu_m
        return self.cov_enu_m2 + offsets[..., :, None] * offsets[..., None, :]


def bounded(cov_m2: np.ndarray, anywhere_m2: np.ndarray) -> np.ndarray:
    """Covariances (..., 2, 2), positive semidefinite, kept below positive definite ones: (P^-1 + M^-1)^-1.

    The precisions add up, as those of two independent measurements do: far below the bound nothing changes, far above
    it the bound is left. Always below both, whatever their axes, and as smooth as they are. Written as
    P (P + M)^-1 M, which needs no inverse of P (parallel sum: Anderson and Duffin, J. Math. Anal. Appl. 26, 1969).
    """
    total = cov_m2 + anywhere_m2
    a, b, d = total[..., 0, 0], total[..., 0, 1], total[..., 1, 1]
    adjugate = np.stack([np.stack([d, -b], axis=-1), np.stack([-b, a], axis=-1)], axis=-2)
    # closed form: NaN stays NaN, where a solver might raise
    left = cov_m2 @ adjugate @ anywhere_m2 / (a * d - b * b)[..., None, None]
    return 0.5 * (left + np.swapaxes(left, -1, -2))
