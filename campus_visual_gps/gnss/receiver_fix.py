"""One fix of the receiver: what is wrong with it, and what of it is missing and filled in. Without ROS.

A receiver is judged by what is needed of it, which is the horizontal position and its covariance. Altitude and vertical
variance are missing in many messages (a 2-D fix, RMC sentences, a driver that writes -1 or not-a-number) without any
harm to the position: they never count as a fault, and are replaced before the fix is published.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import NamedTuple

import numpy as np

EARTH_RADIUS_M = 6_371_000.0
# Values of sensor_msgs/NavSatFix.position_covariance_type. All others, like UNKNOWN (0), say nothing about the values.
APPROXIMATED, DIAGONAL_KNOWN, KNOWN = 1, 2, 3
# sensor_msgs/NavSatStatus.STATUS_UNKNOWN: the driver has not set the status.
STATUS_UNKNOWN = -2
# What drivers write for a value that they do not know: zero is the message's default, -1 the convention of sensor_msgs.
PLACEHOLDERS = (0.0, -1.0)
# (1 mm)2, which no receiver reaches. A smaller variance is in the square of degrees, as of the latitude, or next to 0.
MIN_VARIANCE_M2 = 1e-6
# Where robots drive. Values outside are codes for "no value", as the -2e10 of Septentrio, or garbage.
ALTITUDE_LIMITS_M = (-1000.0, 10_000.0)
# Standard deviation of an altitude whose own is missing, and of the site's altitude in the place of a missing one. It
# covers what such an altitude can be wrong by, which is the relief of a site, or heights over the sea in the place of
# heights over the ellipsoid (up to 107 m), so a filter in three dimensions all but ignores the altitude. Yet it keeps
# the filter's matrices well conditioned: variances like 1e9 m2 beside a receiver's 1e-4 m2 do not.
MISSING_VERTICAL_SIGMA_M = 100.0
# Drivers compute in float32 and rotate between frames: a difference below this part of the variances is rounding.
ASYMMETRY_TOLERANCE = 1e-3
# Correlations nearer to one leave no digits for the arithmetic of a filter.
_MAX_CORRELATION = 1.0 - 1e-9
_NULL_ISLAND_DEG = 1e-6


class GnssFault(str, Enum):
    """Why a fix of the receiver, or its silence, counts against the receiver. The values are names in diagnostics."""

    NO_FIX_STATUS = "no_fix_status"
    STATUS_UNKNOWN = "status_unknown"
    NOT_FINITE = "not_finite"
    OFF_THE_GLOBE = "off_the_globe"
    NULL_ISLAND = "null_island"
    COVARIANCE_NOT_FINITE = "covariance_not_finite"
    COVARIANCE_NEGATIVE = "covariance_negative"
    COVARIANCE_NOT_SYMMETRIC = "covariance_not_symmetric"
    COVARIANCE_NOT_POSITIVE_DEFINITE = "covariance_not_positive_definite"
    UNCERTAIN = "uncertain"
    JUMP = "jump"
    UNSTAMPED = "unstamped"
    FROM_FUTURE = "from_future"
    DELAYED = "delayed"
    FRAME_NOT_IN_TF = "frame_not_in_tf"
    STAMP_NOT_NEWER = "stamp_not_newer"
    SILENT = "silent"
    CONTRADICTS_VISUAL = "contradicts_visual"
    LESS_CERTAIN_THAN_VISUAL = "less_certain_than_visual"

    def __str__(self) -> str:
        return str(self.value)


class Replacement(str, Enum):
    """What is filled in where the receiver's message lacks it. The values are names in diagnostics."""

    ALTITUDE = "altitude"
    VERTICAL_VARIANCE = "vertical_variance"
    COVARIANCE = "covariance"
    COVARIANCE_OFF_DIAGONAL = "covariance_off_diagonal"
    VERTICAL_COVARIANCE = "vertical_covariance"
    FRAME_ID = "frame_id"

    def __str__(self) -> str:
        return str(self.value)


