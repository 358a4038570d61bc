"""Capture sessions: people walk through the campus with a phone and take photos."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from training.synthetic.camera import PHONE_A, PHONE_B, Camera
from training.synthetic.light import Light, sunlight
from training.synthetic.noise import phone_fixes
from training.synthetic.paths import ROUTES, heading_deg, smooth_path
from training.synthetic.render import View
from training.synthetic.site import Obstacles, under_roof

LONG_SIDE_PX, SHORT_SIDE_PX = 320, 240
WALKING_SPEED_M_S = 1.3
SECONDS_PER_PHOTO = 4.0
PORTRAIT_SHARE = 0.2
# The robot's route is walked most; the library has few paths.
ROUTE_WEIGHTS = {"drive": 3.0, "library": 1.6}
CLEARANCE_M, CLEAR_VIEW_M = 0.6, 2.2


@dataclass(frozen=True)
class Session:
    """One capture session; `start` is local time with its offset, `name` the folder of the photos."""

    name: str
    start: datetime
    camera: Camera
    kind: str  # as Light.kind
    photos: int
    backwards: bool = False
    turbidity: float = 3.0

    @property
    def light(self) -> Light:
        """Sun at the start, overcast, or night."""
        return sunlight(self.start, self.turbidity) if self.kind == "sun" else Light(self.kind)

    @property
    def seed(self) -> int:
        """Different for each session, and the same on every machine."""
        return int(self.start.timestamp()) % 2**31


def _local(text: str) -> datetime:
    return datetime.fromisoformat(text)


SESSIONS = (
    Session("2025-03-11-morning", _local("2025-03-11T09:40:00+01:00"), PHONE_A, "sun", 150),
    Session("2025-03-13-afternoon", _local("2025-03-13T16:50:00+01:00"), PHONE_B, "sun", 140, True, 4.0),
    Session("2025-03-18-night", _local("2025-03-18T20:50:00+01:00"), PHONE_A, "night", 100),
    Session("2025-03-20-overcast", _local("2025-03-20T12:30:00+01:00"), PHONE_B, "overcast", 80, True),
    Session("2025-04-02-noon", _local("2025-04-02T12:40:00+02:00"), PHONE_A, "sun", 80, False, 2.5),
    Session("2025-04-03-night", _local("2025-04-03T22:10:00+02:00"), PHONE_B, "night", 60, True),
)


@dataclass(frozen=True)
class Photo:
    """One photo to render. Positions are east and north in metres; `file` is relative to the photo folder."""

    file: str
    session: Session
    captured_at: datetime
    view: View
    measured_m: tuple[float, float]
    accuracy_m: float
    measured_heading_deg: float

    @property
    def portrait(self) -> bool:
        """Whether the image is higher than wide."""
        return self.view.height_px > self.view.width_px


def session_photos(session: Session, obstacles: Obstacles) -> list[Photo]:
    """Photos of one session in the order of capture."""
    rng = np.random.default_rng(session.seed)
    views: list[View] = []
    times_s: list[float] = []
    start_s = 0.0
    for route, count in _photos_per_route(session.photos).items():
        path = smooth_path(ROUTES[route], backwards=session.backwards)
        arcs = np.sort((np.arange(count) + rng.uniform(0.1, 0.9, count)) * path.length_m / count)
        views += [_view(path, arc, session, obstacles, rng) for arc in arcs]
        times_s += list(start_s + arcs / WALKING_SPEED_M_S + SECONDS_PER_PHOTO * np.arange(count))
        start_s = times_s[-1] + 60.0
    return _photos(session, views, np.round(times_s), rng)


def _photos_per_route(total: int) -> dict[str, int]:
    weights = {name: smooth_path(points).length_m * ROUTE_WEIGHTS.get(name, 1.0) for name, points in ROUTES.items()}
    scale = total / sum(weights.values())
    counts = {name: int(weight * scale) for name, weight in weights.items()}
    counts["drive"] += total - sum(counts.values())
    return counts


def _view(path, arc_m: float, session: Session, obstacles: Obstacles, rng: np.random.Generator) -> View:
    """A position near the path and a heading without an obstacle right in front of the camera."""
    for attempt in range(40):
        along = np.clip(arc_m + rng.normal(0.0, 0.1 * attempt), 0.0, path.length_m)
        centre, yaw = path.at(along)
        aside = np.clip(rng.normal(0.0, 0.8), -1.8, 1.8)
        position = centre + aside * np.array([-np.sin(yaw), np.cos(yaw)])
        heading = float(heading_deg(yaw) + _turn_deg(rng)) % 360.0
        if _is_clear(position, heading, obstacles):
            return _phone_view(position, heading, session.camera, rng)
    raise ValueError(f"no free position for a photo near {path.at(arc_m)[0]}: a route leads through an obstacle")


def _turn_deg(rng: np.random.Generator) -> float:
    """Heading relative to the path: mostly ahead, else behind or to a side."""
    turn = rng.choice([0.0, 180.0, 90.0, -90.0], p=[0.4, 0.25, 0.175, 0.175])
    return float(turn + rng.uniform(-25.0, 25.0))


def _is_clear(position, heading: float, obstacles: Obstacles) -> bool:
    ahead = np.array([np.sin(np.radians(heading)), np.cos(np.radians(heading))])
    before = (position + ahead * distance for distance in (CLEAR_VIEW_M / 2, CLEAR_VIEW_M))
    return obstacles.clearance_m(position) > CLEARANCE_M and all(obstacles.clearance_m(p) > 0.1 for p in before)


def _phone_view(position, heading: float, camera: Camera, rng: np.random.Generator) -> View:
    portrait = rng.random() < PORTRAIT_SHARE
    width, height = (SHORT_SIDE_PX, LONG_SIDE_PX) if portrait else (LONG_SIDE_PX, SHORT_SIDE_PX)
    return View(
        position_m=(float(position[0]), float(position[1]), float(rng.uniform(1.5, 1.7))),
        heading_deg=heading,
        pitch_deg=float(rng.normal(1.5, 3.0)),
        roll_deg=float(rng.normal(0.0, 2.0)),
        width_px=width,
        height_px=height,
        focal_px=camera.focal_share * LONG_SIDE_PX,
        seed=int(rng.integers(2**31)),
    )


def _photos(session: Session, views: list[View], times_s: np.ndarray, rng: np.random.Generator) -> list[Photo]:
    positions = np.array([view.position_m[:2] for view in views])
    roofed = np.array([under_roof(p) for p in positions])
    fixes = phone_fixes(times_s, positions, roofed, rng)
    headings = [float((view.heading_deg + rng.normal(0.0, 6.0)) % 360.0) for view in views]
    return [
        Photo(
            file=f"{session.name}/IMG_{index + 1:04d}.heic",
            session=session,
            captured_at=session.start + timedelta(seconds=float(times_s[index])),
            view=view,
            measured_m=(float(fixes.measured_m[index, 0]), float(fixes.measured_m[index, 1])),
            accuracy_m=float(fixes.accuracy_m[index]),
            measured_heading_deg=headings[index],
        )
        for index, view in enumerate(views)
    ]
