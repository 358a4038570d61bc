"""The calibration is fitted on held-out photos, by likelihood, and finds what made them."""

import dataclasses

import cv2
import numpy as np
import pytest
import yaml
from calibration_sets import GRID, N, gaussian_set, grid_set, nees_of
from helpers import make_members, textured_rgb

from campus_visual_gps.engines.torch_engine import TorchEngine
from campus_visual_gps.estimation.calibration import Calibration, CovarianceCalibration, sigma_m
from campus_visual_gps.models.backbones import get_backbone
from campus_visual_gps.models.site_model import SiteModel
from campus_visual_gps.preprocess import ImageSpec
from training.fit import calibration_set
from training.fit.calibration import (
    MATCH_DECAY_M,
    POINT_TEMPERATURE_FACTOR,
    brightness_of_night,
    fit_calibration,
    fit_covariance_of_sets,
)
from training.fit.calibration_set import PhotoOutputStore, concatenated, read_photos
from training.fit.covariance_fit import conformal_quantile, fit_covariance


def test_members_that_claim_too_little_are_scaled_until_their_covariance_holds():
    rng = np.random.default_rng(0)
    sigma = rng.uniform(4, 20, N)
    calibration = fit_calibration([gaussian_set(rng, sigma, sigma / 2)])
    assert calibration.scale == pytest.approx(4.0, rel=0.25)
    fresh = [gaussian_set(np.random.default_rng(1), sigma, sigma / 2)]
    assert nees_of(fresh, calibration).mean() == pytest.approx(2.0, abs=0.3)
    assert calibration.measured["nees_before"] > 5 > calibration.measured["nees_after"]
    assert calibration.measured["nll_after"] < calibration.measured["nll_before"]


def test_an_error_that_the_members_know_nothing_of_becomes_the_floor():
    rng = np.random.default_rng(2)
    claimed = rng.uniform(2, 20, N)
    errors_m = np.sqrt(claimed**2 + 8.0**2)[:, None] * rng.normal(size=(N, 2))
    fitted = fit_covariance(errors_m, claimed[:, None, None] ** 2 * np.eye(2), coverage=None)
    assert fitted.floor_sigma_m == pytest.approx(8.0, rel=0.2) and fitted.scale == pytest.approx(1.0, rel=0.35)


def test_points_that_claim_nothing_get_a_floor_alone():
    errors_m = 10.0 * np.random.default_rng(3).normal(size=(N, 2))
    fitted = fit_covariance(errors_m, np.zeros((N, 2, 2)), coverage=None)
    assert (fitted.scale, fitted.floor_sigma_m) == (1.0, pytest.approx(10.0, rel=0.1))


def test_the_conformal_radius_holds_the_truth_as_often_as_it_says_whatever_the_distribution():
    rng = np.random.default_rng(4)
    heavy = 5.0 * np.abs(rng.standard_t(2, N)) + 1.0
    calibration = fit_calibration([gaussian_set(rng, heavy, 5.0)])
    fresh = gaussian_set(np.random.default_rng(5), 5.0 * np.abs(np.random.default_rng(6).standard_t(2, N)) + 1.0, 5.0)
    posterior = fresh.posterior(calibration)
    errors = np.linalg.norm(posterior.mean_enu_m - fresh.truth_enu_m, axis=1)
    for level in (90, 95):
        inside = (errors <= calibration.radius_m(posterior.cov_enu_m2, level)).mean()
        assert inside == pytest.approx(level / 100, abs=0.04)


def test_the_conformal_quantile_counts_the_new_photo_too():
    assert conformal_quantile(np.arange(1.0, 20.0), 0.9) == 18.0
    assert conformal_quantile(np.arange(1.0, 20.0), 0.99) == 19.0


def test_a_score_that_counts_twice_is_as_two_scores():
    scores = np.random.default_rng(0).normal(size=30)
    weights = np.where(np.arange(30) % 3 == 0, 2.0, 1.0)
    twice = np.repeat(scores, weights.astype(int))
    for level in (0.1, 0.5, 0.9, 0.95):
        assert conformal_quantile(scores, level, weights) == conformal_quantile(twice, level)


@pytest.mark.parametrize(("width_m", "error_m", "flatter"), [(6.0, 20.0, True), (25.0, 6.0, False)])
def test_the_temperature_makes_grids_as_wide_as_their_errors(width_m, error_m, flatter):
    calibration = fit_calibration([grid_set(np.random.default_rng(7), width_m, error_m)])
    assert (calibration.temperature > 1.5) if flatter else (calibration.temperature < 0.8)
    assert calibration.point_temperature == pytest.approx(POINT_TEMPERATURE_FACTOR * calibration.temperature)


