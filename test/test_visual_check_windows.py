"""The windows over which the receiver is compared with the visual fixes, and the pairs of fixes in them."""

import math

import numpy as np
import pytest
from receiver_scene import METRE_DEG

from campus_visual_gps.estimation import correlated_errors
from campus_visual_gps.gnss.arbiter import FixArbiter
from campus_visual_gps.gnss.fix_pairs import FixPair, FixPairing, VisualFix, offset_m
from campus_visual_gps.gnss.visual_check import Comparison, VisualCheck, error_correlation, window_verdict

# The statistic


def pairs(count: int, spacing_s: float, offset: float, speed_mps: float = 1.4, sigma_m: float = 6.0) -> np.ndarray:
    spread = (sigma_m**2, 0.0, sigma_m**2, 2.25)
    ways_m = [speed_mps * row * spacing_s for row in range(count)]
    rows = [FixPair(row * spacing_s, offset, 0.0, way, 0.0, way, 0.0, *spread) for row, way in enumerate(ways_m)]
    return np.array(rows)


def test_a_window_of_a_robot_at_rest_counts_one_error_once_however_many_images_it_has():
    expected = 20.0 / math.hypot(6.0, 1.5)
    for count, spacing_s in ((3, 2.0), (11, 0.5), (26, 0.2)):
        verdict = window_verdict(pairs(count, spacing_s, 20.0, speed_mps=0.0), 4.0)
        assert verdict.sigmas == pytest.approx(expected)
        assert not verdict.moved and verdict.consistent


def test_the_correlation_is_the_mean_over_all_pairs_and_has_a_floor():
    stamps_s = np.cumsum(np.random.default_rng(0).uniform(0.2, 0.8, 12))
    expected = np.exp(-np.abs(stamps_s[:, None] - stamps_s) / 4.0).mean()
    assert error_correlation(stamps_s, 100.0, 4.0) == pytest.approx(expected)
    assert error_correlation(stamps_s, 1.0, 4.0) == 1.0
    assert error_correlation(np.arange(100.0), 1000.0, 0.1) == pytest.approx(1.0 / 3.0)


def test_a_bundle_without_a_correlation_time_is_compared_with_the_time_that_filters_get():
    arbiter = FixArbiter()
    check = arbiter.monitor.visual_check
    assert check.correlation_time_s == correlated_errors.DEFAULT_CORRELATION_TIME_S
    arbiter.set_correlation_time(9.4)
    arbiter.restart()
    assert check.correlation_time_s == 9.4
    arbiter.set_correlation_time(None)
    assert check.correlation_time_s == correlated_errors.DEFAULT_CORRELATION_TIME_S


def test_errors_that_last_longer_make_the_same_offset_a_smaller_distance_in_sigmas():
    sigmas = [window_verdict(pairs(11, 0.5, 20.0), time_s).sigmas for time_s in (2.0, 4.0, 6.5, 20.0)]
    assert sigmas == sorted(sigmas, reverse=True) and sigmas[0] > 1.2 * sigmas[-1]


def test_more_images_a_second_do_not_make_a_window_more_certain():
    few, many = (window_verdict(pairs(count, 5.0 / (count - 1), 20.0), 4.0).sigmas for count in (6, 26))
    assert many == pytest.approx(few, rel=0.05)


# Pairs


def test_the_receivers_position_is_interpolated_at_the_stamp_of_the_image():
    pairing = FixPairing()
    assert pairing.visual(VisualFix(100.5, 39.5, -3.0, np.eye(2)), 100.6) == []
    assert pairing.receiver(100.0, 39.5, -3.0, 1.0, 100.0) == []
    (pair,) = pairing.receiver(101.0, 39.5 + 4.0 * METRE_DEG, -3.0, 1.0, 101.0)
    assert pair.offset_north_m == pytest.approx(2.0) and pair.offset_east_m == pytest.approx(0.0)
    # no image is better than 2 m, and a quarter of a second at 4 m/s is 1 m
    assert (pair.visual_ee_m2, pair.receiver_var_m2) == (4.0, pytest.approx(2.0))


def test_images_beside_a_gap_of_the_receiver_or_too_near_each_other_make_no_pair():
    pairing = FixPairing()
    pairing.receiver(100.0, 39.5, -3.0, 1.0, 100.0)
    pairing.receiver(103.0, 39.5, -3.0, 1.0, 103.0)
    assert pairing.visual(VisualFix(101.5, 39.5, -3.0, np.eye(2)), 103.0) == []
    stamps_s = [103.0 + row / 10 for row in range(11)]
    for stamp_s in stamps_s:
        pairing.receiver(stamp_s + 0.05, 39.5, -3.0, 1.0, stamp_s + 0.05)
    made = [pair for stamp_s in stamps_s for pair in pairing.visual(VisualFix(stamp_s, 39.5, -3.0, np.eye(2)), 104.1)]
    assert [pair.stamp_s for pair in made] == pytest.approx(stamps_s[::2])


@pytest.mark.parametrize("covariance", [np.full((2, 2), np.nan), np.zeros((2, 2)), np.array([[1.0, 2.0], [2.0, 1.0]])])
def test_visual_fixes_without_a_covariance_are_not_compared(covariance):
    check = VisualCheck(4.5, 3.0)
    for row in range(20):
        check.receiver(100.0 + row, 39.5, -3.0, 1.5, 100.0 + row, in_use=False)
        check.visual(VisualFix(100.0 + row, 40.0, -3.0, covariance), 100.0 + row, in_use=False)
    assert check.result is Comparison.NOTHING and not check.contradicts


def test_offsets_cross_the_antimeridian():
    east_m, north_m = offset_m(0.0, -179.999, 0.0, 179.999)
    assert east_m == pytest.approx(0.002 / METRE_DEG) and north_m == 0.0
