"""The covariance is symmetric, positive definite and never below the floor, whatever the members say."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from campus_visual_gps.errors import BundleError
from campus_visual_gps.estimation.calibration import Calibration, CovarianceCalibration, variance_inflation
from campus_visual_gps.estimation.grid import (
    MEAN,
    POINT_ESTIMATORS,
    LocationGrid,
    apply_temperature,
    mean_grid_probs,
    point_and_covariance,
)
from campus_visual_gps.estimation.posterior import PosteriorEstimator, ensemble_spread_m, mixture_moments
from campus_visual_gps.models.outputs import ModelOutputs
from campus_visual_gps.retrieval.index import RetrievalResult
from campus_visual_gps.retrieval.prior import (
    RetrievalPriorConfig,
    decayed_match_score,
    log_linear_pool,
    match_score_near,
    position_likelihood,
)

coordinates = st.floats(-5000, 5000, allow_nan=False)
GRID = LocationGrid(np.stack(np.meshgrid(np.arange(8), np.arange(5)), axis=-1).reshape(-1, 2) * 6.0, 6.0)
PRIOR = RetrievalPriorConfig(0.5, 8.0, 0.1, null_similarity=0.2, match_exponent=1.0, typical_match_score=4.0)


def outputs_of(means, covs, grid_log_probs=None) -> ModelOutputs:
    """Outputs (N, M, ...) without features."""
    count = len(means)
    finite = np.isfinite(means).reshape(count, -1).all(axis=1)
    empty = np.zeros((count, 0), np.float32)
    return ModelOutputs(means, covs, grid_log_probs, empty, empty, None, None, None, finite)


def grid_outputs(seed: int, images: int = 1, logit_scale: float = 2.0) -> ModelOutputs:
    """Three members with random grids."""
    logits = logit_scale * np.random.default_rng(seed).normal(size=(images, 3, len(GRID)))
    logits -= logits.max(axis=-1, keepdims=True)
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return outputs_of(np.zeros((images, 3, 2)), np.zeros((images, 3, 2, 2)), log_probs)


def retrieved(seed: int, images: int) -> RetrievalResult:
    rng = np.random.default_rng(seed)
    similarities = -np.sort(-rng.uniform(-1, 1, (images, 4)))
    rows = np.tile(np.arange(4), (images, 1))
    return RetrievalResult(rows, similarities, rng.uniform(0, 40, (images, 4, 2)), rng.uniform(1, 12, (images, 4)))


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
    assert ensemble_spread_m(np.zeros((5, 3, 2))).shape == (5,)


def test_ensemble_spread_is_the_distance_from_the_mean():
    assert ensemble_spread_m(np.array([[-3.0, 0.0], [3.0, 0.0]])) == pytest.approx(3.0)


@pytest.mark.parametrize(
    "values",
    [
        {"floor_sigma_m": 0.0},
        {"floor_sigma_m": np.nan},
        {"floor_sigma_m": 5.0, "scale": 0.0},
        {"floor_sigma_m": 5.0, "temperature": np.inf},
        {"floor_sigma_m": 5.0, "reference_match_score": -1.0},
        {"floor_sigma_m": 5.0, "point_temperature": 0.0},
        {"floor_sigma_m": 5.0, "match_decay_m": np.nan},
        {"floor_sigma_m": 5.0, "point_estimator": "mode"},
    ],
)
def test_a_calibration_that_no_fit_gives_is_an_error(values):
    with pytest.raises(BundleError):
        Calibration(**values)


def _check_covariance(cov, floor_sigma_m):
    assert np.all(np.isfinite(cov))
    np.testing.assert_array_equal(cov, np.swapaxes(cov, -1, -2))
    assert np.linalg.eigvalsh(cov).min() >= floor_sigma_m**2 * (1 - 1e-6) - 1e-6


@given(
    st.integers(0, 10_000),
    st.floats(0.01, 300.0),
    st.floats(1.0, 50.0),
    st.floats(0.2, 5.0),
    st.sampled_from(POINT_ESTIMATORS),
    st.one_of(st.none(), st.floats(0.2, 5.0)),
)
def test_whatever_grids_the_members_give_the_covariance_stands_above_its_floor(
    seed, logit_scale, floor, temperature, point_estimator, point_temperature
):
    calibration = Calibration(floor, 0.5, temperature, point_estimator=point_estimator)
    calibration = replace(calibration, point_temperature=point_temperature)
    posterior = PosteriorEstimator(calibration, GRID).estimate(grid_outputs(seed, 2, logit_scale))
    _check_covariance(posterior.cov_enu_m2, floor)
    assert np.all(posterior.mean_enu_m >= -1e-6) and np.all(posterior.mean_enu_m <= [42.0 + 1e-6, 24.0 + 1e-6])
    np.testing.assert_allclose(posterior.grid_probs.sum(axis=1), 1.0)


@given(st.integers(0, 10_000), st.floats(0.01, 1e4), st.floats(1.0, 50.0), st.floats(1e-3, 50.0))
def test_whatever_gaussians_the_members_give_the_covariance_stands_above_its_floor(seed, spread, floor, scale):
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(2, 3, 2, 2)) * spread
    outputs = outputs_of(rng.normal(size=(2, 3, 2)) * spread, factors @ np.swapaxes(factors, -1, -2))
    posterior = PosteriorEstimator(Calibration(floor, scale=scale)).estimate(outputs)
    _check_covariance(posterior.cov_enu_m2, floor)
    assert posterior.grid_probs is None and np.isnan(posterior.match_score).all()


def test_the_posterior_of_point_heads_is_their_mixture():
    rng = np.random.default_rng(0)
    outputs = outputs_of(rng.normal(size=(4, 3, 2)), np.tile(np.eye(2), (4, 3, 1, 1)))
    posterior = PosteriorEstimator(Calibration(2.0, scale=3.0)).estimate(outputs)
    mean, cov = mixture_moments(outputs.member_means_enu_m, outputs.member_covs_enu_m2)
    np.testing.assert_allclose(posterior.mean_enu_m, mean)
    np.testing.assert_allclose(posterior.cov_enu_m2, 3.0 * cov + 4.0 * np.eye(2))


def test_the_posterior_of_grids_is_the_pool_at_its_temperature():
    """Step by step: mean of the members, retrieval prior, temperature, point and covariance, calibration."""
    outputs, retrieval = grid_outputs(1, 3), retrieved(2, 3)
    calibration = Calibration(
        2.0, 1.5, 1.7, conformal_90=2.0, reference_match_score=9.0, point_estimator=MEAN, retrieval_prior=PRIOR
    )
    posterior = PosteriorEstimator(calibration, GRID).estimate(outputs, retrieval)
    likelihood = position_likelihood(retrieval, GRID.centres_enu_m, PRIOR)
    pooled = apply_temperature(log_linear_pool(mean_grid_probs(outputs.grid_log_probs), likelihood, 0.5), 1.7)
    mean, cov = point_and_covariance(pooled, GRID.centres_enu_m, GRID.cell_m, MEAN)
    scores = match_score_near(retrieval, mean)
    np.testing.assert_allclose(posterior.grid_probs, pooled)
    np.testing.assert_allclose(posterior.mean_enu_m, mean)
    np.testing.assert_allclose(posterior.match_score, scores)
    inflation = variance_inflation(scores, 9.0)[:, None, None]
    np.testing.assert_allclose(posterior.cov_enu_m2, (1.5 * cov + 4.0 * np.eye(2)) * inflation)
    sigmas = np.sqrt(np.trace(posterior.cov_enu_m2, axis1=1, axis2=2) / 2.0)
    np.testing.assert_allclose(posterior.radius90_m, 2.0 * sigmas)
    assert np.isnan(posterior.radius95_m).all()


def test_point_and_covariance_have_a_temperature_and_a_match_score_of_their_own():
    outputs, retrieval = grid_outputs(1, 3), retrieved(2, 3)
    old = Calibration(2.0, 1.5, 1.7, reference_match_score=9.0, point_estimator=MEAN, retrieval_prior=PRIOR)
    new = replace(old, point_temperature=0.9, match_decay_m=10.0)
    before, after = (PosteriorEstimator(own, GRID).estimate(outputs, retrieval) for own in (old, new))
    np.testing.assert_array_equal(after.grid_probs, before.grid_probs)
    pooled = PosteriorEstimator(new, GRID).pooled_grid(outputs, retrieval)
    mean, cov = point_and_covariance(apply_temperature(pooled, 0.9), GRID.centres_enu_m, GRID.cell_m, MEAN)
    inflation = variance_inflation(decayed_match_score(retrieval, mean, 10.0), 9.0)[:, None, None]
    np.testing.assert_allclose(after.mean_enu_m, mean)
    np.testing.assert_allclose(after.cov_enu_m2, (1.5 * cov + 4.0 * np.eye(2)) * inflation)
    np.testing.assert_allclose(after.match_score, match_score_near(retrieval, mean))


def test_a_calibration_without_the_newer_keys_has_one_temperature_and_the_score_within_the_radius():
    stored = Calibration(5.0, temperature=1.7).to_dict()
    for key in ("point_temperature", "match_decay_m", "bounded"):
        del stored[key]
    loaded = Calibration.from_dict(stored)
    assert (loaded.point_temperature, loaded.match_decay_m, loaded.bounded) == (None, None, False)


NIGHT = CovarianceCalibration(20.0, 2.0, 3.0, conformal_95=3.0)
WITH_NIGHT = Calibration(5.0, retrieval_prior=PRIOR, night=NIGHT, night_brightness_threshold=40.0)


@pytest.mark.parametrize("calibration", [Calibration(5.0, retrieval_prior=PRIOR), WITH_NIGHT])
def test_a_batch_has_the_posteriors_of_its_images(calibration):
    outputs, retrieval, brightness = grid_outputs(3, 5), retrieved(4, 5), np.array([10.0, 90.0, 39.9, 40.0, 200.0])
    estimator = PosteriorEstimator(calibration, GRID)
    together = estimator.estimate(outputs, retrieval, brightness)
    for row in range(5):
        own = slice(row, row + 1)
        alone = estimator.estimate(outputs.rows(own), retrieval.where(own), brightness[own])
        # the iteration for the geometric median ends for all images at once
        np.testing.assert_allclose(together.mean_enu_m[own], alone.mean_enu_m, atol=1e-3)
        np.testing.assert_allclose(together.cov_enu_m2[own], alone.cov_enu_m2, rtol=1e-3)
        np.testing.assert_allclose(together.grid_probs[own], alone.grid_probs)
        np.testing.assert_allclose(together.match_score[own], alone.match_score)
        np.testing.assert_allclose(together.radius95_m[own], alone.radius95_m, rtol=1e-3)


def test_every_image_of_a_batch_is_calibrated_for_its_own_light():
    outputs, retrieval, brightness = grid_outputs(3, 4), retrieved(4, 4), np.array([10.0, 90.0, 39.9, 40.0])
    found = PosteriorEstimator(WITH_NIGHT, GRID).estimate(outputs, retrieval, brightness)
    day = PosteriorEstimator(Calibration(5.0, retrieval_prior=PRIOR), GRID).estimate(outputs, retrieval)
    by_night = Calibration(20.0, 2.0, 3.0, conformal_95=3.0, retrieval_prior=PRIOR)
    night = PosteriorEstimator(by_night, GRID).estimate(outputs, retrieval)
    dark = brightness < 40.0
    for name in ("mean_enu_m", "cov_enu_m2", "grid_probs", "match_score", "radius95_m"):
        values = getattr(found, name)
        np.testing.assert_allclose(values[dark], getattr(night, name)[dark])
        np.testing.assert_allclose(values[~dark], getattr(day, name)[~dark])
    unknown = PosteriorEstimator(WITH_NIGHT, GRID).estimate(outputs, retrieval)
    np.testing.assert_allclose(unknown.cov_enu_m2, day.cov_enu_m2)


def test_night_and_its_brightness_are_given_together():
    with pytest.raises(BundleError, match="night_brightness_threshold"):
        Calibration(5.0, night=NIGHT)
    with pytest.raises(BundleError, match="night_brightness_threshold"):
        Calibration(5.0, night_brightness_threshold=40.0)


def test_an_image_with_nan_has_no_position_and_leaves_the_others_alone():
    outputs = grid_outputs(5, 2)
    outputs.grid_log_probs[0, 0, 3] = np.nan
    posterior = PosteriorEstimator(Calibration(5.0), GRID).estimate(outputs)
    assert np.isnan(posterior.mean_enu_m[0]).all() and np.isnan(posterior.cov_enu_m2[0]).all()
    assert np.isfinite(posterior.mean_enu_m[1]).all() and np.isfinite(posterior.cov_enu_m2[1]).all()
    points = outputs_of(np.array([[[np.nan, 0.0]], [[1.0, 2.0]]]), np.zeros((2, 1, 2, 2)))
    posterior = PosteriorEstimator(Calibration(5.0)).estimate(points)
    assert np.isnan(posterior.mean_enu_m[0, 0]) and np.isfinite(posterior.mean_enu_m[1]).all()


def test_without_a_prior_the_retrieval_changes_nothing():
    outputs, retrieval = grid_outputs(6, 2), retrieved(7, 2)
    for prior in (None, RetrievalPriorConfig(0.0, 8.0, 0.1)):
        estimator = PosteriorEstimator(Calibration(5.0, reference_match_score=9.0, retrieval_prior=prior), GRID)
        assert not estimator.uses_retrieval
        with_retrieval, without = estimator.estimate(outputs, retrieval), estimator.estimate(outputs)
        np.testing.assert_array_equal(with_retrieval.cov_enu_m2, without.cov_enu_m2)
        assert np.isnan(with_retrieval.match_score).all()
    assert PosteriorEstimator(Calibration(5.0, retrieval_prior=PRIOR), GRID).uses_retrieval
    assert not PosteriorEstimator(Calibration(5.0, retrieval_prior=PRIOR)).uses_retrieval


def test_the_conformal_radius_is_so_many_sigma():
    calibration = CovarianceCalibration(5.0, conformal_90=2.5)
    assert calibration.radius_m(16.0 * np.eye(2), 90) == pytest.approx(10.0)
    assert np.isnan(calibration.radius_m(16.0 * np.eye(2), 95))
