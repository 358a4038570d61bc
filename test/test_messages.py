"""What the node publishes can be fused: it is finite and has a plausible covariance, or it is not published."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseWithCovarianceStamped
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import NavSatFix, NavSatStatus

from campus_visual_gps.errors import EstimateError
from campus_visual_gps.estimation.calibration import CovarianceCalibration
from campus_visual_gps.estimation.integrity import QualityIndicators
from campus_visual_gps.estimation.posterior import mixture_moments
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.localizer import PositionEstimate
from campus_visual_gps.ros import messages
from campus_visual_gps.ros.diagnostics import ERROR, DiagnosticReport
from campus_visual_gps.ros.stamps import stamp_to_ns

STAMP = Time(sec=12, nanosec=34)
FRAME = LocalFrame.at(31.262, 34.802)


def estimate(mean=(10.0, -20.0), cov=((25.0, 3.0), (3.0, 16.0)), latitude=31.2618, **overrides) -> PositionEstimate:
    values = {
        "mean_enu_m": np.array(mean, dtype=float),
        "cov_enu_m2": np.array(cov, dtype=float),
        "calibrated_cov_enu_m2": np.array(cov, dtype=float),
        "latitude_deg": latitude,
        "longitude_deg": 34.8021,
        "altitude_m": 300.0,
        "altitude_sigma_m": 5.0,
        "member_means_enu_m": np.array([mean]),
        "member_covs_enu_m2": np.zeros((1, 2, 2)),
        "descriptor": np.zeros(4),
        "match_score": math.nan,
        "indicators": QualityIndicators(1.0, 5.0),
        "grid_probs": None,
        "modes": (),
        "radius90_m": math.nan,
        "radius95_m": math.nan,
        "rejection_reason": None,
        "transform_s": 0.0,
        "ensemble_s": 0.0,
        "ensemble_processor_s": 0.0,
    }
    return PositionEstimate(**(values | overrides))


def test_fix_carries_what_its_consumers_need():
    fix = messages.to_navsatfix(estimate(), STAMP, "front_camera")
    assert (fix.header.stamp, fix.header.frame_id) == (STAMP, "front_camera")
    assert (fix.status.status, fix.status.service) == (NavSatStatus.STATUS_FIX, NavSatStatus.SERVICE_GPS)
    assert (fix.latitude, fix.longitude, fix.altitude) == (31.2618, 34.8021, 300.0)
    assert fix.position_covariance.tolist() == [25.0, 3.0, 0.0, 3.0, 16.0, 0.0, 0.0, 0.0, 25.0]
    assert fix.position_covariance_type == NavSatFix.COVARIANCE_TYPE_KNOWN


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["latitude_deg", "longitude_deg", "altitude_m", "altitude_sigma_m"])
def test_a_number_that_is_not_finite_is_never_published(field, bad):
    with pytest.raises(EstimateError):
        messages.to_navsatfix(estimate(**{field: bad}), STAMP, "camera")


@pytest.mark.parametrize(
    "cov",
    [
        np.zeros((2, 2)),
        np.full((2, 2), np.nan),
        np.diag([25.0, np.inf]),
        np.diag([25.0, -25.0]),
        np.diag([25.0, 1e-6]),
        [[25.0, 25.0], [25.0, 25.0]],
        [[25.0, 3.0], [-3.0, 25.0]],
    ],
)
@pytest.mark.parametrize("convert", [messages.to_navsatfix, messages.to_pose])
def test_a_covariance_that_harms_a_filter_is_never_published(convert, cov):
    with pytest.raises(EstimateError, match="covariance"):
        convert(estimate(cov=cov), STAMP, "camera")


def test_zero_vertical_variance_and_an_empty_frame_are_never_published():
    with pytest.raises(EstimateError, match="covariance"):
        messages.to_navsatfix(estimate(altitude_sigma_m=0.0), STAMP, "camera")
    with pytest.raises(EstimateError, match="frame_id"):
        messages.to_navsatfix(estimate(), STAMP, "")


@pytest.mark.parametrize("latitude", [90.5, -91.0])
def test_a_position_off_the_globe_is_never_published(latitude):
    with pytest.raises(EstimateError, match="globe"):
        messages.to_navsatfix(estimate(latitude=latitude), STAMP, "camera")


number = st.floats(width=64, allow_nan=True, allow_infinity=True)
members = st.lists(st.tuples(number, number, number, number, number), min_size=1, max_size=4)


@given(members)
def test_whatever_the_members_say_a_published_fix_is_finite_and_not_certain(rows):
    table = np.array(rows)
    covs = np.stack([[[row[2], row[3]], [row[3], row[4]]] for row in table])
    with np.errstate(all="ignore"):
        mean, cov = mixture_moments(table[:, :2], covs)
        cov = CovarianceCalibration(5.0).apply(cov)
    try:
        fix = messages.to_navsatfix(estimate(mean=mean, cov=cov), STAMP, "camera")
        pose = messages.to_pose(estimate(mean=mean, cov=cov), STAMP, "map")
    except EstimateError:
        return
    for covariance, size in ((fix.position_covariance, 3), (pose.pose.covariance, 6)):
        matrix = np.array(covariance).reshape(size, size)
        assert np.all(np.isfinite(matrix))
        assert np.linalg.eigvalsh(matrix[:2, :2])[0] >= 0.99 * messages.MIN_SIGMA_M**2
        assert np.all(np.diag(matrix) > 0)


def test_a_rejected_fix_has_no_fix_status_and_a_large_covariance():
    fix = messages.to_rejected_fix(FRAME, 300.0, STAMP, "camera")
    assert fix.status.status == NavSatStatus.STATUS_NO_FIX
    assert fix.position_covariance_type == NavSatFix.COVARIANCE_TYPE_UNKNOWN
    assert np.all(np.isfinite([fix.latitude, fix.longitude, fix.altitude, *fix.position_covariance]))
    assert min(fix.position_covariance[::4]) >= 1e6


def test_pose_is_east_and_north_in_the_map_with_an_unknown_orientation():
    pose = messages.to_pose(estimate(), STAMP, "map")
    assert isinstance(pose, PoseWithCovarianceStamped)
    assert (pose.header.stamp, pose.header.frame_id) == (STAMP, "map")
    position, orientation = pose.pose.pose.position, pose.pose.pose.orientation
    assert (position.x, position.y, position.z) == (10.0, -20.0, 0.0)
    assert (orientation.x, orientation.y, orientation.z, orientation.w) == (0.0, 0.0, 0.0, 1.0)
    covariance = np.array(pose.pose.covariance).reshape(6, 6)
    assert covariance[:2, :2].tolist() == [[25.0, 3.0], [3.0, 16.0]]
    assert np.all(np.diag(covariance)[3:] > 3.0)
    assert np.all(np.isfinite(covariance))


def test_diagnostics_carry_level_name_and_values_as_text():
    report = DiagnosticReport(ERROR, "broken", {"a": 1.23456, "b": 7})
    array = messages.to_diagnostic_array(
        STAMP, messages.to_diagnostic_status("visual_gps: localizer", "model-1", report)
    )
    status = array.status[0]
    assert array.header.stamp == STAMP
    assert (status.level, status.name, status.hardware_id, status.message) == (
        b"\x02",
        "visual_gps: localizer",
        "model-1",
        "broken",
    )
    assert [(pair.key, pair.value) for pair in status.values] == [("a", "1.235"), ("b", "7")]


@pytest.mark.parametrize("make", [Time, SimpleNamespace])
def test_a_stamp_of_any_library_becomes_exact_nanoseconds(make):
    assert stamp_to_ns(make(sec=1_700_000_000, nanosec=123_456_789)) == 1_700_000_000_123_456_789
