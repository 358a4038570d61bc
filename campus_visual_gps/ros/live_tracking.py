"""The tracking of an active node: images from the worker's thread, odometry and resets from the executor's."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.estimation.integrity import RejectionReason
from campus_visual_gps.ros.diagnostics import OK, STALE, TIMED_FIXES, WARN, DiagnosticReport
from campus_visual_gps.ros.image_queue import StampedImage
from campus_visual_gps.ros.parameters import NodeParameters
from campus_visual_gps.ros.pipeline import Rejection
from campus_visual_gps.ros.stamps import NS_PER_S
from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.session import (
    ODOMETRY,
    OFF,
    TrackingSession,
    informative_share,
    is_lost,
    weighed_posterior,
)
from campus_visual_gps.tracking.site_mask import reachable_cells

if TYPE_CHECKING:
    from campus_visual_gps.localizer import Localizer, PositionEstimate
    from campus_visual_gps.ros.odometry_input import OdometryMessage
    from campus_visual_gps.tracking.tracker import TrackedPosition


@dataclass(frozen=True)
class TrackedEstimate:
    """A tracked position with what the messages need besides; names as in PositionEstimate.

    Attributes:
        stamp_ns: Of the image.
        tracked: What the tracker says.
    """

    stamp_ns: int
    tracked: TrackedPosition
    latitude_deg: float
    longitude_deg: float
    altitude_m: float
    altitude_sigma_m: float

    @property
    def mean_enu_m(self) -> np.ndarray:
        """(2,) metres."""
        return self.tracked.mean_enu_m

    @property
    def cov_enu_m2(self) -> np.ndarray:
        """(2, 2) square metres, for use alone."""
        return self.tracked.cov_enu_m2

    @property
    def sigma_m(self) -> float:
        """Standard deviation in the worst direction."""
        return float(np.sqrt(np.linalg.eigvalsh(self.cov_enu_m2)[-1]))


class LiveTracking:
    """A TrackingSession with a lock, with what the diagnostics say of it. Any thread may call it.

    Args:
        mode: The parameter tracking, but not off.
        localizer: Whose grid, calibration and local frame are used.

    Attributes:
        latest: The tracked position of the newest image since the last reset.

    Raises:
        ConfigError: The bundle has no location grid.
    """

    def __init__(self, mode: str, localizer: Localizer):
        bundle = localizer.bundle
        if localizer.grid is None:
            raise ConfigError(
                f"parameter tracking: {mode} needs a bundle with a location grid, and {bundle.model_id} has point "
                "heads; train with model.head: probability_map, or set tracking to off"
            )
        calibration = bundle.calibration
        own = calibration.tracking or TrackingCalibration()
        reachable = reachable_cells(localizer.grid, bundle.unreachable_enu_m)
        self._session = TrackingSession(localizer.grid, own, mode, reachable)
        self._reference_match_score = calibration.reference_match_score
        self._frame = bundle.frame
        self._lock = threading.Lock()
        self._steps_s: deque[float] = deque(maxlen=TIMED_FIXES)
        self._contradicted_count = 0
        self.latest: TrackedEstimate | None = None

    @classmethod
    def by(cls, settings: NodeParameters, localizer: Localizer) -> LiveTracking | None:
        """As the parameters ask for it: None for off. Raises ConfigError."""
        return None if settings.tracking == OFF else cls(settings.tracking, localizer)

    @property
    def image_count(self) -> int:
        """Images since the last reset."""
        return self._session.image_count

    def reset(self) -> None:
        """Forget where the robot is."""
        with self._lock:
            self._session.reset()
            self.latest = None

    def odometry(self, message: OdometryMessage) -> None:
        """A pose of the robot's odometry."""
        with self._lock:
            self._session.odometry(*message)

    def image(self, image: StampedImage, estimate: PositionEstimate) -> TrackedEstimate:
        """The position at the time of an image. Raises EstimateError."""
        probs = estimate.grid_probs
        if probs is not None:
            probs = weighed_posterior(probs, informative_share(estimate.match_score, self._reference_match_score))
        start_s = perf_counter()
        with self._lock:
            tracked = self._session.image(image.stamp_ns / NS_PER_S, probs, image.camera, estimate.rejection_reason)
            latitude, longitude = map(float, self._frame.to_geodetic(tracked.mean_enu_m))
            self._contradicted_count += tracked.contradicted
            self.latest = latest = TrackedEstimate(
                image.stamp_ns, tracked, latitude, longitude, estimate.altitude_m, estimate.altitude_sigma_m
            )
        self._steps_s.append(perf_counter() - start_s)
        return latest

    def complete(self, report: DiagnosticReport) -> DiagnosticReport:
        """The node's diagnostic with that of the tracking; WARN in the place of OK while the robot is lost."""
        level, message, values = report
        session, latest = self._session, self.latest
        own: dict[str, object] = {"tracking": session.mode, "tracked_images": session.image_count}
        if session.mode == ODOMETRY:
            own["tracking_motion"] = session.motion
            own |= {f"odometry.{name}": count for name, count in sorted(session.odometry_faults.items())}
        own["contradicted"] = self._contradicted_count
        if self._steps_s:
            own["tracking_step_ms"] = 1e3 * float(np.median(list(self._steps_s)))
        if latest is not None:
            tracked = latest.tracked
            own |= {"tracked_sigma_m": latest.sigma_m, "lost_probability": tracked.lost_probability}
            own["tracked_modes"] = len(tracked.modes)
            if tracked.heading_offset_rad is not None:
                own["heading_offset_deg"] = math.degrees(tracked.heading_offset_rad)
            if is_lost(tracked) and level in (OK, STALE):
                text = f"lost: the images do not fit to any place, with probability {tracked.lost_probability:.2f}"
                level, message = WARN, text if level == OK else f"{message}; {text}"
        return DiagnosticReport(level, message, {**values, **own})


def contradiction(estimate: PositionEstimate, tracked: TrackedEstimate) -> Rejection | None:
    """The rejection of a single image whose posterior contradicts the past. One that is lost contradicts nothing."""
    if not tracked.tracked.contradicted or is_lost(tracked.tracked):
        return None
    (east_m, north_m), (tracked_east_m, tracked_north_m) = estimate.mean_enu_m, tracked.mean_enu_m
    distance_m = math.hypot(east_m - tracked_east_m, north_m - tracked_north_m)
    text = (
        f"position {east_m:.1f} m east, {north_m:.1f} m north, which is {distance_m:.1f} m from the tracked one, "
        f"{tracked_east_m:.1f} m east, {tracked_north_m:.1f} m north, sigma {tracked.sigma_m:.1f} m"
    )
    return Rejection(RejectionReason.CONTRADICTS_TRACK, text)
