"""How uncertain the visual fixes have been of late, to compare with what the receiver claims. Without ROS.

What counts is the standard deviation of the single image, as `visual_gps/pose` has it, because a receiver also claims
what holds for a single fix: neither says how its errors are correlated. The covariance that goes to a filter is
multiplied for that correlation by a factor that grows with the rate of the images, so it says nothing of a single fix.

The median is taken over the last minute or so and not over the last seconds. Images of one poor view have a large
standard deviation for some seconds, in which a filter hardly takes them for anything, and a receiver that becomes
uncertain next to the same wall is not better for it.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from campus_visual_gps.gnss.fix_pairs import MIN_VISUAL_SIGMA_M, VisualFix, offset_m

# So many fixes, of the last MAX_AGE_S; fewer than MIN_COUNT say nothing.
MAX_COUNT, MIN_COUNT = 100, 20
MAX_AGE_S = 120.0
# Images nearer to the last one that counts are of the same view: a robot at rest has one, however long it stands there.
MIN_SPACING_M = 0.5
# Positions scatter by more than that from image to image, so at a high rate a hundred would be a few seconds.
MIN_SPACING_S = 0.45


class VisualAccuracy:
    """The standard deviation that is usual for the visual fixes. Stamps may jump back only with `restart`."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget all fixes."""
        # with their standard deviations
        self._fixes: deque[tuple[VisualFix, float]] = deque(maxlen=MAX_COUNT)
        self.sigma_m: float | None = None

    def add(self, fix: VisualFix) -> None:
        """One more accepted visual fix; afterwards `sigma_m` is the median per axis, None from too few."""
        if not fix.is_sound():
            return
        if self._fixes:
            last, _ = self._fixes[-1]
            away_m = offset_m(fix.latitude_deg, fix.longitude_deg, last.latitude_deg, last.longitude_deg)
            if fix.stamp_s < last.stamp_s + MIN_SPACING_S or math.hypot(*away_m) < MIN_SPACING_M:
                return
        self._fixes.append((fix, fix.axis_sigma_m))
        while self._fixes[0][0].stamp_s < fix.stamp_s - MAX_AGE_S:
            self._fixes.popleft()
        if len(self._fixes) < MIN_COUNT:
            self.sigma_m = None
        else:
            self.sigma_m = max(float(np.median([sigma_m for _, sigma_m in self._fixes])), MIN_VISUAL_SIGMA_M)
