"""The fixes for filters: the visual fixes with what the correlation of their errors calls for.

`visual_gps/fix` and, with output fallback, `fix` carry them; `visual_gps/pose` has the covariance of the single image.
`visual_gps/tracked_fix` obeys the same rule, and `visual_gps/tracked_pose` has the covariance of the tracking.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
from sensor_msgs.msg import NavSatFix

from campus_visual_gps.estimation.correlated_errors import (
    DEFAULT_CORRELATION_TIME_S,
    IGNORE,
    ErrorDecorrelator,
    inflated,
)
from campus_visual_gps.ros.stamps import stamp_to_ns

# A tracked position contains the images before it, so its error lasts. Over the six held-out sessions of the campus
# (1,050 photos) it is as correlated after 8 s as after 2 s, and the fit ends at its upper limit, where single images
# have 9.2 s (docs/tracking.md).
TRACKED_CORRELATION_TIME_S = 60.0


class CorrelatedFixes:
    """Of one active node. The topics have states of their own, because a filter at `fix` has not got every fix.

    Args:
        mode: The parameter correlated_errors.
        correlation_time_s: The bundle's; None where it was not measured, which is logged.
        log: Called with one line.
    """

    def __init__(self, mode: str, correlation_time_s: float | None, log: Callable[[str], object]):
        self._is_measured = correlation_time_s is not None
        time_s = DEFAULT_CORRELATION_TIME_S if correlation_time_s is None else correlation_time_s
        self._visual_fix, self._fix = ErrorDecorrelator(mode, time_s), ErrorDecorrelator(mode, time_s)
        self._tracked_fix = ErrorDecorrelator(mode, max(time_s, TRACKED_CORRELATION_TIME_S))
        if mode != IGNORE and not self._is_measured:
            log(
                f"the bundle has no correlation_time_s: {time_s:g} s are assumed for the correlation of errors "
                "(correlated_errors); `training recalibrate` measures it"
            )

    def on_visual_fix(self, fix: NavSatFix) -> NavSatFix | None:
        """What `visual_gps/fix` carries for a fix with the covariance of its image; None for nothing."""
        return _for_filter(fix, self._visual_fix)

    def on_fix(self, fix: NavSatFix) -> NavSatFix | None:
        """Likewise `fix`, for a visual fix that passes to it."""
        return _for_filter(fix, self._fix)

    def on_tracked_fix(self, fix: NavSatFix) -> NavSatFix | None:
        """Likewise `visual_gps/tracked_fix`, whose errors last longer than those of single images."""
        return _for_filter(fix, self._tracked_fix)

    def values(self) -> dict[str, object]:
        """Key-value pairs for the diagnostics."""
        stream = self._visual_fix
        values: dict[str, object] = {"correlated_errors": stream.mode}
        if stream.mode != IGNORE:
            source = "bundle" if self._is_measured else "default"
            values |= {
                "correlation_time_s": stream.correlation_time_s,
                "correlation_time_from": source,
                "covariance_factor": stream.last_factor,
                "thinned_fixes": stream.held_back_count,
            }
        return values


def _for_filter(fix: NavSatFix, stream: ErrorDecorrelator) -> NavSatFix | None:
    factor = stream.factor(stamp_to_ns(fix.header.stamp))
    if factor is None or factor == 1.0:
        return fix if factor is not None else None
    message = deepcopy(fix)
    covariance_enu_m2 = np.asarray(fix.position_covariance, dtype=np.float64).reshape(3, 3)
    message.position_covariance = inflated(covariance_enu_m2, factor).ravel().tolist()
    return message