def test_retrieved_photos_that_stand_at_the_truth_become_a_prior():
    sets = [grid_set(np.random.default_rng(8), 20.0, 20.0)]
    without, with_prior = fit_calibration(sets), fit_calibration(sets, retrieval_prior=True)
    assert with_prior.retrieval_prior.weight > 0
    assert (without.match_decay_m, with_prior.match_decay_m) == (None, MATCH_DECAY_M)
    assert with_prior.measured["mean_error_after_m"] < 0.7 * without.measured["mean_error_after_m"]


@pytest.mark.slow
def test_sigma_of_a_photo_that_matches_no_reference_photo_grows_in_proportion():
    rng = np.random.default_rng(13)
    sets = [grid_set(rng, 20.0, 20.0, match_score=score) for score in (10.0, 5.0, 2.0)]
    calibration = fit_calibration(sets, retrieval_prior=True)
    assert calibration.reference_match_score == 10.0
    cov = np.diag([30.0, 10.0])
    known, half, none = (calibration.apply(cov, np.array(score)) for score in (20.0, 5.0, 1.0))
    np.testing.assert_allclose(known, calibration.apply(cov))
    np.testing.assert_allclose(half, 4.0 * known)
    np.testing.assert_allclose(none, 100.0 * known)
    sigmas = [sigma_m(one.posterior(calibration).cov_enu_m2).mean() for one in sets]
    assert sigmas[0] < 0.6 * sigmas[1] < 0.36 * sigmas[2]


def test_night_gets_a_covariance_of_its_own_only_if_the_errors_call_for_one():
    rng = np.random.default_rng(9)
    alike = [
        gaussian_set(rng, 8.0, 8.0, night=0.0),
        gaussian_set(rng, 8.0, 8.0, night=1.0, brightness=30.0),
    ]
    assert fit_calibration(alike).night is None
    apart = [
        gaussian_set(rng, 8.0, 8.0, night=0.0),
        gaussian_set(rng, 24.0, 8.0, night=1.0, brightness=30.0),
    ]
    calibration = fit_calibration(apart)
    assert calibration.measured["light"] == "apart" and 30 < calibration.night_brightness_threshold < 120
    cov = 64.0 * np.eye(2)
    day, night = (own.apply(cov)[0, 0] for own in (calibration.general(), calibration.night))
    assert np.sqrt(day) == pytest.approx(8.0, rel=0.2) and np.sqrt(night) == pytest.approx(24.0, rel=0.2)
    for one in apart:
        assert nees_of([one], calibration).mean() == pytest.approx(2.0, abs=0.3)


def test_lights_that_brightness_cannot_tell_apart_are_calibrated_together():
    rng = np.random.default_rng(10)
    sets = [gaussian_set(rng, 8.0, 8.0, night=0.0), gaussian_set(rng, 24.0, 8.0, night=1.0)]
    calibration = fit_calibration(sets)
    assert calibration.night is None and calibration.measured["light_accuracy"] < 0.9


def test_the_brightness_of_night_lies_between_the_lights():
    threshold, accuracy = brightness_of_night(
        np.r_[np.full(50, 20.0), np.full(50, 90.0)], np.r_[np.ones(50), np.zeros(50)]
    )
    assert 20.0 < threshold <= 90.0 and accuracy == 1.0


def test_few_photos_give_a_floor_and_nothing_else():
    calibration = fit_calibration([gaussian_set(np.random.default_rng(11), 10.0, 1.0, n=8)])
    assert calibration.scale == 1.0 and calibration.conformal_90 is None and calibration.floor_sigma_m > 4.0


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """An engine, and the files of 20 stored photos."""
    members, described = make_members((1,)), get_backbone("resnet18")
    engine = TorchEngine(SiteModel([members[0][1]], ImageSpec(64, described.mean, described.std)), "cpu", "fp32")
    directory = tmp_path_factory.mktemp("photos")
    paths = [directory / f"{index}.png" for index in range(20)]
    for index, path in enumerate(paths):
        cv2.imwrite(str(path), textured_rgb(64, 64, index))
    return engine, paths


