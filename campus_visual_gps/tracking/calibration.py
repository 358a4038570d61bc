"""The parameters of the tracker, fitted on held-out sequences and kept in the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from campus_visual_gps.errors import BundleError


@dataclass(frozen=True)
class TrackingCalibration:
    """How a `Tracker` moves its belief and how much it makes of an image. The defaults are those of docs/tracking.md.

    Attributes:
        speed_mps: Typical speed of who carries the camera, for the random walk.
        measurement_power: Exponent of the posterior of an image that comes long after the one before it.
        correlation_time_s: Of the errors of consecutive images: an image that comes dt after the one before it counts
            tanh(dt / (2 correlation_time_s)) of one that comes alone (estimation/correlated_errors.py).
        simultaneous_power: Share, 0 to 1, that a view of another camera at the same time adds: 0 for views that share
            all of their error, 1 for independent ones.
        lost_rate_hz: Rate at which probability flows from the site to the lost state.
        found_rate_hz: Rate at which it flows back, to where the next image says.
        outlier_share: Share of the images that name places where they were not taken.
        outlier_memory_s: For so long outliers are expected to name what outliers have named.
        contradiction_level: Agreement of what an image tells with the belief below which it contradicts it; 1 is the
            agreement of a belief that knows nothing.
        scale: Factor of the second moment of the belief.
        floor_sigma_m: Covariance = scale * second moment + floor_sigma_m^2 I.
        smoothed_scale: `scale` of smoothed positions, which know the later images, too; None takes that of the tracked.
        smoothed_floor_sigma_m: `floor_sigma_m` of smoothed positions, likewise.
        measured: The numbers that justify all of it.

    Raises:
        BundleError: a value that no fit can give.
    """

    speed_mps: float = 1.0
    measurement_power: float = 1.0
    correlation_time_s: float = 3.0
    simultaneous_power: float = 0.5
    lost_rate_hz: float = 0.001
    found_rate_hz: float = 0.1
    outlier_share: float = 0.01
    outlier_memory_s: float = 100.0
    contradiction_level: float = 0.1
    scale: float = 2.0
    floor_sigma_m: float = 8.0
    smoothed_scale: float | None = None
    smoothed_floor_sigma_m: float | None = None
    measured: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (number and np.isfinite(value) and low <= value <= high):
                raise BundleError(f"calibration.tracking: {name} must be a number from {low} to {high}, got {value!r}")
        if not isinstance(self.measured, dict):
            raise BundleError(f"calibration.tracking: measured must be a mapping, got {self.measured!r}")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrackingCalibration:
        """What `to_dict` gave; a key that is absent has its default. Raises BundleError."""
        if not isinstance(data, Mapping):
            raise BundleError(f"calibration.tracking: expected a mapping, got {data!r}")
        unknown = sorted(set(map(str, data)) - {item.name for item in fields(cls)})
        if unknown:
            raise BundleError(
                f"calibration.tracking: unknown {', '.join(unknown)}; this program is older than the bundle"
            )
        return cls(**data)

    def of_smoothed(self) -> TrackingCalibration:
        """With scale and floor of smoothed positions, where they were fitted."""
        scale, floor_sigma_m = self.smoothed_scale, self.smoothed_floor_sigma_m
        return replace(
            self,
            scale=self.scale if scale is None else scale,
            floor_sigma_m=self.floor_sigma_m if floor_sigma_m is None else floor_sigma_m,
        )

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` reads."""
        return asdict(self)


# What a parameter may be.
LIMITS = {
    "speed_mps": (0.01, 50.0),
    "measurement_power": (0.01, 10.0),
    "correlation_time_s": (0.01, 600.0),
    "simultaneous_power": (0.0, 1.0),
    "lost_rate_hz": (1e-6, 1.0),
    "found_rate_hz": (1e-4, 10.0),
    "outlier_share": (1e-6, 0.5),
    "outlier_memory_s": (0.1, 1e5),
    "contradiction_level": (0.0, 1.0),
    "scale": (0.01, 100.0),
    "floor_sigma_m": (0.1, 1000.0),
    "smoothed_scale": (0.01, 100.0),
    "smoothed_floor_sigma_m": (0.1, 1000.0),
}
_OPTIONAL = ("smoothed_scale", "smoothed_floor_sigma_m")
