"""What a bag holds of a drive besides its images."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from campus_visual_gps.geodesy import LocalFrame
from training.replay.fixes import Fixes
from training.replay.reading_report import Reading
from training.replay.switches import Arrival
from training.replay.tracks import Track


@dataclass(frozen=True)
class Drive:
    """The truth, the receiver, the odometry and the delays of a bag.

    `images_ns` (N,) are the stamps of all usable images that have a truth. `fix_delays_s` and `image_delays_s` map
    stamps to seconds until the bag received the message; they are empty where none was recorded. `arrivals` are the
    receiver's messages in the order of receipt, `reading` is what of the bag was not used. `correlation_time_s` is the
    bundle's, None where it was not measured.
    """

    frame: LocalFrame
    images_ns: np.ndarray
    truth: Fixes
    receiver: Fixes | None = None
    odometry: Track | None = None
    fix_delays_s: dict[int, float] = field(default_factory=dict)
    image_delays_s: dict[int, float] = field(default_factory=dict)
    arrivals: list[Arrival] = field(default_factory=list)
    reading: Reading = field(default_factory=Reading)
    correlation_time_s: float | None = None

    @property
    def start_ns(self) -> int:
        """Stamp of the first image, where the drive's time is 0."""
        return int(self.images_ns[0])

    @property
    def end_ns(self) -> int:
        """Stamp of the last image."""
        return int(self.images_ns[-1])

    @property
    def duration_s(self) -> float:
        """From the first image to the last."""
        return (self.end_ns - self.start_ns) / 1e9

    def seconds(self, stamps_ns: np.ndarray) -> np.ndarray:
        """Stamps (N,) as seconds since the first image."""
        return (np.asarray(stamps_ns) - self.start_ns) / 1e9

    def truth_m(self, stamps_ns: np.ndarray) -> np.ndarray:
        """(N, 2) metres, NaN where there is none."""
        truth = self.truth.interpolate(stamps_ns)
        known = np.isfinite(truth[:, 0])
        result = np.full((len(truth), 2), np.nan)
        result[known] = self.frame.to_local(truth[known, 0], truth[known, 1])
        return result
