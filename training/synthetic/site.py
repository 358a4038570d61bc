"""The site of the campus: local frame, areas and obstacles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from campus_visual_gps.geodesy import LocalFrame

# An arbitrary position in open country, where there is no such campus.
SITE_FRAME = LocalFrame.at(39.5, -3.0)
# Above the ellipsoid; the ground is flat. The sample takes sea level for the ellipsoid.
GROUND_ALTITUDE_M = 700.0
BOUNDS_M = (-100.0, -60.0, 100.0, 60.0)  # west, south, east, north

# Vertices counter-clockwise, east and north metres. Together they cover the site without overlap.
AREAS: dict[str, tuple[tuple[float, float], ...]] = {
    "library": ((-100, -8), (-34, -8), (-34, 60), (-100, 60)),
    "plaza": ((-34, -8), (34, -8), (34, 60), (-34, 60)),
    "lab": ((34, -28), (100, -28), (100, 60), (34, 60)),
    "walkway": ((-34, -28), (34, -28), (34, -8), (-34, -8)),
    "garden": ((-100, -60), (100, -60), (100, -28), (-34, -28), (-34, -8), (-100, -8)),
}
# The roof of the walkway, under which GPS reception is poor.
ROOF_M = (-33.0, -22.0, 33.0, -14.0)


def area_of(position_m) -> str:
    """Name of the area with an (east, north) position; '' outside the site."""
    return next((name for name, polygon in AREAS.items() if inside(polygon, position_m)), "")


def inside(polygon, position_m) -> bool:
    """Whether a position is inside a polygon (even-odd rule)."""
    x, y = position_m[0], position_m[1]
    odd = False
    for (xa, ya), (xb, yb) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if (ya > y) != (yb > y) and x < (xb - xa) * (y - ya) / (yb - ya) + xa:
            odd = not odd
    return odd


def under_roof(position_m) -> bool:
    """Whether a position is under the roof of the walkway."""
    west, south, east, north = ROOF_M
    return bool(west <= position_m[0] <= east and south <= position_m[1] <= north)


@dataclass
class Obstacles:
    """Footprints of obstacles: rectangles (x0, y0, x1, y1) and circles (x, y, r), metres."""

    rectangles: list[tuple[float, float, float, float]]
    circles: list[tuple[float, float, float]]

    def clearance_m(self, position_m) -> float:
        """Distance from an (east, north) position to the nearest footprint; 0 or less inside one."""
        x, y = float(position_m[0]), float(position_m[1])
        distances = [np.inf]
        if self.rectangles:
            x0, y0, x1, y1 = np.asarray(self.rectangles, float).T
            distances.append(
                np.min(np.hypot(np.maximum(0, np.maximum(x0 - x, x - x1)), np.maximum(0, np.maximum(y0 - y, y - y1))))
            )
        if self.circles:
            cx, cy, radius = np.asarray(self.circles, float).T
            distances.append(np.min(np.hypot(cx - x, cy - y) - radius))
        return float(min(distances))
