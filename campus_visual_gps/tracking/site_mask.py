"""Which cells of the grid somebody can be in, by the polygons of the bundle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.estimation.integrity import distance_outside_m


def reachable_cells(grid: LocationGrid, unreachable_enu_m: Sequence[Sequence[np.ndarray]]) -> np.ndarray | None:
    """(K,) bool, False for cells whose centre lies in an unreachable area; None where there are no areas.

    Args:
        grid: Of the posterior.
        unreachable_enu_m: Areas, each its outline (V, 2) in metres and then its holes, such as the yard of a building.
    """
    if not unreachable_enu_m:
        return None
    return ~np.array(
        [any(_contains(rings, centre) for rings in unreachable_enu_m) for centre in grid.centres_enu_m], dtype=bool
    )


def _contains(rings: Sequence[np.ndarray], point_enu_m: np.ndarray) -> bool:
    outer, *holes = rings
    inside = distance_outside_m(point_enu_m, outer) <= 0.0
    return inside and all(distance_outside_m(point_enu_m, hole) >= 0.0 for hole in holes)
