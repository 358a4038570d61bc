"""A covariance stays below that of "anywhere on the site", and is otherwise what it was."""

import numpy as np
import pytest
from hypothesis import given, seed
from hypothesis import strategies as st

from campus_visual_gps.errors import BundleError
from campus_visual_gps.estimation.calibration import Calibration, CovarianceCalibration
from campus_visual_gps.estimation.site_bound import MARGIN_SIGMA_M, SiteMoments, bounded

SITE = SiteMoments(np.array([5.0, -3.0]), np.array([[460.0, 120.0], [120.0, 9000.0]]))
INFLATED = CovarianceCalibration(4.0, 0.3, reference_match_score=120.0, bounded=True)
sigmas = st.floats(0.01, 1e4)
angles = st.floats(0.0, np.pi)
places = st.tuples(st.floats(-300.0, 300.0), st.floats(-300.0, 300.0)).map(np.array)


def cov_of(sigma_m: float, other_m: float, angle: float) -> np.ndarray:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn @ np.diag([sigma_m**2, other_m**2]) @ turn.T


def least(matrix: np.ndarray) -> float:
    return float(np.linalg.eigvalsh(matrix).min())


@seed(1)
@given(sigmas, sigmas, angles, st.floats(1.0, 500.0), places)
def test_no_covariance_is_above_the_bound_or_below_the_floor(sigma_m, other_m, angle, match_score, place):
    anywhere = SITE.about(place)
    cov = INFLATED.apply(cov_of(sigma_m, other_m, angle), np.array(match_score), anywhere)
    bound = anywhere + INFLATED.floor_sigma_m**2 * np.eye(2)
    np.testing.assert_array_equal(cov, cov.T)
    assert least(bound - cov) >= -1e-6 * np.trace(bound)
    assert least(cov) >= INFLATED.floor_sigma_m**2 * (1.0 - 1e-6)


@seed(2)
@given(sigmas, sigmas, angles, places)
def test_the_bound_never_widens_a_covariance_and_follows_it_without_jumps(sigma_m, other_m, angle, place):
    cov, anywhere = cov_of(sigma_m, other_m, angle), SITE.about(place)
    kept = bounded(cov, anywhere)
    assert least(cov - kept) >= -1e-9 * np.trace(cov)
    for step in (1e-6, 1e-3):
        scale = np.abs(kept).max() + np.abs(anywhere).max()
        assert np.abs(bounded(cov * (1.0 + step), anywhere) - kept).max() <= 50.0 * step * scale
        assert np.abs(bounded(cov, anywhere * (1.0 + step)) - kept).max() <= 50.0 * step * scale


def test_a_covariance_below_the_bound_stays_and_one_far_above_becomes_it():
    anywhere = SITE.about(np.array([10.0, 50.0]))
    np.testing.assert_allclose(bounded(0.9 * anywhere, anywhere), 0.9 * anywhere)
    np.testing.assert_allclose(bounded(np.diag([200.0, 8000.0]), anywhere), np.diag([200.0, 8000.0]), atol=1e-9)
    np.testing.assert_allclose(bounded(1e9 * np.eye(2), anywhere), anywhere, rtol=1e-4)


def test_an_axis_that_is_longer_than_the_site_is_cut_and_the_other_one_stays():
    site = np.diag([400.0, 9000.0])
    np.testing.assert_allclose(bounded(np.diag([3000.0, 3000.0]), site), np.diag([400.0, 3000.0]), atol=1e-9)


def test_one_whose_outputs_are_not_finite_stays_so_and_moves_no_other():
    covs = np.stack([np.full((2, 2), np.nan), 9.0 * np.eye(2)])
    kept = bounded(covs, np.stack([SITE.cov_enu_m2] * 2))
    assert np.isnan(kept[0]).all()
    np.testing.assert_allclose(kept[1], bounded(9.0 * np.eye(2), SITE.cov_enu_m2))


def test_the_moment_about_a_position_is_that_of_all_cells():
    cells = np.random.default_rng(3).integers(0, 12, (40, 2)) * 6.0
    place = np.array([70.0, -20.0])
    offsets = cells - place
    expected = offsets.T @ offsets / len(cells) + (3.0 + MARGIN_SIGMA_M**2) * np.eye(2)
    np.testing.assert_allclose(SiteMoments.of_cells(cells, 6.0).about(place), expected)


@pytest.mark.parametrize("turned", [1, -1])
def test_the_moments_of_a_polygon_are_those_of_points_drawn_in_it(turned):
    corners = np.array([[100.0, 40.0], [180.0, 60.0], [150.0, 340.0], [90.0, 300.0]])
    drawn = np.random.default_rng(5).uniform([90.0, 40.0], [180.0, 340.0], (400_000, 2))
    x, y = drawn.T
    inside = np.ones(len(drawn), dtype=bool)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        inside &= (end[0] - start[0]) * (y - start[1]) - (end[1] - start[1]) * (x - start[0]) >= 0.0
    moments = SiteMoments.of_polygon(corners[::turned])
    np.testing.assert_allclose(moments.mean_enu_m, drawn[inside].mean(axis=0), atol=0.5)
    margin_m2 = MARGIN_SIGMA_M**2 * np.eye(2)
    np.testing.assert_allclose(moments.cov_enu_m2, np.cov(drawn[inside].T) + margin_m2, rtol=0.02, atol=5.0)


@pytest.mark.parametrize("corners", [[[3.0, 4.0]], [[0.0, 0.0], [100.0, 0.0]], [[0.0, 0.0], [50.0, 0.0], [100.0, 0.0]]])
def test_a_site_that_is_a_line_or_a_point_still_bounds(corners):
    moments = SiteMoments.of_polygon(np.array(corners))
    assert least(moments.cov_enu_m2) > 0.0 and np.isfinite(moments.about(np.zeros(2))).all()


def test_a_calibration_without_the_bound_or_without_a_site_leaves_the_covariance():
    cov, score = np.eye(2), np.array(2.0)
    free = CovarianceCalibration(4.0, 0.3, reference_match_score=120.0)
    np.testing.assert_array_equal(free.apply(cov, score, SITE.cov_enu_m2), free.apply(cov, score))
    np.testing.assert_array_equal(INFLATED.apply(cov, score), free.apply(cov, score))


def test_a_bundle_of_an_earlier_version_has_no_bound_and_a_new_one_keeps_it():
    old = Calibration.from_dict(
        {"floor_sigma_m": 4.0, "scale": 0.3, "night": {"floor_sigma_m": 5.0}, "night_brightness_threshold": 60.0}
    )
    assert not old.bounded and not old.night.bounded
    assert Calibration.from_dict(Calibration(4.0, bounded=True).to_dict()).bounded
    with pytest.raises(BundleError, match="bounded must be true or false"):
        Calibration(4.0, bounded="yes")
