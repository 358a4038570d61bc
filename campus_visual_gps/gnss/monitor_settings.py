"""Limits of a healthy GNSS receiver: the node parameters gps_*. Without ROS."""

from __future__ import annotations

import math
from dataclasses import dataclass

from campus_visual_gps.errors import ConfigError


@dataclass(frozen=True)
class MonitorSettings:
    """Limits of a healthy receiver, and the hysteresis. Times are on the clock that `fix` and `tick` are given.

    Args:
        startup_grace_s: Until this time after the first call the receiver is waited for: neither faults nor silence
            make it lost.
        max_age_s: The receiver is lost after this time without a new fix.
        max_delay_s: Longest time from a fix's stamp to its arrival. 0 switches the check off, for receivers whose clock
            is not synchronised.
        max_sigma_m: Largest standard deviation along the worst horizontal direction.
        max_sigma_ratio: Largest standard deviation per axis, in units of the one that is usual for the visual fixes. A
            receiver that is not in use must come down to five sixths of that. 0 switches the check off.
        max_speed_mps: Highest speed of the robot; fixes that imply more are jumps.
        assumed_sigma_m: Replaces a covariance that the receiver does not know.
        fault_min_count: Consecutive faulty fixes after which a healthy receiver counts as failed.
        fault_min_duration_s: Time over which these faulty fixes must extend.
        recovery_min_count: Consecutive good fixes after which a failed receiver counts as healthy.
        recovery_min_duration_s: Time over which these good fixes must extend.
        check_against_visual: Whether a receiver that contradicts the visual fixes is faulty.
        contradiction_sigmas: Distance from the visual fixes, in standard deviations of a window's median, from which on
            a receiver in use contradicts them. One that returns, or whose own track jumped, must agree within
            0.55 of it.
        contradiction_min_duration_s: Time over which the contradicting pairs of fixes must extend.

    Raises:
        ConfigError: A value is not finite or is outside its range.
    """

    startup_grace_s: float = 3.0
    max_age_s: float = 2.0
    max_delay_s: float = 0.0
    max_sigma_m: float = 10.0
    max_sigma_ratio: float = 1.2
    max_speed_mps: float = 15.0
    assumed_sigma_m: float = 5.0
    fault_min_count: int = 3
    fault_min_duration_s: float = 0.5
    recovery_min_count: int = 5
    recovery_min_duration_s: float = 3.0
    check_against_visual: bool = True
    contradiction_sigmas: float = 4.5
    contradiction_min_duration_s: float = 3.0

    def __post_init__(self):
        for name in ("max_age_s", "max_sigma_m", "max_speed_mps", "assumed_sigma_m", "contradiction_sigmas"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise ConfigError(f"expected {name} to be a positive number, got {getattr(self, name)}")
        durations_s = ("startup_grace_s", "max_delay_s", "fault_min_duration_s", "recovery_min_duration_s")
        for name in (*durations_s, "contradiction_min_duration_s"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0.0):
                raise ConfigError(f"expected {name} to be 0 s or more, got {getattr(self, name)}")
        if not (math.isfinite(self.max_sigma_ratio) and self.max_sigma_ratio >= 0.0):
            raise ConfigError(f"expected max_sigma_ratio to be 0 or more, got {self.max_sigma_ratio}")
        for name in ("fault_min_count", "recovery_min_count"):
            if getattr(self, name) < 1:
                raise ConfigError(f"expected {name} to be 1 or more, got {getattr(self, name)}")
