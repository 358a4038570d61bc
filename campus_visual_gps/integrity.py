"""Gates that refuse an estimate, each with a named reason. Thresholds travel in the bundle."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from campus_visual_gps.uncertainty import spread_m

NOT_FINITE = "not_finite"  # also a position that no site reaches: the local frame cannot place it on the globe
OUTSIDE_SITE = "outside_site"
SPREAD = "spread"


MAX_OFFSET_M = 20_000.0


@dataclass(frozen=True)
class Gates:
    """Thresholds of the gates. None switches a gate off."""

    site_margin_m: float | None = 25.0
    max_spread_m: float | None = None


def check(
    gates: Gates,
    mean_enu_m: np.ndarray,
    cov_enu_m2: np.ndarray,
    member_means_enu_m: np.ndarray,
    site_polygon_enu_m: np.ndarray,
) -> str | None:
    """Name of the first gate that refuses the estimate, or None when it stands.

    mean (2,), covariance (2, 2), members (M, 2) and site polygon (V, 2), all in metres of the local frame.
    """
    if not (np.all(np.isfinite(cov_enu_m2)) and np.all(np.abs(mean_enu_m) <= MAX_OFFSET_M)):
        return NOT_FINITE
    if gates.site_margin_m is not None and distance_outside_m(mean_enu_m, site_polygon_enu_m) > gates.site_margin_m:
        return OUTSIDE_SITE
    if gates.max_spread_m is not None and spread_m(member_means_enu_m) > gates.max_spread_m:
        return SPREAD
    return None


def distance_outside_m(point_enu_m: np.ndarray, polygon_enu_m: np.ndarray) -> float:
    """Metres from a polygon (V, 2) to a point (2,); negative inside."""
    contour = np.asarray(polygon_enu_m, dtype=np.float32).reshape(-1, 1, 2)
    return -float(cv2.pointPolygonTest(contour, (float(point_enu_m[0]), float(point_enu_m[1])), True))
