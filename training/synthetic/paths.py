"""Routes through the campus as smooth paths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

SPACING_M = 0.25

# East and north, metres. The robot drives the first; people walk all of them, in both directions.
ROUTES: dict[str, tuple[tuple[float, float], ...]] = {
    "drive": (
        (-46, 21),
        (-12, 20),
        (10, 18),
        (36, 20),
        (41, 13),
        (41, -14),
        (37, -18),
        (-36, -18),
        (-43, -23),
        (-44, -38),
    ),
    "library": ((-44, 20), (-52, 30), (-94, 30), (-96, 20), (-74, 19), (-66, 8), (-52, 5), (-49, 12), (-44, 20)),
    "plaza": ((-22, 14), (-22, 38), (0, 47), (17, 38), (18, 12), (0, 6), (-22, 14)),
    "lab": ((39, 22), (56, 24), (78, 22), (96, 20), (92, 30), (56, 31), (47, 34), (37, 38), (37, 24)),
    "lab-south": ((41, 0), (48, -14), (66, -13), (94, -13), (97, 14), (70, 18), (44, 19)),
    "garden-west": ((-44, -30), (-56, -30), (-92, -27), (-96, -44), (-70, -36), (-50, -36), (-42, -56), (-30, -47)),
    "garden-middle": ((-44, -38), (-26, -38), (12, -38), (23, -42), (8, -48), (-20, -49), (-31, -47.5), (-40, -40)),
    "parking": ((23, -33), (40, -31), (94, -31), (96, -43), (60, -43), (24, -43)),
}


@dataclass(frozen=True)
class Path:
    """A smooth path.

    Attributes:
        positions_m: (N, 2) every SPACING_M.
        arc_m: (N,) distances from the start.
        yaw_rad: (N,) from east, unwrapped.
    """

    positions_m: np.ndarray
    arc_m: np.ndarray
    yaw_rad: np.ndarray

    @property
    def length_m(self) -> float:
        """Length of the path."""
        return float(self.arc_m[-1])

    def at(self, arc_m):
        """Position (..., 2) and yaw (...) at distances from the start."""
        east, north, yaw = (
            np.interp(arc_m, self.arc_m, values)
            for values in (self.positions_m[:, 0], self.positions_m[:, 1], self.yaw_rad)
        )
        return np.stack([east, north], axis=-1), yaw


def smooth_path(points_m, corner_m: float = 1.5, backwards: bool = False) -> Path:
    """Round the corners of a polyline with a radius of about `corner_m`."""
    points = np.asarray(points_m[::-1] if backwards else points_m, np.float64)
    corners = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    samples = np.arange(0.0, corners[-1], SPACING_M)
    dense = np.stack([np.interp(samples, corners, points[:, axis]) for axis in (0, 1)], axis=1)
    positions = gaussian_filter1d(dense, corner_m / SPACING_M, axis=0, mode="nearest")
    steps = np.diff(positions, axis=0)
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*steps.T))])
    yaw = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    return Path(positions, arc, np.concatenate([yaw, yaw[-1:]]))


def heading_deg(yaw_rad) -> np.ndarray:
    """Yaw from east, counter-clockwise -> heading from north, clockwise, 0..360."""
    return np.mod(90.0 - np.degrees(yaw_rad), 360.0)
