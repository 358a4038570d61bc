"""The calibration is fitted on held-out photos, by likelihood, and finds what made them."""

import dataclasses

import numpy as np
import pytest

from campus_visual_gps.estimation.calibration import Calibration, CovarianceCalibration, sigma_m
from campus_visual_gps.estimation.grid import LocationGrid
from campus_visual_gps.retrieval.prior import TOP_K, RetrievalResult
from training.fit.calibration import (
    brightness_of_night,
    conformal_quantile,
    fit_calibration,
    fit_scale_and_floor,
    fit_scaling,
    gaussian_nll,
)
from training.fit.calibration_set import CalibrationSet, Outputs

N = 600
COLUMNS, ROWS = np.meshgrid(np.arange(30), np.arange(12))
CELLS = LocationGrid(np.stack([COLUMNS.ravel(), ROWS.ravel()], axis=1) * 6.0, 6.0)


def part(rng, error_sigma_m, claimed_sigma_m, night=0.0, brightness=120.0, session="a", n=N) -> CalibrationSet:
    """Gaussian members that claim one sigma and err by another."""
    error_sigma_m, claimed = (np.broadcast_to(value, n) for value in (error_sigma_m, claimed_sigma_m))
    truth = rng.uniform(0, 100, (n, 2))
    means = truth[:, None] + error_sigma_m[:, None, None] * rng.normal(size=(n, 1, 2))
    covs = claimed[:, None, None, None] ** 2 * np.eye(2)
    features = rng.normal(size=(n, 8))
    brightness = np.full(n, brightness) + rng.normal(size=n)
    outputs = Outputs(means, covs, None, features, brightness, np.full(n, 100.0))
    near = None
    return CalibrationSet(outputs, None, truth, np.full(n, session, object), np.arange(n), np.full(n, night), near)


def neighbours_of(place, positions, agreement) -> RetrievalResult:
    """The nearest positions, as photos of the same place."""
    distances = np.linalg.norm(positions - place, axis=1)
    rows = np.argsort(distances)[:TOP_K]
    return RetrievalResult(rows, 1.0 - distances[rows] / 100.0, positions[rows], np.full(len(rows), agreement))


def map_part(rng, width_m, error_sigma_m, n=200, agreement=5.0) -> CalibrationSet:
    """Maps of one width about a point that errs by another."""
    truth = rng.uniform([30, 15], [140, 50], (n, 2))
    centre = truth + error_sigma_m * rng.normal(size=(n, 2))
    squared = ((CELLS.centres_enu_m - centre[:, None]) ** 2).sum(-1)
    maps = np.exp(-squared / (2 * width_m**2)) + 1e-12
    grid_log_probs = np.log(maps / maps.sum(1, keepdims=True))[:, None]
    features = np.column_stack([truth, np.full(n, 100.0)])
    grey, sharp = np.full(n, 120.0), np.full(n, 100.0)
    outputs = Outputs(centre[:, None], np.zeros((n, 1, 2, 2)), grid_log_probs, features, grey, sharp)
    near = [neighbours_of(one, truth, agreement) for one in truth]
    return CalibrationSet(outputs, CELLS, truth, np.full(n, "a", object), np.arange(n), np.full(n, np.nan), near)


def nees_of(parts, calibration):
    offsets, covs = [], []
    for one in parts:
        belief = one.believe(calibration)
        offsets.append(belief.mean_enu_m - one.truth_enu_m)
        covs.append(belief.cov_enu_m2)
    offsets, covs = np.concatenate(offsets), np.concatenate(covs)
    return (offsets * np.linalg.solve(covs, offsets[..., None])[..., 0]).sum(axis=1)


