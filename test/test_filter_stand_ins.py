"""The stand-ins of navsat_transform and ekf_node do what the real ones were seen to do: why a fix is held back."""

import numpy as np
import pytest
from filter_stand_ins import NO_FIX, WORLD, EkfStandIn, Fix, MapPosition, NavsatTransformStandIn, fused

from campus_visual_gps.geodesy import LocalFrame

FRAME = LocalFrame(39.5, -3.0, 6386792.2, 6361266.2)
TRUTH_M = np.array([-45.0, 21.0])
COV_M2 = np.eye(2) * 1.2**2
OUTLIER_M = np.array([200.0, 0.0])


def fixes(seconds: range, position_m: np.ndarray = TRUTH_M, **fields) -> list[Fix]:
    """One a second."""
    latitude_deg, longitude_deg = FRAME.to_geodetic(position_m)
    return [Fix(float(second), float(latitude_deg), float(longitude_deg), COV_M2, **fields) for second in seconds]


@pytest.fixture
def navsat():
    return NavsatTransformStandIn(FRAME, {"gps", WORLD})


@pytest.fixture
def ekf():
    return EkfStandIn()


def test_a_connected_fix_becomes_its_place_in_the_map(navsat, ekf):
    assert fused(navsat, ekf, fixes(range(5)))[-1] == pytest.approx(TRUTH_M, abs=0.1)
    assert ekf.rejected == 0


@pytest.mark.parametrize("frame_id", ["", "gps_link"], ids=["empty", "not in TF"])
def test_a_fix_whose_frame_is_not_in_tf_puts_the_robot_at_the_origin_for_good(navsat, ekf, frame_id):
    positions = fused(navsat, ekf, fixes(range(80), frame_id=frame_id))
    assert np.abs(positions).max() == 0.0
    assert ekf.rejected == 0 and np.sqrt(ekf.cov_m2[0, 0]) < 2.0  # certain of it


def test_after_fixes_without_tf_the_truth_is_rejected_although_tf_is_there(navsat, ekf):
    navsat.connected = {WORLD}
    fused(navsat, ekf, fixes(range(10)))
    navsat.connected = {"gps", WORLD}
    fused(navsat, ekf, fixes(range(10, 40)))
    assert ekf.rejected == 30
    assert np.linalg.norm(ekf.position_m - TRUTH_M) > 40.0


def test_the_filter_finds_the_truth_at_once_if_fixes_are_held_back_until_tf_is_there(navsat, ekf):
    navsat.connected = {WORLD}
    late = fixes(range(10, 12))
    navsat.connected = {"gps", WORLD}
    assert fused(navsat, ekf, late)[-1] == pytest.approx(TRUTH_M, abs=0.1)


def test_a_fix_without_a_position_is_dropped_and_an_unset_status_is_not(navsat):
    (good,) = fixes(range(1))
    assert navsat.convert(good._replace(status=NO_FIX)) is None
    assert navsat.convert(good._replace(altitude_m=np.nan)) is None
    assert navsat.convert(good._replace(status=-2)) is not None


def test_an_outlier_of_200_m_with_a_small_sigma_is_rejected_and_one_with_a_true_sigma_has_little_effect(ekf):
    for second in range(10):
        ekf.fuse(MapPosition(float(second), TRUTH_M, COV_M2))
    assert not ekf.fuse(MapPosition(10.0, TRUTH_M + OUTLIER_M, COV_M2))
    assert ekf.position_m == pytest.approx(TRUTH_M, abs=0.1)
    assert ekf.fuse(MapPosition(11.0, TRUTH_M + OUTLIER_M, np.eye(2) * 100.0**2))
    assert ekf.position_m == pytest.approx(TRUTH_M, abs=0.5)


def test_the_filter_is_silent_after_a_jump_back_in_time_until_it_is_reset(ekf):
    for second in range(100, 110):
        ekf.fuse(MapPosition(float(second), TRUTH_M, COV_M2))
    before = ekf.position_m.copy()
    elsewhere_m = TRUTH_M + np.array([8.0, 0.0])
    assert not any(ekf.fuse(MapPosition(float(second), elsewhere_m, COV_M2)) for second in range(100))
    assert ekf.ignored == 100 and np.array_equal(ekf.position_m, before)
    ekf.reset()
    assert ekf.fuse(MapPosition(0.0, elsewhere_m, COV_M2))
    assert ekf.position_m == pytest.approx(elsewhere_m, abs=0.1)