@pytest.mark.slow
def test_stored_photos_are_read_in_batches_and_keep_their_order(photos):
    engine, paths = photos
    found = read_photos(engine, paths)
    assert len(found.outputs) == 20 and found.brightness.shape == found.sharpness.shape == (20,)
    for row in (0, 15, 16, 19):
        alone = read_photos(engine, paths[row : row + 1])
        np.testing.assert_allclose(
            found.outputs.member_means_enu_m[row], alone.outputs.member_means_enu_m[0], atol=1e-4
        )
        assert found.brightness[row] == alone.brightness[0] and found.sharpness[row] == alone.sharpness[0]
    assert [stage.dtype for stage in found.outputs.local_features] == [np.float16, np.float16]


def test_a_store_reads_every_photo_once(photos, monkeypatch):
    engine, paths = photos
    read = []

    def counted(engine, paths):
        read.extend(paths)
        return read_photos(engine, paths)

    monkeypatch.setattr(calibration_set, "read_photos", counted)
    store = PhotoOutputStore()
    first = store.read(engine, [paths[3], paths[1]])
    second = store.read(engine, [paths[2], paths[1], paths[3]])
    assert read == [paths[3], paths[1], paths[2]]
    pooled = read_photos(engine, [paths[2], paths[1], paths[3]]).outputs.pooled_features
    np.testing.assert_allclose(second.outputs.pooled_features, pooled, atol=1e-4)
    np.testing.assert_array_equal(first.outputs.pooled_features, second.outputs.pooled_features[[2, 1]])
    assert second.brightness[1] == first.brightness[1]


@pytest.mark.slow
def test_a_store_takes_models_whose_grids_have_other_cells(photos):
    """As those of folds: their grids follow the training photos."""
    _, paths = photos
    described, store = get_backbone("resnet18"), PhotoOutputStore()
    for cells, path in ((GRID.centres_enu_m, paths[0]), (GRID.centres_enu_m[:-20], paths[1])):
        network = make_members((1,), cells_enu_m=cells)[0][1]
        engine = TorchEngine(SiteModel([network], ImageSpec(64, described.mean, described.std)), "cpu", "fp32")
        found = store.read(engine, [path])
        assert len(found.outputs) == 1 and found.outputs.finite.all()
    assert store.read(engine, paths[:2]).outputs.pooled_features.shape[0] == 2


def test_some_photos_of_a_set_are_a_set():
    held_out = grid_set(np.random.default_rng(14), 20.0, 20.0, n=10)
    chosen = np.arange(10) % 3 == 0
    some = held_out.rows(chosen)
    assert len(some) == 4 and some.grid is GRID
    calibration = Calibration(5.0)
    np.testing.assert_allclose(some.errors_m(calibration), held_out.errors_m(calibration)[chosen], atol=1e-3)
    np.testing.assert_array_equal(some.retrieval.rows, held_out.retrieval.rows[chosen])
    assert concatenated([held_out, some], lambda own: own.truth_enu_m).shape == (14, 2)


def test_a_calibration_comes_back_from_the_bundles_yaml():
    sets = [grid_set(np.random.default_rng(12), 20.0, 20.0)]
    fitted = dataclasses.replace(
        fit_calibration(sets, retrieval_prior=True),
        night=CovarianceCalibration(9.0, 1.5, 2.0),
        night_brightness_threshold=40.0,
    )
    stored = yaml.safe_load(yaml.safe_dump(fitted.to_dict()))
    assert Calibration.from_dict(stored) == fitted


def test_long_tails_widen_the_covariance_until_it_holds_what_it_claims():
    rng = np.random.default_rng(8)
    heavy = [gaussian_set(rng, np.where(rng.random(N) < 0.1, 40.0, 5.0), 1.0) for _ in range(3)]
    base = Calibration(1.0)
    plain, wide = (fit_covariance_of_sets(heavy, base, coverage=share) for share in (None, 0.95))

    def held(covariance) -> float:
        calibration = dataclasses.replace(base, **vars(covariance))
        posteriors = [own.posterior(calibration) for own in heavy]
        offsets = np.concatenate([one.mean_enu_m - own.truth_enu_m for one, own in zip(posteriors, heavy, strict=True)])
        covs = np.concatenate([one.cov_enu_m2 for one in posteriors])
        return float(np.mean(np.einsum("ni,nij,nj->n", offsets, np.linalg.inv(covs), offsets) <= 5.991))

    assert held(plain) < 0.95 <= held(wide)
    light = fit_covariance_of_sets([gaussian_set(rng, 5.0, 1.0)], base, coverage=0.95)
    assert np.sqrt(light.scale + light.floor_sigma_m**2) == pytest.approx(5.0, rel=0.1)