def test_members_that_are_too_sure_are_scaled_until_their_covariance_holds():
    rng = np.random.default_rng(0)
    sigma = rng.uniform(4, 20, N)
    calibration = fit_calibration([part(rng, sigma, sigma / 2)])
    assert calibration.scale == pytest.approx(4.0, rel=0.25)
    fresh = [part(np.random.default_rng(1), sigma, sigma / 2)]
    assert nees_of(fresh, calibration).mean() == pytest.approx(2.0, abs=0.3)
    assert calibration.measured["nees_before"] > 5 > calibration.measured["nees_after"]
    assert calibration.measured["nll_after"] < calibration.measured["nll_before"]


def test_an_error_that_the_members_know_nothing_of_becomes_the_floor():
    rng = np.random.default_rng(2)
    claimed = rng.uniform(2, 20, N)
    scale, floor = fit_scale_and_floor(
        np.sqrt(claimed**2 + 8.0**2)[:, None] * rng.normal(size=(N, 2)), claimed[:, None, None] ** 2 * np.eye(2)
    )
    assert floor == pytest.approx(8.0, rel=0.2) and scale == pytest.approx(1.0, rel=0.35)


def test_points_that_claim_nothing_get_a_floor_alone():
    scale, floor = fit_scale_and_floor(10.0 * np.random.default_rng(3).normal(size=(N, 2)), np.zeros((N, 2, 2)))
    assert (scale, floor) == (1.0, pytest.approx(10.0, rel=0.1))


def test_the_conformal_radius_holds_the_truth_as_often_as_it_says_whatever_the_distribution():
    rng = np.random.default_rng(4)
    heavy = 5.0 * np.abs(rng.standard_t(2, N)) + 1.0
    calibration = fit_calibration([part(rng, heavy, 5.0)])
    fresh = part(np.random.default_rng(5), 5.0 * np.abs(np.random.default_rng(6).standard_t(2, N)) + 1.0, 5.0)
    belief = fresh.believe(calibration)
    errors = np.linalg.norm(belief.mean_enu_m - fresh.truth_enu_m, axis=1)
    for level in (90, 95):
        inside = (errors <= calibration.radius_m(belief.cov_enu_m2, level)).mean()
        assert inside == pytest.approx(level / 100, abs=0.04)


def test_the_conformal_quantile_counts_the_new_photo_too():
    assert conformal_quantile(np.arange(1.0, 20.0), 0.9) == 18.0
    assert conformal_quantile(np.arange(1.0, 20.0), 0.99) == 19.0


@pytest.mark.parametrize(("width_m", "error_m", "flatter"), [(6.0, 20.0, True), (25.0, 6.0, False)])
def test_the_temperature_makes_maps_as_wide_as_their_errors(width_m, error_m, flatter):
    calibration = fit_calibration([map_part(np.random.default_rng(7), width_m, error_m)])
    assert (calibration.temperature > 1.5) if flatter else (calibration.temperature < 0.8)


def test_neighbours_that_stand_at_the_truth_are_taken_as_evidence():
    parts = [map_part(np.random.default_rng(8), 20.0, 20.0)]
    without, with_evidence = fit_calibration(parts), fit_calibration(parts, evidence=True)
    assert with_evidence.evidence.weight > 0
    assert with_evidence.measured["mean_error_after_m"] < 0.7 * without.measured["mean_error_after_m"]


def test_a_photo_that_agrees_with_no_reference_photo_is_doubted_in_proportion():
    rng = np.random.default_rng(13)
    parts = [map_part(rng, 20.0, 20.0, agreement=agreement) for agreement in (10.0, 5.0, 2.0)]
    calibration = fit_calibration(parts, evidence=True)
    assert calibration.reference_match_score == 10.0
    cov = np.diag([30.0, 10.0])
    known, half, none = (calibration.apply(cov, agreement) for agreement in (20.0, 5.0, 1.0))
    np.testing.assert_allclose(known, calibration.apply(cov))
    np.testing.assert_allclose(half, 4.0 * known)
    np.testing.assert_allclose(none, 100.0 * known)
    sigmas = [sigma_m(one.believe(calibration).cov_enu_m2).mean() for one in parts]
    assert sigmas[0] < 0.6 * sigmas[1] < 0.36 * sigmas[2]


