"""Odometry on its way to the tracker: what cannot be used is left out, the rest waits for the next image."""

from __future__ import annotations

import math
from collections import Counter, deque
from enum import Enum
from typing import NamedTuple

import numpy as np

from campus_visual_gps.estimation.correlated_errors import TIME_JUMP_S

# No robot that carries a camera is faster; a larger step is an odometry that was set to another place.
MAX_SPEED_MPS, MAX_STEP_M = 30.0, 1.0
# More samples a second tell nothing more about a displacement from image to image.
MIN_INTERVAL_S = 0.02
# Half a minute of samples; positions are absolute, so that what is lost at the old end is no displacement.
MAX_SAMPLES = 1500


class OdometryFault(str, Enum):
    """Why a sample is not used, or where a new stretch of odometry begins. The values are names in diagnostics."""

    NOT_FINITE = "not_finite"
    UNSTAMPED = "unstamped"
    STAMP_NOT_NEWER = "stamp_not_newer"
    JUMP = "jump"
    OTHER_FRAME = "other_frame"
    NO_FRAME = "no_frame"

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
        begins_stretch: Whether it cannot be compared with the samples before it.
    """

    stamp_s: float
    position_odom_m: np.ndarray
    yaw_odom_rad: float | None = None
    cov_odom_m2: np.ndarray | None = None
    frame: str = ""
    begins_stretch: bool = False


class OdometryBuffer:
    """Samples by increasing stamps, until they are taken. One thread at a time may call it.

    Attributes:
        faults: How often each fault occurred.
    """

    def __init__(self) -> None:
        self.faults: Counter[OdometryFault] = Counter()
        self._samples: deque[OdometrySample] = deque(maxlen=MAX_SAMPLES)
        self._newest: OdometrySample | None = None
        self._begins_stretch = True

    def clear(self) -> None:
        """Forget all samples; the counts stay."""
        self._samples.clear()
        self._newest, self._begins_stretch = None, True

    def add(self, sample: OdometrySample) -> OdometryFault | None:
        """Take a sample; what is wrong with it, or None.

        JUMP and OTHER_FRAME are taken all the same: they begin a new stretch, and no displacement leads to them.
        """
        fault = self._fault(sample)
        if fault is not None:
            self.faults[fault] += 1
            if fault not in (OdometryFault.JUMP, OdometryFault.OTHER_FRAME):
                return fault
        newest = self._newest
        if newest is not None and sample.stamp_s <= newest.stamp_s:  # by more than a second, else it is a fault
            self._samples.clear()
            self._begins_stretch = True
        self._begins_stretch = self._begins_stretch or fault is not None
        self._newest = sample
        if self._samples and not self._begins_stretch and sample.stamp_s - self._samples[-1].stamp_s < MIN_INTERVAL_S:
            return None
        if len(self._samples) == MAX_SAMPLES and self._samples[1].begins_stretch is False:
            # what begins a stretch must not be lost at the old end
            self._samples[1] = self._samples[1]._replace(begins_stretch=self._samples[0].begins_stretch)
        self._samples.append(sample._replace(begins_stretch=self._begins_stretch))
        self._begins_stretch = False
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
        step_s = sample.stamp_s - newest.stamp_s
        if step_s <= 0.0:
            return OdometryFault.STAMP_NOT_NEWER
        if sample.frame != newest.frame:
            return OdometryFault.OTHER_FRAME
        if np.hypot(*(position - newest.position_odom_m)) > MAX_SPEED_MPS * step_s + MAX_STEP_M:
            return OdometryFault.JUMP
        return None
