"""Odometry on its way to the tracker: what cannot be used is left out, the rest waits for the next image."""

from __future__ import annotations

import math
from collections import Counter, deque
from enum import Enum
from typing import NamedTuple

import numpy as np

from campus_visual_gps.estimation.correlated_errors import TIME_JUMP_S
from campus_visual_gps.tracking.odometry import MAX_SPEED_MPS, MAX_STEP_M

# More samples a second tell nothing more about a displacement from image to image.
MIN_INTERVAL_S = 0.015
# Half a minute of samples; positions are absolute, so that what is lost at the old end is no displacement.
MAX_SAMPLES = 1500


class OdometryFault(str, Enum):
    """What is wrong with a sample. Those from JUMP on are used, but no displacement leads to them."""

    NOT_FINITE = "not_finite"
    UNSTAMPED = "unstamped"
    STAMP_NOT_NEWER = "stamp_not_newer"
    JUMP = "jump"
    OTHER_FRAME = "other_frame"

    def __str__(self) -> str:
        return self.value


class OdometrySample(NamedTuple):
    """A pose of the robot in the odometry's frame.

    Attributes:
        stamp_s: Seconds.
        position_odom_m: (2,) metres.
        yaw_odom_rad: The robot's yaw there; None where it is not known.
        cov_odom_m2: (2, 2) square metres of the position since the start; None where it is not known.
        frame: The odometry's frame.
    """

    stamp_s: float
    position_odom_m: np.ndarray
    yaw_odom_rad: float | None = None
    cov_odom_m2: np.ndarray | None = None
    frame: str = ""


class OdometryBuffer:
    """Samples by increasing stamps, until they are taken. One thread at a time may call it.

    Attributes:
        faults: How often each fault occurred.
    """

    def __init__(self) -> None:
        self.faults: Counter[OdometryFault] = Counter()
        self._samples: deque[OdometrySample] = deque(maxlen=MAX_SAMPLES)
        self._newest: OdometrySample | None = None

    def clear(self) -> None:
        """Forget all samples; the counts stay."""
        self._samples.clear()
        self._newest = None

    def add(self, sample: OdometrySample) -> OdometryFault | None:
        """Take a sample; what is wrong with it, or None."""
        fault, newest = self._fault(sample), self._newest
        if fault is not None:
            self.faults[fault] += 1
            if fault not in (OdometryFault.JUMP, OdometryFault.OTHER_FRAME):
                return fault
        if newest is not None and sample.stamp_s <= newest.stamp_s:  # by more than a second, else it is a fault
            self._samples.clear()
        self._newest = sample
        kept = self._samples[-1] if self._samples else None
        if fault is not None or kept is None or sample.stamp_s - kept.stamp_s >= MIN_INTERVAL_S:
            self._samples.append(sample)
        return fault

    def take(self, stamp_s: float) -> list[OdometrySample]:
        """Remove and return the samples up to a stamp."""
        taken = []
        while self._samples and self._samples[0].stamp_s <= stamp_s:
            taken.append(self._samples.popleft())
        return taken

    def _fault(self, sample: OdometrySample) -> OdometryFault | None:
        position, newest = np.asarray(sample.position_odom_m, dtype=np.float64), self._newest
        if not (math.isfinite(sample.stamp_s) and position.shape == (2,) and np.all(np.isfinite(position))):
            return OdometryFault.NOT_FINITE
        if sample.stamp_s <= 0.0:
            return OdometryFault.UNSTAMPED
        if newest is None or sample.stamp_s < newest.stamp_s - TIME_JUMP_S:
            return None
        if sample.stamp_s <= newest.stamp_s:
            return OdometryFault.STAMP_NOT_NEWER
        if sample.frame != newest.frame:
            return OdometryFault.OTHER_FRAME
        return OdometryFault.JUMP if is_jump(newest, sample) else None


def is_jump(last: OdometrySample, sample: OdometrySample) -> bool:
    """Whether the odometry was set to another place between two samples."""
    with np.errstate(over="ignore"):
        step_m = math.hypot(*(sample.position_odom_m - last.position_odom_m))
    return not step_m <= MAX_SPEED_MPS * (sample.stamp_s - last.stamp_s) + MAX_STEP_M
