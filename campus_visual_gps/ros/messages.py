"""Conversions: PositionEstimate to NavSatFix and PoseWithCovarianceStamped, DiagnosticReport to DiagnosticStatus.

The fields are set for what consumers do with them. robot_localization does not read the covariance type, accepts any
status but STATUS_NO_FIX, drops a fix whose altitude is NaN, keeps a NaN state for good after one NaN in a covariance,
and takes an all-zero covariance for certainty.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseWithCovarianceStamped
from sensor_msgs.msg import NavSatFix, NavSatStatus

from campus_visual_gps.errors import EstimateError
from campus_visual_gps.ros.diagnostics import DiagnosticReport
from campus_visual_gps.ros.stamps import NS_PER_S

if TYPE_CHECKING:
    from campus_visual_gps.geodesy import LocalFrame
    from campus_visual_gps.localizer import PositionEstimate
    from campus_visual_gps.ros.live_tracking import TrackedEstimate

# An EKF jumps to a fix with a smaller standard deviation; no single image is that accurate.
MIN_SIGMA_M = 0.1
# The orientation is unknown. A standard deviation of pi is larger than that of a uniform angle (pi / sqrt 3), and small
# enough to keep a filter's matrices well conditioned.
UNKNOWN_ORIENTATION_VAR_RAD2 = math.pi**2
# Standard deviation of a rejected fix, for consumers that read neither the status nor the covariance type.
REJECTED_SIGMA_M = 1000.0


def to_stamp(stamp_ns: int) -> Time:
    """builtin_interfaces/Time of nanoseconds since the epoch."""
    seconds, nanoseconds = divmod(stamp_ns, NS_PER_S)
    return Time(sec=seconds, nanosec=nanoseconds)


def to_navsatfix(estimate: PositionEstimate | TrackedEstimate, stamp: Time, frame_id: str) -> NavSatFix:
    """NavSatFix with STATUS_FIX and COVARIANCE_TYPE_KNOWN; the covariance is east, north, up in square metres.

    Raises:
        EstimateError: The estimate would harm an EKF: a value is not finite, the covariance is not positive definite,
            or a standard deviation is below MIN_SIGMA_M.
    """
    position = (estimate.latitude_deg, estimate.longitude_deg, estimate.altitude_m)
    _check_position(position)
    fix = _navsatfix(stamp, frame_id, position, position_covariance_enu_m2(estimate))
    fix.status.status = NavSatStatus.STATUS_FIX
    fix.position_covariance_type = NavSatFix.COVARIANCE_TYPE_KNOWN
    return fix


def to_rejected_fix(frame: LocalFrame, altitude_m: float, stamp: Time, frame_id: str) -> NavSatFix:
    """NavSatFix with STATUS_NO_FIX and COVARIANCE_TYPE_UNKNOWN at the site's reference point.

    All fields are finite and the covariance is large, so that it does not harm a consumer that ignores the status.
    """
    position = (frame.latitude_ref_deg, frame.longitude_ref_deg, altitude_m)
    fix = _navsatfix(stamp, frame_id, position, np.eye(3) * REJECTED_SIGMA_M**2)
    fix.status.status = NavSatStatus.STATUS_NO_FIX
    fix.position_covariance_type = NavSatFix.COVARIANCE_TYPE_UNKNOWN
    return fix


def to_pose(estimate: PositionEstimate | TrackedEstimate, stamp: Time, map_frame: str) -> PoseWithCovarianceStamped:
    """Pose in `map_frame`: x east, y north, origin at the bundle's reference point, z = 0.

    The orientation is unknown: identity with variance UNKNOWN_ORIENTATION_VAR_RAD2.

    Raises:
        EstimateError: As `to_navsatfix`.
    """
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = position_covariance_enu_m2(estimate)
    covariance[3:, 3:] = np.eye(3) * UNKNOWN_ORIENTATION_VAR_RAD2
    if not np.all(np.isfinite(estimate.mean_enu_m)):
        raise EstimateError(f"expected a finite position, got {estimate.mean_enu_m} m")
    pose = PoseWithCovarianceStamped()
    pose.header.stamp, pose.header.frame_id = stamp, map_frame
    pose.pose.pose.position.x, pose.pose.pose.position.y = (float(value) for value in estimate.mean_enu_m)
    pose.pose.pose.orientation.w = 1.0
    pose.pose.covariance = covariance.ravel().tolist()
    return pose


def position_covariance_enu_m2(estimate: PositionEstimate | TrackedEstimate) -> np.ndarray:
    """Covariance (3, 3), east, north, up, square metres, with zero cross terms to up.

    Raises:
        EstimateError: It is not finite and symmetric, or its smallest standard deviation is below MIN_SIGMA_M.
    """
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = estimate.cov_enu_m2
    covariance[2, 2] = estimate.altitude_sigma_m**2
    if not np.all(np.isfinite(covariance)) or not np.allclose(covariance, covariance.T):
        raise EstimateError(f"expected a finite, symmetric covariance, got {covariance.tolist()} m2")
    smallest_m2 = float(np.linalg.eigvalsh(covariance)[0])
    if smallest_m2 < MIN_SIGMA_M**2:
        raise EstimateError(
            f"expected a covariance with variances of at least {MIN_SIGMA_M**2:.2g} m2, got {smallest_m2:.3g} m2"
        )
    return covariance


def to_diagnostic_status(name: str, hardware_id: str, report: DiagnosticReport) -> DiagnosticStatus:
    """The report as a DiagnosticStatus; floats are printed with four significant digits."""
    status = DiagnosticStatus(level=bytes([report.level]), name=name, message=report.message, hardware_id=hardware_id)
    status.values = [KeyValue(key=key, value=_text(value)) for key, value in report.values.items()]
    return status


def to_diagnostic_array(stamp: Time, *statuses: DiagnosticStatus) -> DiagnosticArray:
    """DiagnosticArray with these statuses."""
    array = DiagnosticArray(status=list(statuses))
    array.header.stamp = stamp
    return array


def _check_position(position: tuple[float, float, float]) -> None:
    latitude, longitude, _ = position
    if not all(math.isfinite(value) for value in position) or abs(latitude) > 90.0 or abs(longitude) > 180.0:
        raise EstimateError(f"expected latitude, longitude and altitude of a position on the globe, got {position}")


def _navsatfix(
    stamp: Time, frame_id: str, position: tuple[float, float, float], covariance_enu_m2: np.ndarray
) -> NavSatFix:
    if not frame_id:
        raise EstimateError("expected a frame_id, got an empty one: navsat_transform would put the robot at the origin")
    fix = NavSatFix()
    fix.header.stamp, fix.header.frame_id = stamp, frame_id
    fix.status.service = NavSatStatus.SERVICE_GPS
    fix.latitude, fix.longitude, fix.altitude = (float(value) for value in position)
    fix.position_covariance = covariance_enu_m2.ravel().tolist()
    return fix


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
