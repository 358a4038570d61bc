"""The covariance of a fix is chosen by name: calibrated, or the plain spread of the ensemble."""

import numpy as np
import pytest
from ensemble_helpers import config_of, write_dataset, write_run
from helpers import make_bundle, textured_rgb

from campus_visual_gps import Localizer
from campus_visual_gps.bundle import load_bundle
from campus_visual_gps.errors import BundleError, ConfigError
from campus_visual_gps.estimation.calibration import CALIBRATED, ENSEMBLE_SPREAD, Calibration
from campus_visual_gps.estimation.posterior import ensemble_spread_covariance
from campus_visual_gps.ros.parameters import NodeParameters
from training.evaluate.predict import covariances_m2, member_positions_m, read_predictions
from training.fit.bundle_builder import train_members
from training.fit.combine import combine
from training.report.evaluation import evaluate
from training.report.evaluation_options import EvaluationOptions


def test_members_that_agree_are_not_certain():
    agreed = np.zeros((3, 2))
    np.testing.assert_array_equal(ensemble_spread_covariance(agreed), np.eye(2))
    spread = np.array([[-3.0, 0.0], [0.0, 0.0], [3.0, 0.0]])
    np.testing.assert_allclose(ensemble_spread_covariance(spread), np.diag([9.0 + 1.0, 1.0]))


def test_the_choice_survives_a_bundle_and_an_unknown_one_is_named():
    chosen = Calibration(5.0, covariance=ENSEMBLE_SPREAD)
    assert Calibration.from_dict(chosen.to_dict()) == chosen
    assert Calibration.from_dict({"floor_sigma_m": 5.0}).covariance == CALIBRATED
    with pytest.raises(BundleError, match="none of calibrated, ensemble_spread"):
        Calibration(5.0, covariance="guessed")


def test_the_node_takes_the_bundles_choice_unless_it_is_told():
    assert NodeParameters(model_dir="x").covariance_choice is None
    assert NodeParameters(model_dir="x", covariance=ENSEMBLE_SPREAD).covariance_choice == ENSEMBLE_SPREAD
    with pytest.raises(ConfigError, match="parameter covariance: expected one of bundle, calibrated, ensemble_spread"):
        NodeParameters(model_dir="x", covariance="none")


def load(path, **options):
    return Localizer.load(path, device="cpu", precision="fp32", warm_up=False, **options)


@pytest.mark.slow
def test_the_localizer_gives_either_covariance_at_the_same_position(tmp_path):
    path = make_bundle(tmp_path / "bundle", calibration=Calibration(7.0, 2.0, conformal_90=2.0, conformal_95=3.0))
    calibrated, spread = load(path), load(path, covariance=ENSEMBLE_SPREAD)
    one, other = (localizer.localize(textured_rgb()) for localizer in (calibrated, spread))
    np.testing.assert_array_equal(one.mean_enu_m, other.mean_enu_m)
    np.testing.assert_allclose(other.cov_enu_m2, ensemble_spread_covariance(other.member_means_enu_m))
    np.testing.assert_allclose(other.calibrated_cov_enu_m2, one.cov_enu_m2)
    assert np.isfinite(one.radius95_m) and np.isnan(other.radius95_m)
    assert other.indicators.sigma_m < one.indicators.sigma_m
    assert spread.on_cpu().covariance == ENSEMBLE_SPREAD
    by_choice = make_bundle(tmp_path / "chosen", calibration=Calibration(7.0, 2.0, covariance=ENSEMBLE_SPREAD))
    np.testing.assert_allclose(load(by_choice).localize(textured_rgb()).cov_enu_m2, other.cov_enu_m2)
    np.testing.assert_allclose(
        load(by_choice, covariance=CALIBRATED).localize(textured_rgb()).cov_enu_m2, one.cov_enu_m2
    )


@pytest.mark.slow
def test_one_member_alone_has_no_spread(tmp_path):
    path = make_bundle(tmp_path / "bundle", seeds=(42,))
    with pytest.raises(ConfigError, match="one member alone has no spread"):
        load(path, covariance=ENSEMBLE_SPREAD)
    with pytest.raises(ConfigError, match="none of calibrated, ensemble_spread"):
        load(path, covariance="plain")


def test_a_training_with_one_seed_cannot_choose_the_spread(tmp_path):
    config = config_of(tmp_path, bundle={"covariance": ENSEMBLE_SPREAD})
    with pytest.raises(ConfigError, match="two seeds or more"):
        train_members(config, None, None, None, tmp_path)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A data set and a bundle of three members."""
    scratch = tmp_path_factory.mktemp("scored")
    dataset = write_dataset(scratch / "set")
    return dataset, make_bundle(scratch / "bundle", calibration=Calibration(30.0), seeds=(1, 2, 3), training={})


@pytest.mark.slow
@pytest.mark.parametrize("chosen", [CALIBRATED, ENSEMBLE_SPREAD])
def test_the_report_shows_both_side_by_side(tmp_path, scored, chosen):
    dataset, bundle = scored
    options = EvaluationOptions(covariance=chosen)
    summary = evaluate(bundle, dataset, "test", tmp_path / "report", progress=False, options=options)
    predictions = read_predictions(summary.predictions_path)
    spread = ensemble_spread_covariance(member_positions_m(predictions, ["1", "2", "3"]))
    calibrated = spread - np.eye(2) + 30.0**2 * np.eye(2)
    own, other, name = (
        (calibrated, spread, "choice_ensemble_spread")
        if chosen == CALIBRATED
        else (spread, calibrated, "choice_calibrated")
    )
    np.testing.assert_allclose(covariances_m2(predictions), own, rtol=1e-6)
    np.testing.assert_allclose(covariances_m2(predictions, f"baseline_{name}_"), other, rtol=1e-6)
    report = summary.report_path.read_text()
    assert f"| `{chosen}` (evaluated) |" in report and report.count("| `") >= 2
    assert summary.report["covariance"] == chosen
    # and no views, which nobody asked for
    assert "Test-time augmentation" not in report and not [name for name in predictions if name.startswith("tta")]
    assert summary.report[f"baseline.{name}.nees_mean"] != pytest.approx(summary.report["nees_mean"])


@pytest.mark.slow
def test_a_bundle_says_what_its_spread_is_worth(tmp_path):
    # held-out photos enough for a calibration
    subsets = {"walk-0": "train", "walk-1": "val", "walk-2": "val", "walk-3": "val"}
    dataset = write_dataset(tmp_path / "set", subsets)
    run = write_run(tmp_path / "run", config_of(dataset, seeds=[1, 2]))
    chosen = load_bundle(combine([run], tmp_path / "b", settings=["bundle.covariance=ensemble_spread"]).bundle_dir)
    assert chosen.calibration.covariance == ENSEMBLE_SPREAD
    measured = chosen.calibration.measured
    assert measured["nees_ensemble_spread"] > measured["nees_after"] > 0.0
    assert "plain ensemble spread" in (chosen.path / "MODEL_CARD.md").read_text()
