"""How much of an independent image an image adds, whose errors are like those of the images before it."""

from __future__ import annotations

import math
from typing import NamedTuple

from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.odometry import PathState

# A camera that has turned by so much sees other things: as good as one correlation time later.
NEW_VIEW_RAD = 1.0


class _Seen(NamedTuple):
    stamp_s: float
    state: PathState | None


class ImageInformation:
    """Shares, 0 to 1, of the information of independent images, from stamps, motion and cameras.

    An image that comes dt after the one before it adds tanh(dt / (2 correlation time)), as correlated_errors.py has it.
    With odometry dt is not more than the time that the way since then takes at the typical speed: a robot that stands
    sees nothing new. Turning is new. Of what a view adds to its own camera, but not to the newest image of any camera,
    the share `simultaneous_power` counts.
    """

    def __init__(self, calibration: TrackingCalibration):
        self._calibration = calibration
        self._seen: dict[str, _Seen] = {}

    def clear(self) -> None:
        """Forget all images."""
        self._seen = {}

    def share(self, stamp_s: float, camera: str, state: PathState | None) -> float:
        """The share of this image, which counts from now on; `state` is the odometry's at its stamp."""
        own, seen = self._calibration, self._seen
        alone = min((self._since(other, stamp_s, state) for other in seen.values()), default=1.0)
        same = self._since(seen[camera], stamp_s, state) if camera in seen else 1.0
        if camera not in seen or stamp_s >= seen[camera].stamp_s:
            seen[camera] = _Seen(stamp_s, state)
        return alone + own.simultaneous_power * (same - alone)

    def _since(self, seen: _Seen, stamp_s: float, state: PathState | None) -> float:
        own, interval_s = self._calibration, abs(stamp_s - seen.stamp_s)
        if state is not None and seen.state is not None:
            way_m = math.hypot(*(state.position_m - seen.state.position_m))
            turned = abs(state.yaw_rad - seen.state.yaw_rad) / NEW_VIEW_RAD
            interval_s = min(interval_s, way_m / own.speed_mps) + own.correlation_time_s * turned
        return math.tanh(interval_s / (2.0 * own.correlation_time_s))
