"""The covariance is symmetric, positive definite and never below the floor, whatever the members say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from campus_visual_gps.errors import BundleError
from campus_visual_gps.estimation.grid import POINT_ESTIMATORS, LocationGrid
from campus_visual_gps.estimation.posterior import (
    Calibration,
    CovarianceCalibration,
    believe,
    mixture_moments,
    spread_m,
)

coordinates = st.floats(-5000, 5000, allow_nan=False)


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(2)), elements=coordinates), st.floats(1.0, 50.0))
def test_the_calibrated_covariance_stands_above_its_floor(means, floor):
    mean, cov = mixture_moments(means, np.zeros((len(means), 2, 2)))
    cov = Calibration(floor).apply(cov)
    np.testing.assert_array_equal(cov, cov.T)
    assert np.linalg.eigvalsh(cov).min() >= floor**2 * (1 - 1e-6) - 1e-6
    assert np.all(means.min(axis=0) - 1e-9 <= mean) and np.all(mean <= means.max(axis=0) + 1e-9)


def test_members_that_agree_are_not_certain():
    _, cov = mixture_moments(np.full((3, 2), 7.0), np.zeros((3, 2, 2)))
    np.testing.assert_allclose(Calibration(4.0).apply(cov), 16.0 * np.eye(2))


def test_the_mixture_has_the_mean_covariance_plus_the_spread():
    means = np.array([[0.0, 0.0], [2.0, 0.0]])
    _, cov = mixture_moments(means, np.stack([np.eye(2), 3 * np.eye(2)]))
    np.testing.assert_allclose(cov, [[2.0 + 2.0, 0.0], [0.0, 2.0]])


def test_one_member_has_no_spread():
    mean, cov = mixture_moments(np.array([[1.0, 2.0]]), np.zeros((1, 2, 2)))
    np.testing.assert_array_equal(mean, [1.0, 2.0])
    np.testing.assert_array_equal(cov, np.zeros((2, 2)))


def test_leading_axes_are_kept():
    mean, cov = mixture_moments(np.zeros((5, 3, 2)), np.zeros((5, 3, 2, 2)))
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


CELLS = LocationGrid(np.stack(np.meshgrid(np.arange(8), np.arange(5)), axis=-1).reshape(-1, 2) * 6.0, 6.0)


def _check_claim(cov, floor_sigma_m):
    assert np.all(np.isfinite(cov))
    np.testing.assert_array_equal(cov, cov.T)
    assert np.linalg.eigvalsh(cov).min() >= floor_sigma_m**2 * (1 - 1e-6) - 1e-6


@given(
    st.integers(0, 10_000),
    st.floats(0.01, 300.0),
    st.floats(1.0, 50.0),
    st.floats(0.2, 5.0),
    st.sampled_from(POINT_ESTIMATORS),
)
@settings(deadline=None, max_examples=80)
def test_whatever_maps_the_members_give_the_claim_stands_above_its_floor(seed, logit_scale, floor, temperature, point):
    logits = logit_scale * np.random.default_rng(seed).normal(size=(3, len(CELLS)))
    grid_log_probs = (
        logits
        - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
        - logits.max(1, keepdims=True)
    )
    calibration = Calibration(floor, scale=0.5, temperature=temperature, point=point)
    belief = believe(np.zeros((3, 2)), np.zeros((3, 2, 2)), grid_log_probs, CELLS, calibration, calibration)
    _check_claim(belief.cov_enu_m2, floor)
    assert np.all(belief.mean_enu_m >= -1e-6) and np.all(belief.mean_enu_m <= [42.0 + 1e-6, 24.0 + 1e-6])
    assert belief.grid_probs.sum() == pytest.approx(1.0)


@given(st.integers(0, 10_000), st.floats(0.01, 1e4), st.floats(1.0, 50.0), st.floats(1e-3, 50.0))
@settings(deadline=None, max_examples=80)
def test_whatever_gaussians_the_members_give_the_claim_stands_above_its_floor(seed, spread, floor, scale):
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(3, 2, 2)) * spread
    calibration = Calibration(floor, scale=scale)
    covs = factors @ np.swapaxes(factors, -1, -2)
    belief = believe(rng.normal(size=(3, 2)) * spread, covs, None, None, calibration, calibration)
    _check_claim(belief.cov_enu_m2, floor)


def test_a_map_with_a_nan_gives_no_position():
    calibration = Calibration(5.0)
    grid_log_probs = np.full((2, len(CELLS)), np.log(1 / len(CELLS)))
    grid_log_probs[0, 3] = np.nan
    belief = believe(np.zeros((2, 2)), np.zeros((2, 2, 2)), grid_log_probs, CELLS, calibration, calibration)
    assert np.isnan(belief.mean_enu_m).all()


def test_the_night_has_its_own_scaling_below_its_brightness():
    night = CovarianceCalibration(20.0, 2.0)
    calibration = Calibration(5.0, night=night, night_brightness_threshold=40.0)
    assert calibration.scaling(39.0) is night
    assert calibration.scaling(40.0) is calibration and calibration.scaling(None) is calibration
    with pytest.raises(BundleError, match="night_brightness_threshold"):
        Calibration(5.0, night=night)


def test_the_conformal_radius_is_so_many_sigma():
    scaling = CovarianceCalibration(5.0, conformal_90=2.5)
    assert scaling.radius_m(16.0 * np.eye(2), 90) == pytest.approx(10.0)
    assert scaling.radius_m(16.0 * np.eye(2), 95) is None
