"""A few tiny members are trained for real: from photos to a bundle that localizes."""

import io
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from compatibility import Area, condition
from photo_helpers import make_exif, write_photo

from campus_visual_gps import Localizer
from campus_visual_gps.errors import ConfigError, DatasetError, TrainingError
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.models.outputs import ModelOutputs
from training.config import load_config
from training.data.dataset import read_rgb
from training.fit.calibration import fit_floor
from training.fit.calibration_set import CalibrationSet
from training.fit.ensemble import train_ensemble
from training.fit.site_data import site_polygon
from training.photos.ingest import ingest
from training.photos.manifest import image_path, load_dataset
from training.photos.splits import split

pytestmark = pytest.mark.slow

FRAME = LocalFrame.at(31.262, 34.8025)
SETTINGS = {
    "model": {"backbone": "resnet18", "head": "linear", "output_scale_m": 20.0},
    "weights": "none",
    "size_px": 64,
    "seeds": [1, 2],
    "optimizer": {"lr": 1e-3, "warmup_epochs": 0.5},
    "trainer": {"max_epochs": 2, "batch_size": 8, "accelerator": "cpu"},
}


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory):
    photos = tmp_path_factory.mktemp("photos")
    places = np.random.default_rng(0).uniform(-40, 40, (24, 2))
    for index, place in enumerate(places):
        latitude, longitude = (float(value) for value in FRAME.to_geodetic(place))
        folder = photos / f"session-{index % 3}"
        write_photo(folder / f"{index}.jpg", index, make_exif((latitude, longitude)))
    dataset = tmp_path_factory.mktemp("data") / "set"
    ingest(photos, dataset, progress=False, workers=1)
    split(dataset, test_sessions=["session-2"], val_sessions=["session-1"])
    return dataset