def test_night_gets_a_scaling_of_its_own_only_if_the_errors_call_for_one():
    rng = np.random.default_rng(9)
    alike = [part(rng, 8.0, 8.0, night=0.0), part(rng, 8.0, 8.0, night=1.0, brightness=30.0, session="b")]
    assert fit_calibration(alike).night is None
    apart = [part(rng, 8.0, 8.0, night=0.0), part(rng, 24.0, 8.0, night=1.0, brightness=30.0, session="b")]
    calibration = fit_calibration(apart)
    assert calibration.measured["light"] == "apart" and 30 < calibration.night_brightness_threshold < 120
    cov = 64.0 * np.eye(2)
    day, night = (calibration.scaling(grey).apply(cov)[0, 0] for grey in (120.0, 30.0))
    assert np.sqrt(day) == pytest.approx(8.0, rel=0.2) and np.sqrt(night) == pytest.approx(24.0, rel=0.2)
    for one in apart:
        assert nees_of([one], calibration).mean() == pytest.approx(2.0, abs=0.3)


def test_lights_that_brightness_cannot_tell_apart_are_calibrated_together():
    rng = np.random.default_rng(10)
    parts = [part(rng, 8.0, 8.0, night=0.0), part(rng, 24.0, 8.0, night=1.0)]
    calibration = fit_calibration(parts)
    assert calibration.night is None and calibration.measured["light_accuracy"] < 0.9


def test_the_brightness_of_night_lies_between_the_lights():
    threshold, accuracy = brightness_of_night(
        np.r_[np.full(50, 20.0), np.full(50, 90.0)], np.r_[np.ones(50), np.zeros(50)]
    )
    assert 20.0 < threshold <= 90.0 and accuracy == 1.0


def test_few_photos_give_a_floor_and_nothing_else():
    calibration = fit_calibration([part(np.random.default_rng(11), 10.0, 1.0, n=8)])
    assert calibration.scale == 1.0 and calibration.conformal_90 is None and calibration.floor_sigma_m > 4.0


def test_the_likelihood_is_the_gaussians():
    assert gaussian_nll(np.array([[3.0, 4.0]]), np.array([25.0 * np.eye(2)]))[0] == pytest.approx(0.5 + np.log(25.0))


def test_a_calibration_survives_the_bundles_yaml():
    import dataclasses

    import yaml

    parts = [map_part(np.random.default_rng(12), 20.0, 20.0)]
    fitted = dataclasses.replace(
        fit_calibration(parts, evidence=True),
        night=CovarianceCalibration(9.0, 1.5, 2.0),
        night_brightness_threshold=40.0,
    )
    stored = yaml.safe_load(yaml.safe_dump(dataclasses.asdict(fitted)))
    assert Calibration.from_dict(stored) == fitted


def test_long_tails_widen_the_covariance_until_it_holds_what_it_claims():
    rng = np.random.default_rng(8)
    heavy = [part(rng, np.where(rng.random(N) < 0.1, 40.0, 5.0), 1.0) for _ in range(3)]
    base = Calibration(1.0)
    plain, wide = (fit_scaling(heavy, base, tails=tails) for tails in (False, True))

    def held(scaling) -> float:
        calibration = dataclasses.replace(base, **vars(scaling))
        beliefs = [own.believe(calibration) for own in heavy]
        offsets = np.concatenate([b.mean_enu_m - own.truth_enu_m for b, own in zip(beliefs, heavy, strict=True)])
        covs = np.concatenate([b.cov_enu_m2 for b in beliefs])
        return float(np.mean(np.einsum("ni,nij,nj->n", offsets, np.linalg.inv(covs), offsets) <= 5.991))

    assert held(plain) < 0.95 <= held(wide)
    light = fit_scaling([part(rng, 5.0, 1.0)], base)
    assert np.sqrt(light.scale + light.floor_sigma_m**2) == pytest.approx(5.0, rel=0.1)