class ReceiverFix(NamedTuple):
    """One fix of the receiver, with the fields of sensor_msgs/NavSatFix.

    `cov_enu_m2` is (3, 3), east, north, up; `covariance_type` says what of it holds. `frame_is_missing`
    tells that TF does not connect the message's frame with the robot, so that a filter would put the fix elsewhere.
    """

    stamp_s: float
    status: int
    latitude_deg: float
    longitude_deg: float
    altitude_m: float
    cov_enu_m2: np.ndarray
    covariance_type: int = KNOWN
    frame_is_missing: bool = False


def position_fault(fix: ReceiverFix) -> GnssFault | None:
    """Why a fix has no horizontal position, None if it has one.

    By the definition of NavSatStatus a fix is valid from STATUS_FIX (0) on, whatever the number above it.
    """
    if fix.status == STATUS_UNKNOWN:
        return GnssFault.STATUS_UNKNOWN
    if fix.status < 0:
        return GnssFault.NO_FIX_STATUS
    if not (math.isfinite(fix.latitude_deg) and math.isfinite(fix.longitude_deg)):
        return GnssFault.NOT_FINITE
    if abs(fix.latitude_deg) > 90.0 or abs(fix.longitude_deg) > 180.0:
        return GnssFault.OFF_THE_GLOBE
    if abs(fix.latitude_deg) < _NULL_ISLAND_DEG and abs(fix.longitude_deg) < _NULL_ISLAND_DEG:
        return GnssFault.NULL_ISLAND
    return None


def is_covariance_unknown(fix: ReceiverFix) -> bool:
    """Whether the message says that the covariance is unknown: by its type, or by a placeholder as horizontal variance.

    Type UNKNOWN holds also for values that look good: by the definition of the message they are none.
    """
    if fix.covariance_type not in (APPROXIMATED, DIAGONAL_KNOWN, KNOWN):
        return True
    variances_m2 = [fix.cov_enu_m2[axis, axis] for axis in (0, 1)]
    return any(value in PLACEHOLDERS or 0.0 < value < MIN_VARIANCE_M2 for value in variances_m2)


def covariance_fault(fix: ReceiverFix) -> GnssFault | None:
    """What makes the horizontal covariance impossible. An unknown one is not at fault, nor is anything vertical."""
    if is_covariance_unknown(fix):
        return None
    block = _horizontal_block(fix)
    if not np.all(np.isfinite(block)):
        return GnssFault.COVARIANCE_NOT_FINITE
    if np.any(np.diagonal(block) < 0.0):
        return GnssFault.COVARIANCE_NEGATIVE
    scale_m2 = math.sqrt(block[0, 0]) * math.sqrt(block[1, 1])
    if abs(block[0, 1] - block[1, 0]) > ASYMMETRY_TOLERANCE * scale_m2:
        return GnssFault.COVARIANCE_NOT_SYMMETRIC
    # the determinant in this form neither overflows nor underflows
    if max(abs(block[0, 1]), abs(block[1, 0])) > _MAX_CORRELATION * scale_m2:
        return GnssFault.COVARIANCE_NOT_POSITIVE_DEFINITE
    return None


def horizontal_sigma_m(fix: ReceiverFix, assumed_sigma_m: float) -> float:
    """Standard deviation along the worst horizontal direction, metres; NaN for a covariance with a fault."""
    if is_covariance_unknown(fix):
        return assumed_sigma_m
    if covariance_fault(fix) is not None:
        return math.nan
    return math.sqrt(np.linalg.eigvalsh(_horizontal_block(fix))[-1])


def axis_sigma_m(fix: ReceiverFix) -> float:
    """Standard deviation per horizontal axis, from the mean of both variances, metres; of a known covariance."""
    return math.hypot(math.sqrt(fix.cov_enu_m2[0, 0]), math.sqrt(fix.cov_enu_m2[1, 1])) / math.sqrt(2.0)


