"""The tracker's parameters are fitted on held-out walks, and are kept where there is too little to fit on."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from calibration_sets import grid_set
from sequence_helpers import bump, site_grid, walk

from campus_visual_gps.estimation.calibration import Calibration
from campus_visual_gps.retrieval.index import TOP_K, RetrievalResult
from campus_visual_gps.retrieval.prior import RetrievalPriorConfig
from campus_visual_gps.tracking.calibration import TrackingCalibration
from campus_visual_gps.tracking.smoother import smooth
from training.fit import tracking_calibration
from training.fit.tracking_calibration import fit_tracking_calibration, scale_and_floor_that_hold, was_fitted


def held_out(grid, images, seed, name="walk"):
    """What a calibration set has of a walk, as far as the tracker's fit reads it."""
    truth, probs = walk(grid, images, seed)
    return SimpleNamespace(
        grid=grid,
        truth_enu_m=truth,
        sessions=np.full(images, name, dtype=object),
        times_s=3.0 * np.arange(images),
        blocks=np.arange(images) // 20,
        posterior=lambda calibration: SimpleNamespace(grid_probs=probs, match_score=np.full(images, np.nan)),
    )


@pytest.fixture(scope="module")
def fitted():
    grid = site_grid(30, 5)
    choices = {"measurement_power": (0.3, 1.0), "speed_mps": (0.7, 1.4), "outlier_share": (0.01, 0.1)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking_calibration, "CHOICES", choices)
        return fit_tracking_calibration([held_out(grid, 60, 1, "a"), held_out(grid, 60, 2, "b")], Calibration(5.0))


def test_the_ellipse_of_95_percent_holds_95_percent_of_the_held_out_truths(fitted):
    assert was_fitted(fitted)
    assert 0.93 <= fitted.measured["coverage_95"] <= 1.0
    assert fitted.measured["sessions"] == ["a", "b"]
    assert fitted.measured["images"] == 120


def test_the_fit_is_of_the_tracker_and_its_covariance(fitted):
    assert fitted.measured["mean_error_m"] < 20.0
    assert fitted.floor_sigma_m > 0.0 and fitted.scale > 0.0


def test_smoothed_positions_have_a_covariance_of_their_own(fitted):
    assert 0.93 <= fitted.measured["smoothed_coverage_95"] <= 1.0
    assert fitted.measured["smoothed_mean_error_m"] < fitted.measured["mean_error_m"]
    grid = site_grid(30, 5)
    _, probs = walk(grid, 60, 1)
    plain = replace(fitted, scale=1.0, floor_sigma_m=1.0, smoothed_scale=None, smoothed_floor_sigma_m=None)
    plain, own = (
        np.array([position.cov_enu_m2 for position in smooth(grid, calibration, 3.0 * np.arange(60), probs)])
        for calibration in (plain, fitted)
    )
    moments_m2 = plain - np.eye(2)
    assert np.allclose(own, fitted.smoothed_scale * moments_m2 + fitted.smoothed_floor_sigma_m**2 * np.eye(2))


@pytest.mark.parametrize(("error_m", "sigma_m"), [(1e-4, 1e3), (1e4, 1e-3)])
def test_scale_and_floor_are_what_a_bundle_may_have(error_m, sigma_m):
    """However far the claims are from the errors: training must not end at the bundle."""
    errors_m = np.random.default_rng(0).normal(0.0, error_m, (100, 2))
    covs_m2 = np.tile(sigma_m**2 * np.eye(2), (100, 1, 1))
    scale, floor_m = scale_and_floor_that_hold(errors_m, covs_m2, np.ones(100))
    TrackingCalibration(scale=scale, floor_sigma_m=floor_m, smoothed_scale=scale, smoothed_floor_sigma_m=floor_m)


