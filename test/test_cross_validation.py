"""Leave one session out, on a tiny site, for real: every head, frozen stages with cached features, the calibration."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from calibration_sets import npz_without
from compatibility import Area, condition
from photo_helpers import make_exif, write_photo
from safetensors.torch import save_file
from typer.testing import CliRunner

from campus_visual_gps import Localizer
from campus_visual_gps.bundle import load_bundle
from campus_visual_gps.errors import ConfigError, DatasetError
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.models.backbones import build_backbone
from campus_visual_gps.preprocess import prepare
from training.cli import app
from training.config import load_config
from training.data.dataset import read_rgb
from training.evaluate.predict import read_predictions
from training.fit import cross_validation
from training.fit.bundle_builder import describes_alike
from training.fit.cross_validation import cross_validate
from training.fit.ensemble import train_ensemble
from training.fit.folds import read_folds
from training.fit.held_out import load_calibration_sets
from training.fit.site_data import load_site
from training.fit.withheld_spots import WITHHELD_RADIUS_M
from training.photos.ingest import ingest
from training.photos.manifest import image_path, load_dataset
from training.photos.splits import split
from training.report.evaluation import evaluate

pytestmark = pytest.mark.slow

WEIGHTS = "weights.safetensors"
FRAME = LocalFrame.at(31.262, 34.8025)
SETTINGS = {
    "model": {"backbone": "resnet18", "head": "probability_map", "cell_m": 10.0},
    "size_px": 64,
    "seeds": [1],
    "optimizer": {"lr": 1e-3, "frozen_stages": 4},
    "scheduler": {"name": "cosine"},
    "trainer": {"max_epochs": 1, "batch_size": 8, "accelerator": "cpu", "keep": "last", "cached_views": 1},
}


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory):
    photos = tmp_path_factory.mktemp("photos")
    positions = np.random.default_rng(0).uniform(-40, 40, (60, 2))
    for index, position in enumerate(positions):
        latitude, longitude = (float(value) for value in FRAME.to_geodetic(position))
        write_photo(photos / f"walk-{index % 4}" / f"{index}.jpg", index, make_exif((latitude, longitude)))
    dataset = tmp_path_factory.mktemp("data") / "set"
    ingest(photos, dataset, progress=False, workers=1)
    split(dataset, test_sessions=["walk-3"], val_sessions=["walk-2"])
    torch.manual_seed(0)
    save_file(build_backbone("resnet18").state_dict(), dataset.parent / WEIGHTS)
    return dataset


def _settings(dataset_dir):
    """Frozen stages need weights that all folds share."""
    return SETTINGS | {"weights": str(dataset_dir.parent / WEIGHTS)}


def _config(tmp_path, dataset_dir):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(_settings(dataset_dir)))
    return load_config(path, dataset=str(dataset_dir), out=str(tmp_path / "folds"))


@pytest.fixture(scope="module")
def folds(tmp_path_factory, dataset_dir):
    tmp_path = tmp_path_factory.mktemp("folds")
    config = _config(tmp_path, dataset_dir)
    return config, cross_validate(config), tmp_path


def test_every_session_but_the_test_is_left_out_once(folds, dataset_dir):
    _, made, _ = folds
    photos = load_dataset(dataset_dir)
    assert [fold.session for fold, _ in made] == ["walk-0", "walk-1", "walk-2"]
    for fold, summary in made:
        own = set(photos["photo_id"][photos["session"] == fold.session])
        test = set(photos["photo_id"][photos["session"] == "walk-3"])
        bundle = load_bundle(fold.bundle_dir)
        assert not (own | test) & set(bundle.training["photo_ids"])
        assert fold.session not in bundle.calibration.measured["sessions"]
        assert summary.train_photos == 30 and bundle.training["val_photos"] == 30


def test_folds_share_one_cache_of_features(folds, dataset_dir):
    files = list((dataset_dir / "feature_cache").iterdir())
    assert [file.suffix for file in files] == [".npy"]
    views = np.load(files[0], mmap_mode="r")
    assert views.shape[:2] == (2, 60) and not np.array_equal(views[0], views[1])


def test_where_the_stages_that_describe_a_photo_are_frozen_all_folds_describe_it_alike(folds, dataset_dir):
    """Photos are then read once for all folds."""
    config, made, _ = folds
    assert describes_alike(config) and not describes_alike(_with_frozen_stages(config, 3))
    assert not describes_alike(dataclasses.replace(config, weights="none"))
    bundles = [load_bundle(fold.bundle_dir) for fold, _ in made]
    features = [dict(zip(own.training["photo_ids"], own.load_reference().ood_features, strict=True)) for own in bundles]
    common = sorted(set(features[0]) & set(features[1]))
    assert len(common) == 15
    for photo_id in common:
        np.testing.assert_array_equal(features[0][photo_id], features[1][photo_id])
    localizer = Localizer.load(bundles[1].path, device="cpu", precision="fp32")
    inputs = prepare(read_rgb(image_path(dataset_dir, common[0])), localizer.bundle.image)
    np.testing.assert_allclose(localizer.engine.run(inputs[None]).ood_features[0], features[1][common[0]], atol=1e-4)


def _with_frozen_stages(config, count):
    return dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, frozen_stages=count))


def test_a_fold_answers_with_modes_and_a_covariance(folds, dataset_dir):
    _, made, _ = folds
    localizer = Localizer.load(made[0][0].bundle_dir, device="cpu")
    photos = load_dataset(dataset_dir)
    estimate = localizer.localize(read_rgb(image_path(dataset_dir, photos["photo_id"][0])))
    assert len(estimate.modes) >= 1 and np.linalg.eigvalsh(estimate.cov_enu_m2).min() > 0
    assert 0.0 <= estimate.indicators.ood_score < 1.4


def test_what_the_folds_predicted_is_read_back_for_the_final_calibration(folds, dataset_dir, tmp_path):
    config, made, _ = folds
    sets = load_calibration_sets(config.out, load_site(config), config)
    assert [set(own.sessions) for own in sets] == [{"walk-0"}, {"walk-1"}, {"walk-2"}]
    for own in sets:
        found = own.retrieval_elsewhere
        distances_m = np.linalg.norm(found.positions_enu_m - own.truth_enu_m[:, None], axis=-1)
        assert ((distances_m > WITHHELD_RADIUS_M) | (found.rows < 0)).all()
    localizer = Localizer.load(made[1][0].bundle_dir, device="cpu", precision="fp32")
    photos = load_dataset(dataset_dir)
    own = photos[photos["session"] == "walk-1"]
    estimate = localizer.localize(read_rgb(image_path(dataset_dir, own["photo_id"].iloc[2])))
    found = sets[1].outputs.member_means_enu_m[2]
    np.testing.assert_allclose(found, estimate.member_means_enu_m, atol=1e-3)
    final = dataclasses.replace(config, out=str(tmp_path / "final"))
    summary = train_ensemble(final, config.out)
    bundle = load_bundle(summary.bundle_dir)
    assert bundle.training["calibrated_on"] == "folds of 3 sessions"
    assert bundle.calibration.measured["sessions"] == ["walk-0", "walk-1", "walk-2"]


@condition(Area.BUNDLES, "calibration on folds of another configuration", "one line", since="2026-11-26")
def test_folds_of_another_configuration_are_an_error(folds, dataset_dir, tmp_path):
    config, _, _ = folds
    other = dataclasses.replace(config, size_px=96, out=str(tmp_path / "final"))
    with pytest.raises(DatasetError, match="another configuration"):
        train_ensemble(other, config.out)


@condition(
    Area.BUNDLES,
    "what a fold predicted, cut off, damaged or of an earlier version",
    "one line that names it",
    since="2026-11-26",
)
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"PK\x03\x04", b"PK\x00\x00", 1),
        lambda data: npz_without(data, "version"),
    ],
    ids=["empty", "cut", "damaged", "earlier"],
)
def test_damaged_predictions_of_a_fold_are_one_line(folds, damage):
    config, made, _ = folds
    file = made[0][0].bundle_dir.parent / "held_out.npz"
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    try:
        with pytest.raises(DatasetError, match=r"held_out\.npz (cannot be read|is of an earlier version): run `cro"):
            load_calibration_sets(config.out, load_site(config), config)
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize("content", [b"", b"a: [", b"\xff\xfe\x00", b"text"])
def test_a_damaged_list_of_folds_is_one_line(tmp_path, content):
    (tmp_path / "folds.yaml").write_bytes(content)
    with pytest.raises(DatasetError, match="no complete folds"):
        read_folds(tmp_path)


@condition(
    Area.FOLDERS,
    "cross-validation where two folders are one walk",
    "warning with `--sessions-by time`",
    since="2026-11-26",
)
def test_folds_of_one_walk_are_warned_of(dataset_dir, tmp_path, monkeypatch, caplog):
    class StoppedError(Exception):
        pass

    def stop(*_):
        raise StoppedError

    monkeypatch.setattr(cross_validation, "_train", stop)
    with pytest.raises(StoppedError):
        cross_validate(_config(tmp_path, dataset_dir))
    assert "3 pairs of sessions, such as walk-0 and walk-1, overlap in time" in caplog.text
    assert "a fold tests what it trained" in caplog.text and "--sessions-by time" in caplog.text


@condition(Area.BUNDLES, "cross-validation that was interrupted", "one line that says what to run", since="2026-11-26")
def test_a_directory_without_folds_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="no complete folds"):
        read_folds(tmp_path)


@condition(
    Area.FOLDERS,
    "cross-validation of one or two sessions",
    "one line that says what to do, with `--sessions-by time`",
    since="2026-11-26",
)
def test_two_sessions_are_too_few(dataset_dir, tmp_path):
    copied = tmp_path / "set"
    copied.symlink_to(dataset_dir)
    split(dataset_dir, test_sessions=["walk-3", "walk-2"], val_sessions=["walk-1"])
    try:
        with pytest.raises(DatasetError, match=r"has 2 sessions .* takes three.*--sessions-by time"):
            cross_validate(_config(tmp_path, copied))
    finally:
        split(dataset_dir, test_sessions=["walk-3"], val_sessions=["walk-2"])


@pytest.mark.parametrize("head", ["gaussian", "mlp"])
def test_the_other_heads_are_trained_by_the_same_command(head, dataset_dir, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(_settings(dataset_dir)))
    arguments = [
        "cross-validate",
        str(path),
        "--dataset",
        str(dataset_dir),
        "--out",
        str(tmp_path / "folds"),
        "--seed",
        "7",
    ]
    result = CliRunner().invoke(app, [*arguments, "--set", f"model.head={head}", "--set", "optimizer.frozen_stages=3"])
    assert result.exit_code == 0, result.output
    bundles = [load_bundle(fold.bundle_dir) for fold in read_folds(tmp_path / "folds")]
    assert {(bundle.members[0].model.head, bundle.members[0].seed) for bundle in bundles} == {(head, 7)}
    member = bundles[0].load_members()[0]
    assert (member.cells_enu_m is None) and not isinstance(member.backbone.layer1, type(member.backbone.relu))


def test_a_setting_that_is_none_is_named(dataset_dir, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    with pytest.raises(ConfigError, match="unknown key epochs in trainer"):
        load_config(path, settings=["trainer.epochs=3"])
    assert load_config(path, settings=["trainer.max_epochs=3", "model.cell_m=5"]).trainer.max_epochs == 3


def test_folds_are_scored_by_the_one_that_has_not_seen_the_session(folds, dataset_dir, tmp_path):
    config, made, _ = folds
    photos = load_dataset(dataset_dir)
    with pytest.raises(DatasetError, match="got one for 45 of 60 photos"):
        evaluate(Path(config.out), dataset_dir, "all", tmp_path / "all", progress=False)
    summary = evaluate(Path(config.out), dataset_dir, "train", tmp_path / "report", progress=False)
    assert summary.report["n_seen_in_training"] == 0 and summary.report["n_photos"] == 30
    predictions = read_predictions(summary.predictions_path)
    own = predictions[predictions["session"] == "walk-1"].iloc[0]
    localizer = Localizer.load(made[1][0].bundle_dir, device="cpu")
    estimate = localizer.localize(read_rgb(image_path(dataset_dir, own["photo_id"])))
    np.testing.assert_allclose(own[["east_m", "north_m"]].to_numpy(float), estimate.mean_enu_m, atol=0.01)
    assert len(photos) == 60


def test_another_evaluation_of_the_same_photos_stands_in_the_same_table(folds, dataset_dir, tmp_path):
    config, _, _ = folds
    evaluate(Path(config.out), dataset_dir, "train", tmp_path / "other", progress=False)
    summary = evaluate(
        Path(config.out), dataset_dir, "train", tmp_path / "report", progress=False, comparisons=[tmp_path / "other"]
    )
    report = summary.report
    assert report["baseline.other.mean_error_m"] == pytest.approx(report["mean_error_m"])
    assert report["baseline.other.nll_mean"] == pytest.approx(report["nll_mean"])
    overview = (tmp_path / "report" / "report.md").read_text().split("## Overview")[1].split("##")[0]
    assert "comparison: other" in overview and "NEES" in overview
    with pytest.raises(DatasetError, match="evaluate the same split"):
        evaluate(
            Path(config.out), dataset_dir, "val", tmp_path / "no", progress=False, comparisons=[tmp_path / "other"]
        )
