"""What a filter is given of a stream of fixes whose errors are correlated, although it takes each as independent.

The errors are modelled as a first-order autoregressive process in time: the correlation of two of them, in units of
their own covariance, is rho = exp(-dt / correlation_time). A fix that comes dt after the one before it then adds
(1 - rho) / (1 + rho) = tanh(dt / (2 correlation_time)) of the information of an independent fix, which is the increment
of the information about a constant, 1' R^-1 1, where R is the matrix of the correlations. So the covariance of the fix
is divided by that. The first fix, and one after a long gap, keep their own; at a high rate the factor is
2 correlation_time / dt, and a second of fixes is worth 1 / (2 correlation_time) independent ones at any rate.
"""

from __future__ import annotations

import math

import numpy as np

from campus_visual_gps.errors import ConfigError

INFLATE, THIN, IGNORE = "inflate", "thin", "ignore"
CORRELATED_ERRORS = (INFLATE, THIN, IGNORE)
# For a bundle in which it was not measured: between the 3.7 and 9.6 s that were measured on drives with two models of
# the sample campus (docs/fusion.md).
DEFAULT_CORRELATION_TIME_S = 6.0
# Thinned fixes are so many correlation times apart: as many a second as inflated ones are worth.
THINNING = 2.0
# A smaller step back is a camera that delivers out of order, a larger one a looping bag or a restarted simulation.
TIME_JUMP_S = 1.0
# Two images are not closer than this, so that the factor stays finite.
MIN_INTERVAL_S = 1e-3
_NS_PER_S = 1_000_000_000


def inflation_factor(interval_s: float, correlation_time_s: float) -> float:
    """Factor, 1 or more, on the covariance of a fix that comes `interval_s` after the one before it.

    Args:
        interval_s: Seconds; infinite for the first fix.
        correlation_time_s: Seconds; 0 for independent errors.
    """
    if correlation_time_s <= 0.0:
        return 1.0
    return 1.0 / math.tanh(max(interval_s, MIN_INTERVAL_S) / (2.0 * correlation_time_s))


def inflated(cov_enu_m2: np.ndarray, factor: float) -> np.ndarray:
    """Covariance (3, 3) east, north, up with the horizontal part times `factor`: the altitude is not the image's."""
    result = np.array(cov_enu_m2, dtype=np.float64)
    result[:2, :2] *= factor
    return result


class ErrorDecorrelator:
    """What a stream of accepted fixes becomes before it goes to a filter, from the stamps of their images.

    Args:
        mode: inflate multiplies covariances, thin lets one fix pass every 2 correlation times with the covariance that
            it has, ignore changes nothing.
        correlation_time_s: Of the errors, as measured with the bundle.

    Raises:
        ConfigError: The mode is unknown, or the time is not a positive number.
    """

    def __init__(self, mode: str, correlation_time_s: float):
        if mode not in CORRELATED_ERRORS:
            raise ConfigError(f"correlated_errors {mode!r} is none of {', '.join(CORRELATED_ERRORS)}")
        if not (math.isfinite(correlation_time_s) and correlation_time_s > 0.0):
            raise ConfigError(f"expected correlation_time_s to be a positive number, got {correlation_time_s}")
        self.mode, self.correlation_time_s = mode, correlation_time_s
        self.last_factor = 1.0
        self.held_back_count = 0
        self._newest_ns: int | None = None
        self._due_ns = 0

    def factor(self, stamp_ns: int) -> float | None:
        """The factor on the covariance of a fix with this stamp, 1 or more; None if the filter should not get it.

        Call it for the fixes that the filter would otherwise get, in their order. A stamp that jumps back begins anew.
        """
        if self.mode == IGNORE:
            return 1.0
        newest_ns = self._newest_ns
        if newest_ns is not None and stamp_ns < newest_ns - TIME_JUMP_S * _NS_PER_S:
            newest_ns = None
        factor = self._thinned(stamp_ns, newest_ns) if self.mode == THIN else self._inflated(stamp_ns, newest_ns)
        self._newest_ns = stamp_ns if newest_ns is None else max(stamp_ns, newest_ns)
        if factor is None:
            self.held_back_count += 1
        else:
            self.last_factor = factor
        return factor

    def _inflated(self, stamp_ns: int, newest_ns: int | None) -> float:
        interval_s = math.inf if newest_ns is None else (stamp_ns - newest_ns) / _NS_PER_S
        return inflation_factor(interval_s, self.correlation_time_s)

    def _thinned(self, stamp_ns: int, newest_ns: int | None) -> float | None:
        spacing_ns = round(THINNING * self.correlation_time_s * _NS_PER_S)
        if newest_ns is not None and stamp_ns < self._due_ns:
            return None
        # from the due time and not from this stamp where it is little later, so that the mean rate is not the camera's
        late_ns = spacing_ns if newest_ns is None else stamp_ns - self._due_ns
        self._due_ns = (self._due_ns if late_ns <= spacing_ns // 4 else stamp_ns) + spacing_ns
        return 1.0