@pytest.fixture(scope="module")
def walk_beside_paths():
    """A walk of five minutes that was seen well, and what other spots' photos say where its own are withheld."""
    rng = np.random.default_rng(6)
    own = grid_set(rng, 8.0, 6.0, n=100)
    along = np.linspace(0.0, 1.0, 100)[:, None]
    truth = np.array([35.0, 20.0]) + along * np.array([100.0, 25.0])
    grid_log_probs = np.log(np.array([bump(own.grid, at, 8.0) + 1e-9 for at in truth + rng.normal(0, 6.0, (100, 2))]))
    wrong = np.broadcast_to((truth[:, None] + np.array([0.0, 25.0])) % 60.0, (100, TOP_K, 2))
    near = np.broadcast_to(truth[:, None], (100, TOP_K, 2))
    retrieval, elsewhere = (
        RetrievalResult(np.tile(np.arange(TOP_K), (100, 1)), np.full((100, TOP_K), 0.6), at, np.full((100, TOP_K), 5.0))
        for at in (near, wrong)
    )
    return replace(
        own,
        outputs=replace(own.outputs, grid_log_probs=grid_log_probs[:, None]),
        truth_enu_m=truth,
        times_s=3.0 * np.arange(100.0),
        blocks=np.arange(100) // 20,
        retrieval=retrieval,
        retrieval_elsewhere=elsewhere,
    )


@pytest.fixture
def one_choice(monkeypatch):
    monkeypatch.setattr(tracking_calibration, "CHOICES", {"outlier_share": (0.1,)})
    monkeypatch.setattr(tracking_calibration, "REFINED", {"outlier_memory_s": (30.0,)})


PRIOR = RetrievalPriorConfig(1.0, 8.0, 0.1)


@pytest.mark.usefixtures("one_choice")
def test_stretches_through_spots_that_no_photo_shows_widen_the_covariance(walk_beside_paths):
    calibration = Calibration(5.0, retrieval_prior=PRIOR)
    without = fit_tracking_calibration([replace(walk_beside_paths, retrieval_elsewhere=None)], calibration)
    fitted = fit_tracking_calibration([walk_beside_paths], calibration)
    assert (without.measured["withheld_images"], fitted.measured["withheld_images"]) == (0, 100)
    # the numbers are those of the walk as it is
    assert fitted.measured["mean_error_m"] == without.measured["mean_error_m"]
    assert fitted.measured["coverage_95"] >= without.measured["coverage_95"]
    assert fitted.measured["nees"] < 0.8 * without.measured["nees"]
    assert fitted.measured["smoothed_nees"] < 0.8 * without.measured["smoothed_nees"]


@pytest.mark.usefixtures("one_choice")
def test_images_to_which_too_few_reference_photos_are_left_are_not_withheld(walk_beside_paths):
    rows = walk_beside_paths.retrieval_elsewhere.rows.copy()
    rows[::4, -1] = -1
    positions = walk_beside_paths.retrieval_elsewhere.positions_enu_m.copy()
    positions[::4, -1] = np.nan
    few = walk_beside_paths.retrieval_elsewhere._replace(rows=rows, positions_enu_m=positions)
    own = replace(walk_beside_paths, retrieval_elsewhere=few)
    fitted = fit_tracking_calibration([own], Calibration(5.0, retrieval_prior=PRIOR))
    assert fitted.measured["withheld_images"] == 75


@pytest.mark.usefixtures("one_choice")
def test_nothing_is_withheld_from_a_calibration_without_retrieval(walk_beside_paths):
    assert fit_tracking_calibration([walk_beside_paths], Calibration(5.0)).measured["withheld_images"] == 0


def test_too_few_images_keep_the_defaults_and_say_so():
    grid = site_grid(12, 4)
    kept = fit_tracking_calibration([held_out(grid, 20, 3)], Calibration(5.0, correlation_time_s=4.5))
    assert not was_fitted(kept)
    assert kept.correlation_time_s == TrackingCalibration().correlation_time_s
    assert "too few" in kept.measured["fitted"]


def test_heads_without_a_grid_have_no_tracker():
    assert fit_tracking_calibration([SimpleNamespace(grid=None)], Calibration(5.0)) is None
