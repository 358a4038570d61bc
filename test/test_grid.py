"""Grid probabilities give the geometric median, a covariance about it and their modes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from campus_visual_gps.estimation.grid import (
    GEOMETRIC_MEDIAN,
    MEAN,
    MEAN_SHARE,
    MEDIAN_MEAN,
    MIN_SEPARATION_M,
    LocationGrid,
    apply_temperature,
    mean_grid_probs,
    mode_separation_m,
    point_and_covariance,
)

CELL_M = 6.0
COLUMNS, ROWS = np.meshgrid(np.arange(20), np.arange(10))
CENTRES = np.stack([COLUMNS.ravel(), ROWS.ravel()], axis=1) * CELL_M
GRID = LocationGrid(CENTRES, CELL_M)


def bump(east, north, sigma=5.0):
    mass = np.exp(-((CENTRES - [east, north]) ** 2).sum(axis=1) / (2 * sigma**2))
    return mass / mass.sum()


def expected_distance(grid_probs, point):
    return grid_probs @ np.hypot(*(CENTRES - point).T)


@given(hnp.arrays(np.float64, 200, elements=st.floats(0, 1)).filter(lambda values: values.sum() > 1e-3))
def test_no_other_point_has_a_smaller_expected_distance(values):
    grid_probs = values / values.sum()
    point, _ = point_and_covariance(grid_probs, CENTRES, CELL_M)
    around = point + np.array([[5.0, 0.0], [-5.0, 0.0], [0.0, 5.0], [0.0, -5.0]])
    # a cell is a square and not a point, which moves the minimum by a little
    assert expected_distance(grid_probs, point) <= min(expected_distance(grid_probs, other) for other in around) + 0.3


@given(hnp.arrays(np.float64, 200, elements=st.floats(0, 1)).filter(lambda values: values.sum() > 1e-3))
def test_the_covariance_is_that_about_the_reported_point(values):
    grid_probs = values / values.sum()
    point, cov = point_and_covariance(grid_probs, CENTRES, CELL_M)
    mean, cov_of_mean = point_and_covariance(grid_probs, CENTRES, CELL_M, MEAN)
    offset = mean - point
    np.testing.assert_allclose(cov, cov_of_mean + np.outer(offset, offset), atol=1e-6)
    np.testing.assert_allclose(cov, cov.T, atol=1e-9)
    assert np.linalg.eigvalsh(cov).min() >= CELL_M**2 / 12 - 1e-6


@given(hnp.arrays(np.float64, 200, elements=st.floats(0, 1)).filter(lambda values: values.sum() > 1e-3))
def test_median_mean_lies_between_the_two_with_the_covariance_about_itself(values):
    grid_probs = values / values.sum()
    median, mean, point = (
        point_and_covariance(grid_probs, CENTRES, CELL_M, name)[0] for name in (GEOMETRIC_MEDIAN, MEAN, MEDIAN_MEAN)
    )
    np.testing.assert_allclose(point, (1.0 - MEAN_SHARE) * median + MEAN_SHARE * mean, atol=1e-9)
    offsets = CENTRES - point
    about = (offsets * grid_probs[:, None]).T @ offsets + CELL_M**2 / 12 * np.eye(2)
    np.testing.assert_allclose(point_and_covariance(grid_probs, CENTRES, CELL_M, MEDIAN_MEAN)[1], about, atol=1e-6)


def test_of_two_peaks_the_heavier_is_taken_and_the_other_stays_in_the_covariance():
    grid_probs = 0.7 * bump(12.0, 24.0) + 0.3 * bump(102.0, 24.0)
    point, cov = point_and_covariance(grid_probs, CENTRES, CELL_M)
    mean, _ = point_and_covariance(grid_probs, CENTRES, CELL_M, MEAN)
    assert abs(point[0] - 12.0) < 6.0 and abs(mean[0] - 39.0) < 1.0
    assert np.sqrt(cov[0, 0]) > 0.5 * 90.0 * 0.9


def test_many_grids_at_once_are_the_same_as_one_by_one():
    grids = np.stack([bump(10, 10), 0.5 * bump(10, 10) + 0.5 * bump(80, 40)])
    points, covs = point_and_covariance(grids, CENTRES, CELL_M)
    for row, grid_probs in enumerate(grids):
        point, cov = point_and_covariance(grid_probs, CENTRES, CELL_M)
        np.testing.assert_allclose(points[row], point, atol=0.05)
        np.testing.assert_allclose(covs[row], cov, rtol=1e-2)


def test_the_average_of_members_is_a_distribution():
    average = mean_grid_probs(np.log([bump(10, 10) + 1e-300, bump(80, 40) + 1e-300]))
    np.testing.assert_allclose(average, 0.5 * bump(10, 10) + 0.5 * bump(80, 40))
    assert np.isnan(mean_grid_probs(np.full((2, 200), np.nan))).all()


def test_a_temperature_above_one_flattens_and_below_one_sharpens():
    grid_probs = bump(50, 30)
    assert apply_temperature(grid_probs, 2.0).max() < grid_probs.max() < apply_temperature(grid_probs, 0.5).max()
    assert apply_temperature(grid_probs, 1.0) is grid_probs
    for temperature in (0.2, 5.0):
        assert apply_temperature(np.eye(200)[3], temperature) @ np.ones(200) == pytest.approx(1.0)


def test_two_peaks_far_apart_are_two_modes_the_heavier_first():
    modes = GRID.modes(0.35 * bump(12.0, 24.0) + 0.65 * bump(102.0, 30.0))
    assert [round(mode.share, 1) for mode in modes] == [0.6, 0.3]
    np.testing.assert_allclose(modes[0].mean_enu_m, [102.0, 30.0], atol=1.0)
    assert mode_separation_m(modes) == pytest.approx(90.2, abs=1.5)


def test_one_peak_is_one_mode():
    modes = GRID.modes(bump(50, 30))
    assert len(modes) == 1 and mode_separation_m(modes) == 0.0


def test_peaks_nearer_than_a_labels_error_are_one_mode():
    near = MIN_SEPARATION_M - 4.0
    modes = GRID.modes(0.5 * bump(30.0, 30.0, 2.0) + 0.5 * bump(30.0 + near, 30.0, 2.0))
    assert len(modes) == 1
    np.testing.assert_allclose(modes[0].mean_enu_m, [30.0 + near / 2, 30.0], atol=2.0)


def test_a_small_share_of_the_mass_is_no_mode():
    assert len(GRID.modes(0.92 * bump(12.0, 24.0) + 0.08 * bump(102.0, 30.0))) == 1


def test_an_even_grid_has_one_mode_and_one_that_is_nan_has_none():
    assert len(GRID.modes(np.full(200, 1 / 200))) == 1
    assert GRID.modes(np.full(200, np.nan)) == ()


def test_cells_off_the_raster_are_an_error():
    with pytest.raises(ValueError, match="raster"):
        LocationGrid(np.array([[0.0, 0.0], [6.0, 0.0], [14.5, 0.0]]), CELL_M)


def test_two_cells_in_one_square_of_the_raster_are_an_error():
    with pytest.raises(ValueError, match="raster"):
        LocationGrid(np.array([[0.0, 0.0], [6.0, 0.0], [6.1, 0.0]]), CELL_M)


def test_the_separation_of_the_modes_of_many_grids():
    grids = np.stack([bump(50, 30), 0.35 * bump(12.0, 24.0) + 0.65 * bump(102.0, 30.0)])
    np.testing.assert_allclose(GRID.mode_separations_m(grids), [0.0, 90.2], atol=1.5)
    assert GRID.mode_separations_m(grids[:0]).shape == (0,)
