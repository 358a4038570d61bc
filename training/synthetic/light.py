"""The light of a session: where the sun stands, or that it is night or overcast."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from training.synthetic.site import SITE_FRAME


@dataclass(frozen=True)
class Light:
    """kind: 'sun', 'overcast' or 'night'. sun_direction: unit vector (east, north, up) towards the sun."""

    kind: str
    sun_direction: tuple[float, float, float] = (0.0, 0.0, 1.0)
    turbidity: float = 3.0


def sunlight(when: datetime, turbidity: float) -> Light:
    """Clear sky at an aware date and time at the site."""
    return Light("sun", sun_direction(when), turbidity)


def sun_direction(when: datetime) -> tuple[float, float, float]:
    """Unit vector (east, north, up) towards the sun, good to a degree or two (no equation of time)."""
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
