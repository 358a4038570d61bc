"""The covariance is symmetric, positive definite and never below the floor, whatever the members say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from campus_visual_gps.errors import BundleError
from campus_visual_gps.uncertainty import Calibration, combine, spread_m

coordinates = st.floats(-5000, 5000, allow_nan=False)


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(2)), elements=coordinates), st.floats(1.0, 50.0))
def test_the_calibrated_covariance_stands_above_its_floor(means, floor):
    mean, cov = combine(means, np.zeros((len(means), 2, 2)))
    cov = Calibration(floor).apply(cov)
    np.testing.assert_array_equal(cov, cov.T)
    assert np.linalg.eigvalsh(cov).min() >= floor**2 * (1 - 1e-6) - 1e-6
    assert np.all(means.min(axis=0) - 1e-9 <= mean) and np.all(mean <= means.max(axis=0) + 1e-9)


def test_members_that_agree_are_not_certain():
    _, cov = combine(np.full((3, 2), 7.0), np.zeros((3, 2, 2)))
    np.testing.assert_allclose(Calibration(4.0).apply(cov), 16.0 * np.eye(2))


def test_the_mixture_has_the_mean_covariance_plus_the_spread():
    means = np.array([[0.0, 0.0], [2.0, 0.0]])
    _, cov = combine(means, np.stack([np.eye(2), 3 * np.eye(2)]))
    np.testing.assert_allclose(cov, [[2.0 + 2.0, 0.0], [0.0, 2.0]])


def test_one_member_has_no_spread():
    mean, cov = combine(np.array([[1.0, 2.0]]), np.zeros((1, 2, 2)))
    np.testing.assert_array_equal(mean, [1.0, 2.0])
    np.testing.assert_array_equal(cov, np.zeros((2, 2)))


def test_leading_axes_are_kept():
    mean, cov = combine(np.zeros((5, 3, 2)), np.zeros((5, 3, 2, 2)))
    assert mean.shape == (5, 2) and cov.shape == (5, 2, 2)
    assert spread_m(np.zeros((5, 3, 2))).shape == (5,)


def test_spread_is_the_distance_from_the_mean():
    assert spread_m(np.array([[-3.0, 0.0], [3.0, 0.0]])) == pytest.approx(3.0)


@pytest.mark.parametrize(
    "values", [{"floor_sigma_m": 0.0}, {"floor_sigma_m": np.nan}, {"floor_sigma_m": 5.0, "scale": 0.0}]
)
def test_a_calibration_without_a_floor_is_refused(values):
    with pytest.raises(BundleError):
        Calibration(**values)
