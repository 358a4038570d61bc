"""What navsat_transform and ekf_node of robot_localization do with a stream of fixes, for tests.

Neither node is on PyPI. These stand-ins have the behaviour that matters to a source of fixes; each docstring says
what was observed with the real nodes: robot_localization 3.6.0, the files in config/, and the sample drive played to
them (docs/fusion.md, "With the real filters").
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import yaml
from helpers import ROOT

from campus_visual_gps.geodesy import LocalFrame

NO_FIX = -1
BASE, WORLD = "base_link", "map"


class Fix(NamedTuple):
    """What the nodes read of a NavSatFix: stamp in seconds, position in degrees, covariance (2, 2) in m²."""

    stamp_s: float
    latitude_deg: float
    longitude_deg: float
    cov_m2: np.ndarray
    frame_id: str = "gps"
    status: int = 0
    altitude_m: float = 0.0


class MapPosition(NamedTuple):
    """A message on odometry/gps: stamp in seconds, position in metres of the map, covariance (2, 2) in m²."""

    stamp_s: float
    position_m: np.ndarray
    cov_m2: np.ndarray


@dataclass
class NavsatTransformStandIn:
    """Fixes in degrees to positions in the map, whose origin is the reference point of `frame`.

    `connected` are the frames from which TF leads to the base frame; the base frame leads to the map once WORLD is
    among them.
    """

    frame: LocalFrame
    connected: set[str] = field(default_factory=set)

    def convert(self, fix: Fix) -> MapPosition | None:
        """What is published for a fix; None if it is dropped.

        Observed: a status of -1, or NaN as latitude, longitude or altitude, drops the fix silently; others pass. While
        TF does not lead from the fix's frame to base_link and on to map, each fix becomes (0, 0, 0) with the covariance
        of the fix: 80 of 80 messages with a receiver whose frame is not in TF, and 80 of 80 with an empty frame_id;
        with a static transform that came 10 s late, the 20 of those 10 s. Only the log tells, once a fix:
        "Could not obtain base_link -> gps_link transform". The diagnostics stay OK.
        """
        position_deg = (fix.latitude_deg, fix.longitude_deg)
        if fix.status == NO_FIX or not all(math.isfinite(value) for value in (*position_deg, fix.altitude_m)):
            return None
        if {fix.frame_id, WORLD} <= self.connected:
            return MapPosition(fix.stamp_s, np.asarray(self.frame.to_local(*position_deg), dtype=float), fix.cov_m2)
        return MapPosition(fix.stamp_s, np.zeros(2), fix.cov_m2)


class EkfStandIn:
    """The position of ekf_map with the settings of config/ekf.yaml, for a robot that does not drive.

    A real filter predicts with the velocities of the wheels; here the position only becomes less certain with time.
    """

    def __init__(self):
        text = (ROOT / "config" / "ekf.yaml").read_text(encoding="utf-8")
        own = yaml.safe_load(text)["/**"]["ekf_map"]["ros__parameters"]
        self.threshold = float(own["odom1_pose_rejection_threshold"])
        noise, initial = (
            np.array(own[name], dtype=float).reshape(15, 15)[:2, :2]
            for name in ("process_noise_covariance", "initial_estimate_covariance")
        )
        self._noise_m2_per_s, self._initial_m2 = noise, initial
        self.rejected = self.ignored = 0
        self.reset()

    def reset(self) -> None:
        """The service `reset`: observed to be the only way on after a jump back in time."""
        self.position_m, self.cov_m2 = np.zeros(2), self._initial_m2.copy()
        self._newest_s: float | None = None

    def fuse(self, message: MapPosition) -> bool:
        """Take a message of odometry/gps; return whether it changed the state.

        Observed: the first message is adopted whatever it says, as the initial sigma is 1 km. A later one that is more
        than `odom1_pose_rejection_threshold` (4) sigmas of state and message together away is rejected: one
        fix that was 200 m off with a sigma of 1.2 m moved nothing; and after 20 messages at the origin, the
        truth 45 m away was still rejected 30 s later, while nothing but the filter's own error grew.
        A message whose stamp is older than the newest one is ignored ("has a timestamp before that of the
        previous message received"), with `reset_on_time_jump: true` as without it: its code is commented out. After a
        bag of 40 s began again in simulated time, ekf_odom published 2 positions instead of 754; with a call of `reset`
        0.6 s after the jump, ekf_map published 473 in the second pass and 482 in the first (25 s each).
        """
        if self._newest_s is not None and message.stamp_s < self._newest_s:
            self.ignored += 1
            return False
        elapsed_s = 0.0 if self._newest_s is None else message.stamp_s - self._newest_s
        self._newest_s = message.stamp_s
        self.cov_m2 = self.cov_m2 + elapsed_s * self._noise_m2_per_s
        innovation_m = message.position_m - self.position_m
        together_m2 = self.cov_m2 + message.cov_m2
        if innovation_m @ np.linalg.solve(together_m2, innovation_m) > self.threshold**2:
            self.rejected += 1
            return False
        gain = self.cov_m2 @ np.linalg.inv(together_m2)
        self.position_m = self.position_m + gain @ innovation_m
        self.cov_m2 = (np.eye(2) - gain) @ self.cov_m2
        return True


def fused(navsat: NavsatTransformStandIn, ekf: EkfStandIn, fixes: Iterable[Fix]) -> list[np.ndarray]:
    """Positions of the filter in metres, one after each fix."""
    positions = []
    for fix in fixes:
        converted = navsat.convert(fix)
        if converted is not None:
            ekf.fuse(converted)
        positions.append(ekf.position_m.copy())
    return positions