def complete(
    fix: ReceiverFix, assumed_sigma_m: float, site_altitude_m: float
) -> tuple[ReceiverFix, tuple[Replacement, ...]]:
    """The fix with nothing missing, for consumers that take every number for true, and what was replaced.

    A fix that lacks nothing is returned itself. The others get: `assumed_sigma_m` for an unknown covariance; zeros for
    the elements that the covariance's type does not vouch for; the site's altitude for a missing one; and
    MISSING_VERTICAL_SIGMA_M for a missing vertical variance, or with the site's altitude, without correlation to the
    horizontal ones.

    Args:
        fix: One without a fault.
        assumed_sigma_m: In each direction.
        site_altitude_m: Over the ellipsoid.
    """
    replaced = []
    covariance, kind = np.array(fix.cov_enu_m2, dtype=np.float64), fix.covariance_type
    if is_covariance_unknown(fix):
        replaced.append(Replacement.COVARIANCE)
        covariance, kind = np.eye(3) * assumed_sigma_m**2, APPROXIMATED
    elif kind != KNOWN and np.any(covariance != np.diag(np.diagonal(covariance))):
        replaced.append(Replacement.COVARIANCE_OFF_DIAGONAL)
        covariance = np.diag(np.diagonal(covariance))
    altitude_m = fix.altitude_m
    if not _has_altitude(fix):
        replaced.append(Replacement.ALTITUDE)
        altitude_m = site_altitude_m
    if Replacement.ALTITUDE in replaced or not _is_vertical_variance(covariance[2, 2]):
        replaced.append(Replacement.VERTICAL_VARIANCE)
        covariance[2, 2] = MISSING_VERTICAL_SIGMA_M**2
        covariance[2, :2] = covariance[:2, 2] = 0.0
    elif not _is_positive_definite(covariance):
        replaced.append(Replacement.VERTICAL_COVARIANCE)
        covariance[2, :2] = covariance[:2, 2] = 0.0
    if not replaced:
        return fix, ()
    return fix._replace(altitude_m=altitude_m, cov_enu_m2=covariance, covariance_type=kind), tuple(replaced)


def distance_m(one: ReceiverFix, other: ReceiverFix) -> float:
    """Great-circle distance in metres on a sphere, accurate to 0.5 % (haversine formula)."""
    lat1, lon1, lat2, lon2 = map(
        math.radians, (one.latitude_deg, one.longitude_deg, other.latitude_deg, other.longitude_deg)
    )
    chord = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2.0 * EARTH_RADIUS_M * math.asin(math.sqrt(min(chord, 1.0)))


def _horizontal_block(fix: ReceiverFix) -> np.ndarray:
    """(2, 2) of a known covariance. Only type KNOWN vouches for what is not on the diagonal."""
    block = np.array(fix.cov_enu_m2, dtype=np.float64)[:2, :2]
    return block if fix.covariance_type == KNOWN else np.diag(np.diagonal(block))


def _has_altitude(fix: ReceiverFix) -> bool:
    """Whether the altitude is a measurement.

    Exactly zero is a placeholder also where the sea is near: then the site's altitude says the same. A vertical
    variance beyond the one of a missing altitude is how receivers describe a fix in two dimensions.
    """
    low_m, high_m = ALTITUDE_LIMITS_M
    if not low_m <= fix.altitude_m <= high_m or fix.altitude_m in PLACEHOLDERS:
        return False
    variance_m2 = fix.cov_enu_m2[2, 2]
    return is_covariance_unknown(fix) or math.isnan(variance_m2) or variance_m2 <= MISSING_VERTICAL_SIGMA_M**2


def _is_vertical_variance(variance_m2: float) -> bool:
    return MIN_VARIANCE_M2 <= variance_m2 <= MISSING_VERTICAL_SIGMA_M**2


def _is_positive_definite(covariance_m2: np.ndarray) -> bool:
    """Whether a (3, 3) covariance, scaled to correlations, is symmetric up to rounding and positive definite."""
    if not np.all(np.isfinite(covariance_m2)):
        return False
    scale = np.sqrt(np.diagonal(covariance_m2))
    correlation = covariance_m2 / scale[:, None] / scale[None, :]
    if np.abs(correlation - correlation.T).max() > ASYMMETRY_TOLERANCE:
        return False
    return bool(np.linalg.eigvalsh(correlation)[0] > 1.0 - _MAX_CORRELATION)
