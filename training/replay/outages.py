"""Where the receiver had no fix, and what the robot would have had there without the visual one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from campus_visual_gps.geodesy import MAX_OFFSET_DEG, LocalFrame
from training.replay.fixes import Fixes, usable
from training.replay.tracks import Track

# Receivers give a fix once to ten times a second; after this long without one a filter runs on its odometry.
OUTAGE_S = 2.0
# Odometry is rotated and shifted onto the fixes of this long before the outage: long enough for a heading, and short
# enough that the wheels have not drifted.
ALIGNED_OVER_S = 60.0
# Over a shorter distance the scatter of the fixes dominates the fitted heading.
ALIGNED_OVER_M = 10.0


@dataclass(frozen=True)
class Outage:
    """From the last good fix before it to the first one after it, nanoseconds; the drive's ends where there is none."""

    start_ns: int
    end_ns: int

    @property
    def duration_s(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9

    def contains(self, stamps_ns: np.ndarray) -> np.ndarray:
        """(N,) bool; the fixes at its ends are not in it."""
        return (stamps_ns > self.start_ns) & (stamps_ns < self.end_ns)


def find_outages(receiver: Fixes, start_ns: int, end_ns: int) -> list[Outage]:
    """Stretches of the drive from `start_ns` to `end_ns` of more than OUTAGE_S without a good fix."""
    good = usable(receiver).stamps_ns
    edges = [start_ns, *good[(good > start_ns) & (good < end_ns)].tolist(), end_ns]
    return [Outage(before, after) for before, after in pairwise(edges) if after - before > OUTAGE_S * 1e9]


def inside(outages: list[Outage], stamps_ns: np.ndarray) -> np.ndarray:
    """Whether each stamp (N,) lies in one of the outages: (N,) bool."""
    result = np.zeros(len(stamps_ns), dtype=bool)
    for outage in outages:
        result |= outage.contains(stamps_ns)
    return result


def hold_last_fix_m(receiver: Fixes, frame: LocalFrame, stamps_ns: np.ndarray) -> np.ndarray:
    """(N, 2) metres: the receiver's last good fix at each stamp; NaN before the first."""
    good = usable(receiver)
    if not len(good):
        return np.full((len(stamps_ns), 2), np.nan)
    last = np.searchsorted(good.stamps_ns, stamps_ns, side="right") - 1
    return np.where((last >= 0)[:, None], positions_m(good, frame)[last], np.nan)


def dead_reckoned_m(
    outage: Outage, receiver: Fixes, odometry: Track, frame: LocalFrame, stamps_ns: np.ndarray
) -> np.ndarray | None:
    """(N, 2) metres: odometry from the last good fixes on, or None where it cannot be put on the map.

    Odometry has an origin and a heading of its own. Both are fitted to the good fixes of the ALIGNED_OVER_S before the
    outage, weighted by their variance, which is about what a filter would have: better than to start from the last fix
    alone, which is the worst of them when a roof closes over the antenna.
    """
    aligned = _alignment(usable(receiver), odometry, frame, outage.start_ns)
    return None if aligned is None else odometry.interpolate(stamps_ns) @ aligned[0].T + aligned[1]


def fused_m(
    fixes: Fixes, arrivals_ns: np.ndarray, odometry: Track, frame: LocalFrame, stamps_ns: np.ndarray
) -> np.ndarray:
    """(N, 2) metres: odometry, aligned anew at each stamp to the fixes that had arrived by then; NaN without.

    A stand-in for an EKF over odometry and fixes: weighted by their covariances, and without later fixes.
    """
    result = np.full((len(stamps_ns), 2), np.nan)
    driven = odometry.interpolate(stamps_ns)
    for row, stamp in enumerate(stamps_ns):
        aligned = _alignment(fixes.where(arrivals_ns <= stamp), odometry, frame, int(stamp))
        if aligned is not None:
            result[row] = aligned[0] @ driven[row] + aligned[1]
    return result


def _alignment(fixes: Fixes, odometry: Track, frame: LocalFrame, until_ns: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Rotation and offset of odometry onto the fixes of the ALIGNED_OVER_S before; None where undetermined."""
    near = (fixes.stamps_ns <= until_ns) & (fixes.stamps_ns >= until_ns - ALIGNED_OVER_S * 1e9)
    fixes = fixes.where(near)
    driven, fixed = odometry.interpolate(fixes.stamps_ns), positions_m(fixes, frame)
    known = np.isfinite(driven).all(axis=1) & np.isfinite(fixed).all(axis=1)
    if known.sum() < 2 or np.ptp(driven[known], axis=0).max() < ALIGNED_OVER_M:
        return None
    variance_m2 = np.trace(fixes.covariances_enu_m2[known, :2, :2], axis1=1, axis2=2)
    weights = 1.0 / variance_m2 if np.all(np.isfinite(variance_m2) & (variance_m2 > 0)) else np.ones(known.sum())
    return fit_rigid(driven[known], fixed[known], weights)


def fit_rigid(source: np.ndarray, target: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (2, 2) and offset (2,) that take (N, 2) to (N, 2) with the least weighted squares, without mirroring.

    In the plane the solution is closed: as complex numbers, the rotation is the phase of sum(w conj(source) target).
    """
    weights = weights / weights.sum()
    source_mean, target_mean = weights @ source, weights @ target
    a, b = source - source_mean, target - target_mean
    cosine = weights @ (a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1])
    sine = weights @ (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    angle = np.arctan2(sine, cosine)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return rotation, target_mean - rotation @ source_mean


def positions_m(fixes: Fixes, frame: LocalFrame) -> np.ndarray:
    """(N, 2) metres in the site's frame; NaN for a fix from another part of the globe, such as (0, 0)."""
    latitude, longitude = fixes.positions[:, 0], fixes.positions[:, 1]
    off_deg = np.maximum(abs(latitude - frame.latitude_ref_deg), abs(longitude - frame.longitude_ref_deg))
    near = off_deg < MAX_OFFSET_DEG
    result = np.full((len(fixes), 2), np.nan)
    result[near] = frame.to_local(latitude[near], longitude[near])
    return result