def _config(tmp_path, dataset_dir, **changes):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(SETTINGS | changes))
    return load_config(path, dataset=str(dataset_dir), out=str(tmp_path / "run"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, dataset_dir):
    tmp_path = tmp_path_factory.mktemp("trained")
    return tmp_path, train_ensemble(_config(tmp_path, dataset_dir))


def test_a_run_leaves_all_that_a_person_needs(trained):
    tmp_path, summary = trained
    for seed in (1, 2):
        run = tmp_path / "run" / f"seed-{seed}"
        assert {"config.yaml", "metrics.csv", "curves.png", "member.safetensors"} <= {p.name for p in run.iterdir()}
        metrics = pd.read_csv(run / "metrics.csv")
        assert {"train_loss", "val_loss", "val_mean_error_m", "lr"} <= set(metrics) and metrics["epoch"].max() == 1
        np.testing.assert_allclose(metrics["gap"], metrics["val_loss"] / metrics["train_loss"], atol=1e-3)
        assert yaml.safe_load((run / "config.yaml").read_text())["seed"] == seed
    assert summary.train_photos == summary.val_photos == 8
    (tmp_path / "ordinary").touch()
    modes = {path: path.stat().st_mode for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert set(modes.values()) == {(tmp_path / "ordinary").stat().st_mode}, modes


def test_a_training_that_diverges_stops_with_advice_and_leaves_no_member(tmp_path, dataset_dir):
    config = _config(tmp_path, dataset_dir, seeds=[1], optimizer={"lr": 1e6}, loss={"name": "mse"})
    with pytest.raises(TrainingError, match=r"seed 1: training has diverged in epoch 1: .*optimizer\.lr, now 1e\+06"):
        train_ensemble(config)
    assert not (tmp_path / "run" / "seed-1" / "member.safetensors").exists()
    assert not (tmp_path / "run" / "bundle").exists()


def test_a_weighted_training_writes_a_bundle_and_says_what_its_weights_count_as(tmp_path, dataset_dir, caplog):
    caplog.set_level("INFO")
    config = _config(tmp_path, dataset_dir, seeds=[1], loss={"name": "inverse_variance"})
    assert train_ensemble(config).bundle_dir.is_dir()
    assert "8 of 8 training photos have no gps_accuracy_m" in caplog.text
    assert "loss inverse_variance: weights of 8 photos from 1 to 1" in caplog.text


def test_the_bundle_localizes_its_own_photos(trained, dataset_dir):
    _, summary = trained
    localizer = Localizer.load(summary.bundle_dir, device="cpu")
    photos = load_dataset(dataset_dir)
    rgb = read_rgb(image_path(dataset_dir, photos["photo_id"][0]))
    estimate = localizer.localize(rgb)
    assert np.all(np.isfinite(estimate.mean_enu_m))
    assert np.sqrt(np.linalg.eigvalsh(estimate.cov_enu_m2).min()) >= summary.floor_sigma_m - 1e-6
    reference = localizer.bundle.load_reference()
    train = photos[photos["subset"] == "train"]
    assert localizer.bundle.training["photo_ids"] == train["photo_id"].tolist()
    expected = localizer.bundle.frame.to_local(train["latitude_deg"], train["longitude_deg"])
    np.testing.assert_allclose(reference.positions_enu_m, expected)
    first = train["photo_id"].iloc[0]
    own, stored = localizer.localize(read_rgb(image_path(dataset_dir, first))).descriptor, reference.descriptors[0]
    cosine = stored.astype(np.float64) @ own / np.linalg.norm(stored.astype(np.float64)) / np.linalg.norm(own)
    assert cosine == pytest.approx(1.0, abs=5e-3)


@condition(Area.BUNDLES, "training run again when it is complete", "kept; nothing is trained", since="2026-11-22")
def test_a_second_call_trains_nothing_again(trained, dataset_dir):
    tmp_path, first = trained
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("seed-*/member.safetensors")}
    again = train_ensemble(_config(tmp_path, dataset_dir))
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert again == first


@condition(Area.BUNDLES, "another configuration in the directory of a run", "one line", since="2026-11-22")
def test_another_configuration_in_the_same_directory_is_an_error(trained, dataset_dir):
    tmp_path, _ = trained
    with pytest.raises(ConfigError, match="another configuration"):
        train_ensemble(_config(tmp_path, dataset_dir, loss={"huber_delta_m": 2.0}))


@condition(Area.BUNDLES, "training interrupted", "resumed from its last epoch", since="2026-11-22")
def test_an_interrupted_member_goes_on_from_its_last_epoch(tmp_path, dataset_dir):
    short = SETTINGS["trainer"] | {"max_epochs": 1}
    train_ensemble(_config(tmp_path, dataset_dir, seeds=[1], trainer=short))
    run = tmp_path / "run" / "seed-1"
    # as an interruption after the first of two epochs leaves it
    (run / "member.safetensors").unlink()
    resolved = yaml.safe_load((run / "config.yaml").read_text())
    resolved["trainer"]["max_epochs"] = 2
    (run / "config.yaml").write_text(yaml.safe_dump(resolved, sort_keys=False))
    train_ensemble(_config(tmp_path, dataset_dir, seeds=[1]))
    assert (run / "member.safetensors").is_file()
    assert pd.read_csv(run / "metrics.csv")["epoch"].tolist() == [0, 1]


def test_the_last_epoch_is_kept_also_when_it_is_not_the_best(tmp_path, dataset_dir):
    # so fast that the epochs after the first are worse
    wild = {"lr": 0.1, "weight_decay": 0.0}
    epochs = SETTINGS["trainer"] | {"max_epochs": 3}
    off = {"divergence_epochs": 0}
    train_ensemble(_config(tmp_path, dataset_dir, seeds=[1], trainer=epochs, optimizer=wild, guards=off))
    run = tmp_path / "run" / "seed-1"
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == pd.read_csv(run / "metrics.csv")["epoch"].max() == 2


def _zip_with_a_wrong_checksum():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("data", b"weights " * 100)
    return content.getvalue().replace(b"weights ", b"weightS ", 1)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(content, marks=condition(Area.BUNDLES, f"checkpoint {text}", "trained again", since=since))
        for text, content, since in (
            ("that was cut off", b"PK\x03\x04 half a checkpoint", "2026-11-22"),
            ("of zero bytes", b"", "2026-11-26"),
            ("with a damaged tensor", _zip_with_a_wrong_checksum(), "2026-11-26"),
        )
    ],
)
def test_a_damaged_checkpoint_is_not_resumed_from(tmp_path, dataset_dir, content, caplog):
    checkpoint = tmp_path / "run" / "seed-1" / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(content)
    short = SETTINGS["trainer"] | {"max_epochs": 1}
    train_ensemble(_config(tmp_path, dataset_dir, seeds=[1], trainer=short))
    assert (tmp_path / "run" / "seed-1" / "member.safetensors").is_file()
    assert "last.ckpt is damaged" in caplog.text


