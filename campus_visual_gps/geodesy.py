"""LocalFrame: latitude and longitude <-> local east and north metres (paper, equations 1 to 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from campus_visual_gps.errors import GeodesyError

WGS84_SEMI_MAJOR_AXIS_M = 6378137.0
WGS84_FLATTENING = 1.0 / 298.257223563
SPHERE_RADIUS_M = 6371000.0

# Nearer to a pole the plane of equations 1 to 4 is no approximation of a site.
MAX_REFERENCE_LATITUDE_DEG = 85.0
# A site is a few kilometres wide at most: a position farther away is a wrong label or of another site's bundle.
MAX_OFFSET_DEG = 1.0


@dataclass(frozen=True)
class LocalFrame:
    """A plane that touches the ellipsoid at a reference point: x east, y north, metres.

    x = (lon - lon_ref) cos(lat_ref) R_east and y = (lat - lat_ref) R_north. The plane neglects that meridians
    converge; the error is |x y| tan(lat) / R, under 5 cm across a site of 1 km up to 65 degrees of latitude.
    """

    latitude_ref_deg: float
    longitude_ref_deg: float
    east_radius_m: float
    north_radius_m: float

    def __post_init__(self):
        values = (self.latitude_ref_deg, self.longitude_ref_deg, self.east_radius_m, self.north_radius_m)
        if not np.all(np.isfinite(values)):
            raise GeodesyError(f"reference point of the local frame is not finite: {values}")
        if abs(self.latitude_ref_deg) > MAX_REFERENCE_LATITUDE_DEG:
            raise GeodesyError(
                f"reference latitude {self.latitude_ref_deg} is too near a pole for a local plane "
                f"(limit: {MAX_REFERENCE_LATITUDE_DEG} degrees)"
            )
        if abs(self.longitude_ref_deg) > 180.0:
            raise GeodesyError(f"reference longitude {self.longitude_ref_deg} is outside -180..180 degrees")
        if min(self.east_radius_m, self.north_radius_m) <= 0:
            raise GeodesyError("radii of the local frame must be positive metres")

    @classmethod
    def at(cls, latitude_ref_deg: float, longitude_ref_deg: float) -> LocalFrame:
        """Frame with the WGS 84 radii of curvature at the reference point, so that metres are true metres."""
        e2 = WGS84_FLATTENING * (2.0 - WGS84_FLATTENING)
        w2 = 1.0 - e2 * np.sin(np.radians(latitude_ref_deg)) ** 2
        prime_vertical_m = WGS84_SEMI_MAJOR_AXIS_M / np.sqrt(w2)
        meridian_m = WGS84_SEMI_MAJOR_AXIS_M * (1.0 - e2) / w2**1.5
        return cls(float(latitude_ref_deg), float(longitude_ref_deg), float(prime_vertical_m), float(meridian_m))

    @classmethod
    def spherical(
        cls, latitude_ref_deg: float, longitude_ref_deg: float, radius_m: float = SPHERE_RADIUS_M
    ) -> LocalFrame:
        """Frame with the paper's single R_earth."""
        return cls(float(latitude_ref_deg), float(longitude_ref_deg), float(radius_m), float(radius_m))

    def to_local(self, latitude_deg, longitude_deg) -> np.ndarray:
        """Degrees, each of shape (...), -> (..., 2) float64 east and north metres (equations 3 and 4).

        Raises GeodesyError for a position that is not finite, not on the globe, or not near the reference
        (so also for a site that lies across the antimeridian).
        """
        lat = np.asarray(latitude_deg, dtype=np.float64)
        lon = np.asarray(longitude_deg, dtype=np.float64)
        self._check(lat, lon)
        x = np.radians(lon - self.longitude_ref_deg) * self._east_m_per_rad
        y = np.radians(lat - self.latitude_ref_deg) * self.north_radius_m
        return np.stack([x, y], axis=-1)

    def to_geodetic(self, enu_m) -> tuple[np.ndarray, np.ndarray]:
        """(..., 2) east and north metres -> latitude and longitude, degrees, each (...) (equations 1 and 2).

        Raises GeodesyError like `to_local`.
        """
        enu = np.asarray(enu_m, dtype=np.float64)
        lat = self.latitude_ref_deg + np.degrees(enu[..., 1] / self.north_radius_m)
        lon = self.longitude_ref_deg + np.degrees(enu[..., 0] / self._east_m_per_rad)
        self._check(lat, lon)
        return lat, lon

    @property
    def _east_m_per_rad(self) -> float:
        return self.east_radius_m * np.cos(np.radians(self.latitude_ref_deg))

    def _check(self, lat: np.ndarray, lon: np.ndarray) -> None:
        if not (np.all(np.isfinite(lat)) and np.all(np.isfinite(lon))):
            raise GeodesyError("latitude or longitude is not finite")
        if np.any(np.abs(lat) > 90.0) or np.any(np.abs(lon) > 180.0):
            raise GeodesyError("position is outside -90..90 degrees of latitude or -180..180 of longitude")
        far = np.maximum(np.abs(lat - self.latitude_ref_deg), np.abs(lon - self.longitude_ref_deg))
        if np.any(far > MAX_OFFSET_DEG):
            raise GeodesyError(
                f"position is {np.max(far):.3f} degrees from the reference point "
                f"({self.latitude_ref_deg:.5f}, {self.longitude_ref_deg:.5f}); a local frame serves one site "
                f"(limit: {MAX_OFFSET_DEG} degree, not across the antimeridian)"
            )
