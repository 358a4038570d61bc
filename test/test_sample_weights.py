"""Weighted losses: labels with a better reported accuracy count more, and only in what is minimised."""

import numpy as np
import pandas as pd
import pytest
import torch

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.models.position_model import ModelConfig, build_model
from campus_visual_gps.preprocess import ImageSpec
from training.config import LossSettings, OptimizerSettings, SchedulerSettings, TrainConfig
from training.fit.feature_cache import CachedFeatureDataset
from training.fit.module import PositionModule
from training.fit.sample_weights import area_zscore_weights, effective_number, sample_weights
from training.fit.site_data import TrainingSite, site_polygon, training_set
from training.photos.areas import AREAS_FILES, grid_areas

FRAME = LocalFrame.at(31.262, 34.8025)
IMAGE = ImageSpec(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
PLACES_M = np.array([[-90.0, 0.0], [-80.0, 20.0], [80.0, 10.0], [90.0, -20.0], [85.0, 0.0]])
ACCURACY_M = [5.0, 10.0, 5.0, np.nan, 20.0]


def _areas_are_not_needed():
    raise AssertionError("asked for areas")


def _site(tmp_path, accuracy_m=ACCURACY_M):
    latitude, longitude = FRAME.to_geodetic(PLACES_M)
    photos = pd.DataFrame({"photo_id": list("abcde"), "latitude_deg": latitude, "longitude_deg": longitude})
    photos = photos.assign(file=photos["photo_id"] + ".jpg", gps_accuracy_m=accuracy_m, subset="train")
    return TrainingSite(photos, tmp_path, FRAME, IMAGE)


def _training_set(site, name):
    config = TrainConfig(dataset=".", out=".", loss=LossSettings(name=name))
    return training_set(config, site, site.photos, site.photos.iloc[:1])


@pytest.mark.parametrize("name", ["huber", "mse"])
def test_losses_without_weights_have_none(name, tmp_path):
    assert sample_weights(name, np.array(ACCURACY_M), _areas_are_not_needed) is None
    assert _training_set(_site(tmp_path), name).train_weights is None


def test_inverse_variance_keeps_the_ratio_of_the_papers_weights_and_a_mean_of_one():
    weights = sample_weights("inverse_variance", np.array([2.0, 10.0, 14.142135623730951]), _areas_are_not_needed)
    np.testing.assert_allclose(weights / weights[1], [25.0, 1.0, 0.5])
    assert weights.mean() == pytest.approx(1.0)


def test_a_photo_without_an_accuracy_gets_the_median_of_the_others(caplog):
    weights = sample_weights("inverse_variance", np.array([4.0, np.nan, 8.0, 16.0, -1.0]), _areas_are_not_needed)
    assert weights[1] == weights[2] == weights[4]
    assert "2 of 5 training photos have no gps_accuracy_m: the loss takes 8.0 m" in caplog.text


def test_without_any_accuracy_all_photos_weigh_the_same():
    for name in ("inverse_variance", "area_zscore"):
        weights = sample_weights(name, np.full(3, np.nan), lambda: ["x"] * 3)
        np.testing.assert_allclose(weights, 1.0)


def test_an_accuracy_of_zero_is_not_an_infinite_weight():
    weights = sample_weights("inverse_variance", np.array([0.0, 1.0, 10.0]), _areas_are_not_needed)
    assert weights[0] == weights[1] == pytest.approx(100 * weights[2])


def test_the_z_score_is_taken_within_the_area_and_only_poor_labels_lose_weight():
    accuracy_m = np.array([4.0, 6.0, 8.0, 40.0, 60.0, 80.0, 5.0])
    weights = area_zscore_weights(accuracy_m, ["one"] * 3 + ["other"] * 3 + ["alone"])
    z = (8.0 - 6.0) / np.std([4.0, 6.0, 8.0])
    np.testing.assert_allclose(weights, [1.0, 1.0, 1 / (1 + z), 1.0, 1.0, 1 / (1 + z), 1.0])


def test_equal_weights_count_as_all_photos_and_one_large_weight_as_one():
    assert effective_number(np.ones(10)) == pytest.approx(10.0)
    assert effective_number(np.array([1e6, 1.0, 1.0])) == pytest.approx(1.0, abs=1e-3)


def test_the_areas_of_a_training_are_those_of_the_evaluation(tmp_path):
    site = _site(tmp_path)
    accuracy_m = np.array([5.0, 10.0, 5.0, 7.5, 20.0])  # the unknown one is the median
    grid = grid_areas(site_polygon(PLACES_M)).name_of(site.positions_m(site.photos))
    by_grid = _training_set(site, "area_zscore").train_weights
    raw = area_zscore_weights(accuracy_m, grid)
    np.testing.assert_allclose(by_grid, raw / raw.mean())
    corners = zip(*FRAME.to_geodetic(np.array([[-200, -200], [200, -200], [200, 200], [-200, 200]])), strict=True)
    lines = ["area,latitude_deg,longitude_deg", *(f"all,{latitude},{longitude}" for latitude, longitude in corners)]
    (tmp_path / AREAS_FILES[0]).write_text("\n".join(lines))
    in_one = _training_set(site, "area_zscore").train_weights
    raw = area_zscore_weights(accuracy_m, ["all"] * 5)
    np.testing.assert_allclose(in_one, raw / raw.mean())
    assert not np.allclose(in_one, by_grid)


def test_a_list_of_photos_with_their_areas_divides_a_training_too(tmp_path):
    (tmp_path / AREAS_FILES[0]).write_text("file,area\na.jpg,x\nb.jpg,y\nc.jpg,x\nd.jpg,y\ne.jpg,x\n")
    raw = area_zscore_weights(np.array([5.0, 10.0, 5.0, 7.5, 20.0]), list("xyxyx"))
    np.testing.assert_allclose(_training_set(_site(tmp_path), "area_zscore").train_weights, raw / raw.mean())


def test_a_wrong_areas_file_stops_the_training_with_its_line(tmp_path):
    (tmp_path / AREAS_FILES[0]).write_text("area,latitude_deg,longitude_deg\nx,31.262,north\n")
    with pytest.raises(DatasetError, match=r"areas\.csv, line 2"):
        _training_set(_site(tmp_path), "area_zscore")


def test_other_accuracies_are_another_training_where_they_weigh_and_only_there(tmp_path):
    one, other = _site(tmp_path), _site(tmp_path, [9.0, 10.0, 5.0, 6.0, 20.0])
    assert _training_set(one, "huber").fingerprint == _training_set(other, "huber").fingerprint
    weighted = [_training_set(site, "inverse_variance").fingerprint for site in (one, other)]
    assert weighted[0] != weighted[1]


def _module(name, head="linear"):
    torch.manual_seed(0)
    model = build_model(ModelConfig("resnet18", head))
    module = PositionModule(model, LossSettings(name=name), OptimizerSettings(), SchedulerSettings(), steps_per_epoch=1)
    logged = {}
    module.log = lambda key, value, **_: logged.update({key: float(value)})
    module.log_dict = lambda values, **_: logged.update({key: float(value) for key, value in values.items()})
    return module.eval(), logged


@pytest.mark.parametrize("head", ["linear", "gaussian"])
def test_weights_act_on_what_is_minimised_and_on_nothing_that_is_reported(head):
    images, targets = torch.rand(2, 3, 32, 32), torch.tensor([[30.0, 0.0], [0.0, 1.0]])
    module, logged = _module("inverse_variance", head)
    with torch.no_grad():
        first, second = (float(module.training_step((images, targets, torch.eye(2)[i]), 0)) for i in (0, 1))
        minimised = float(module.training_step((images, targets, torch.tensor([1.5, 0.5])), 0))
        module.validation_step((images, targets, torch.tensor([1.5, 0.5])), 0)
    assert minimised == pytest.approx(1.5 * first + 0.5 * second, rel=1e-5)
    assert logged["train_loss"] == pytest.approx(first + second, rel=1e-5)
    assert logged["val_loss"] == pytest.approx(first + second, rel=1e-5)


def test_validation_of_every_loss_is_in_metres_and_of_the_weighted_ones_the_squared_error():
    images, targets = torch.rand(2, 3, 32, 32), torch.tensor([[30.0, 0.0], [0.0, 1.0]])
    reported = {}
    for name in ("huber", "mse", "inverse_variance", "area_zscore"):
        module, logged = _module(name)
        with torch.no_grad():
            module.validation_step((images, targets, torch.tensor([9.0, 9.0])), 0)
        reported[name] = logged
    assert len({values["val_mean_error_m"] for values in reported.values()}) == 1
    assert (
        reported["mse"]["val_loss"] == reported["inverse_variance"]["val_loss"] == reported["area_zscore"]["val_loss"]
    )
    assert reported["huber"]["val_loss"] != reported["mse"]["val_loss"]


def test_cached_features_carry_the_weight_of_their_photo():
    features = np.zeros((2, 4, 1, 1, 1), dtype=np.float16)
    rows = np.array([3, 1])
    cached = CachedFeatureDataset(features, rows, PLACES_M[rows], augmented=True, weights=np.array([0.5, 1.5]))
    assert [float(cached[index][2]) for index in (0, 1)] == [0.5, 1.5]