@condition(
    Area.BUNDLES, "weights of a trained member cut off or empty", "made again of the checkpoint", since="2026-11-26"
)
def test_damaged_weights_of_a_member_are_made_again(trained, dataset_dir):
    tmp_path, first = trained
    weights = tmp_path / "run" / "seed-1" / "member.safetensors"
    whole = weights.read_bytes()
    for damaged in (whole[: len(whole) // 2], b""):
        weights.write_bytes(damaged)
        assert train_ensemble(_config(tmp_path, dataset_dir)) == first
        assert weights.read_bytes() == whole


@condition(Area.BUNDLES, "configuration of a run damaged", "one line that says what to delete", since="2026-11-26")
@pytest.mark.parametrize("content", [b"", b"seed: [", b"\xff\xfe"])
def test_a_run_whose_configuration_is_damaged_is_one_line(tmp_path, dataset_dir, content):
    path = tmp_path / "run" / "seed-1" / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="or delete that directory"):
        train_ensemble(_config(tmp_path, dataset_dir))


@condition(Area.BUNDLES, "data set without a split", "one line that says what to run", since="2026-11-22")
def test_a_data_set_without_a_split_says_what_to_run(tmp_path, dataset_dir):
    unsplit = tmp_path / "set"
    shutil.copytree(dataset_dir, unsplit)
    for file in unsplit.glob("splits.*"):
        file.unlink()
    with pytest.raises(DatasetError, match="run `split "):
        train_ensemble(_config(tmp_path, unsplit))


@condition(Area.BUNDLES, "stored photo damaged or missing", "one line that names it", since="2026-11-22")
def test_a_damaged_stored_photo_is_named(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(DatasetError, match=r"x\.jpg is damaged"):
        read_rgb(path)
    with pytest.raises(DatasetError, match=r"none\.jpg"):
        read_rgb(tmp_path / "none.jpg")


def test_the_floor_is_the_error_that_the_ensemble_spread_leaves_unexplained():
    rng = np.random.default_rng(0)
    truth = rng.uniform(-50, 50, (4000, 2))
    common = rng.normal(0, 6.0, (4000, 1, 2))  # the mistake that all members share
    means = truth[:, None] + common + rng.normal(0, 3.0, (4000, 3, 2))
    nothing, unknown = np.zeros((4000, 1), np.float32), np.full(4000, np.nan)
    outputs = ModelOutputs(
        means,
        np.zeros((4000, 3, 2, 2)),
        grid_log_probs=None,
        ood_features=nothing,
        pooled_features=nothing,
        descriptors=None,
        local_descriptors=None,
        local_features=None,
        finite=np.ones(4000, dtype=bool),
    )
    one_session, blocks = np.full(4000, "a", dtype=object), np.arange(4000)
    held_out = CalibrationSet(outputs, unknown, unknown, None, truth, one_session, blocks, unknown, unknown, None)
    calibration = fit_floor([held_out])
    # their spread explains 9 m^2 an axis; the mean's own error is 36 + 9 / 3
    assert calibration.floor_sigma_m == pytest.approx(np.sqrt(36 + 3 - 9), rel=0.03)


def test_a_site_is_the_hull_of_its_photos():
    hull = site_polygon(np.array([[0, 0], [10, 0], [10, 10], [0, 10], [5, 5]], dtype=float))
    assert sorted(map(tuple, hull)) == [(0, 0), (0, 10), (10, 0), (10, 10)]
    with pytest.raises(DatasetError, match="three places"):
        site_polygon(np.zeros((5, 2)))
