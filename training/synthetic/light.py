"""The light of a session: sun, overcast or night."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from training.synthetic.site import SITE_FRAME


@dataclass(frozen=True)
class Light:
    """The light of the scene.

    Attributes:
        kind: 'sun', 'overcast' or 'night'.
        sun_direction: Unit vector (east, north, up) towards the sun.
        turbidity: Of the clear sky.
    """

    kind: str
    sun_direction: tuple[float, float, float] = (0.0, 0.0, 1.0)
    turbidity: float = 3.0


def sunlight(when: datetime, turbidity: float) -> Light:
    """Clear sky at the site; `when` has a time zone."""
    return Light("sun", sun_direction(when), turbidity)


def sun_direction(when: datetime) -> tuple[float, float, float]:
    """Unit vector (east, north, up) towards the sun, accurate to about two degrees (no equation of time)."""
    utc = when.astimezone(timezone.utc)
    day = utc.timetuple().tm_yday
    declination = np.radians(-23.44) * np.cos(2 * np.pi / 365.0 * (day + 10))
    hours = utc.hour + utc.minute / 60.0 + SITE_FRAME.longitude_ref_deg / 15.0
    hour_angle = np.radians(15.0 * (hours - 12.0))
    latitude = np.radians(SITE_FRAME.latitude_ref_deg)
    east = -np.cos(declination) * np.sin(hour_angle)
    north = np.cos(latitude) * np.sin(declination) - np.sin(latitude) * np.cos(declination) * np.cos(hour_angle)
    up = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    return float(east), float(north), float(up)
