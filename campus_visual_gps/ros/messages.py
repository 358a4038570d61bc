"""PositionEstimate -> NavSatFix and PoseWithCovarianceStamped; a status -> DiagnosticArray.

What consumers do with the fields decided them: robot_localization reads neither covariance type nor all statuses,
drops a fix whose altitude is NaN, and is poisoned by one NaN, or captured by an all-zero, covariance.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseWithCovarianceStamped
from sensor_msgs.msg import NavSatFix, NavSatStatus

from campus_visual_gps.errors import EstimateError

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time

    from campus_visual_gps.geodesy import LocalFrame
    from campus_visual_gps.localizer import PositionEstimate

# An EKF takes a smaller claim as the truth and snaps to it; no single image earns one.
MIN_SIGMA_M = 0.1
# One image says nothing of the attitude that a filter could use. A sigma of half a turn is more than that of any angle
# on the circle (pi / sqrt 3), and small enough to leave a filter's matrices well conditioned.
UNKNOWN_ORIENTATION_VAR_RAD2 = math.pi**2
# What a refused frame claims to a consumer that reads neither status nor covariance type: nothing worth following.
REJECTED_SIGMA_M = 1000.0


def to_navsatfix(estimate: PositionEstimate, stamp: Time, frame_id: str) -> NavSatFix:
    """NavSatFix with STATUS_FIX and a KNOWN covariance, east-north-up, square metres, no cross terms to up.

    Raises EstimateError for an estimate that an EKF must not see: anything not finite, a covariance that is not
    positive definite, a claim below MIN_SIGMA_M.
    """
    position = (estimate.latitude_deg, estimate.longitude_deg, estimate.altitude_m)
    _check_position(position)
    fix = _navsatfix(stamp, frame_id, position, position_covariance_enu_m2(estimate))
    fix.status.status = NavSatStatus.STATUS_FIX
    fix.position_covariance_type = NavSatFix.COVARIANCE_TYPE_KNOWN
    return fix


def to_rejected_fix(frame: LocalFrame, altitude_m: float, stamp: Time, frame_id: str) -> NavSatFix:
    """NavSatFix with STATUS_NO_FIX and an UNKNOWN covariance, at the site's reference point.

    All fields are finite, and the covariance large: a consumer that overlooks the status is not harmed.
    """
    position = (frame.latitude_ref_deg, frame.longitude_ref_deg, altitude_m)
    fix = _navsatfix(stamp, frame_id, position, np.eye(3) * REJECTED_SIGMA_M**2)
    fix.status.status = NavSatStatus.STATUS_NO_FIX
    fix.position_covariance_type = NavSatFix.COVARIANCE_TYPE_UNKNOWN
    return fix


def to_pose(estimate: PositionEstimate, stamp: Time, map_frame: str) -> PoseWithCovarianceStamped:
    """Pose in `map_frame`, whose origin is the bundle's reference point, x east and y north.

    z is 0: the map is a plane. The orientation is unknown: identity, with a variance that says so. Raises
    EstimateError like `to_navsatfix`.
    """
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = position_covariance_enu_m2(estimate)
    covariance[3:, 3:] = np.eye(3) * UNKNOWN_ORIENTATION_VAR_RAD2
    if not np.all(np.isfinite(estimate.mean_enu_m)):
        raise EstimateError(f"position {estimate.mean_enu_m} m is not finite")
    pose = PoseWithCovarianceStamped()
    pose.header.stamp, pose.header.frame_id = stamp, map_frame
    pose.pose.pose.position.x, pose.pose.pose.position.y = (float(value) for value in estimate.mean_enu_m)
    pose.pose.pose.orientation.w = 1.0
    pose.pose.covariance = covariance.ravel().tolist()
    return pose


def position_covariance_enu_m2(estimate: PositionEstimate) -> np.ndarray:
    """(3, 3) east, north, up. Raises EstimateError if it is not finite, or not above MIN_SIGMA_M every way."""
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = estimate.cov_enu_m2
    covariance[2, 2] = estimate.altitude_sigma_m**2
    if not np.all(np.isfinite(covariance)) or not np.allclose(covariance, covariance.T):
        raise EstimateError(f"covariance {covariance.tolist()} m2 is not finite and symmetric")
    smallest_m2 = float(np.linalg.eigvalsh(covariance)[0])
    if smallest_m2 < MIN_SIGMA_M**2:
        raise EstimateError(f"covariance claims a variance of {smallest_m2:.3g} m2, below {MIN_SIGMA_M} m squared")
    return covariance


def to_diagnostic_status(
    name: str, hardware_id: str, level: int, message: str, values: dict[str, object]
) -> DiagnosticStatus:
    """DiagnosticStatus; `level` 0 to 3 is OK, WARN, ERROR, STALE."""
    status = DiagnosticStatus(level=bytes([level]), name=name, message=message, hardware_id=hardware_id)
    status.values = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
    return status


def to_diagnostic_array(stamp: Time, *statuses: DiagnosticStatus) -> DiagnosticArray:
    """DiagnosticArray of these statuses."""
    array = DiagnosticArray(status=list(statuses))
    array.header.stamp = stamp
    return array


def _check_position(position: tuple[float, float, float]) -> None:
    latitude, longitude, _ = position
    if not all(math.isfinite(value) for value in position) or abs(latitude) > 90.0 or abs(longitude) > 180.0:
        raise EstimateError(f"latitude, longitude, altitude {position} is no position on the globe")


def _navsatfix(
    stamp: Time, frame_id: str, position: tuple[float, float, float], covariance_enu_m2: np.ndarray
) -> NavSatFix:
    if not frame_id:
        raise EstimateError("frame_id is empty: navsat_transform would place the robot at the origin")
    fix = NavSatFix()
    fix.header.stamp, fix.header.frame_id = stamp, frame_id
    fix.status.service = NavSatStatus.SERVICE_GPS
    fix.latitude, fix.longitude, fix.altitude = (float(value) for value in position)
    fix.position_covariance = covariance_enu_m2.ravel().tolist()
    return fix


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
