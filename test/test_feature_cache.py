"""The feature cache: computed once, the same for every seed, and another file if something it depends on changes."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from helpers import textured_rgb

from campus_visual_gps.models.backbones import build_backbone
from campus_visual_gps.models.stages import split_frozen_stages
from campus_visual_gps.preprocess import ImageSpec
from training.config import AugmentSettings
from training.data.augment import EvaluationTransform
from training.data.dataset import PhotoDataset
from training.fit.feature_cache import CachedFeatureDataset, FeatureRecipe, cached_features, weights_key

IMAGE = ImageSpec(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
RECIPE = FeatureRecipe(IMAGE, AugmentSettings(), views=2, backbone="resnet18", weights="none", frozen_stages=2)
POSITIONS_M = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])


@pytest.fixture(scope="module")
def frozen():
    torch.manual_seed(0)
    return split_frozen_stages(build_backbone("resnet18"), RECIPE.frozen_stages)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set") / "images"
    folder.mkdir()
    found = [folder / f"{index:016x}.jpg" for index in range(3)]
    for index, path in enumerate(found):
        cv2.imwrite(str(path), textured_rgb(64, 64, seed=index))
    return found


@pytest.fixture(scope="module")
def features(paths, frozen):
    return cached_features(RECIPE, paths, frozen)


def test_the_first_view_is_the_photo_and_the_others_are_augmented(features, paths, frozen):
    assert features.shape[:2] == (3, 3) and features.dtype == np.float16
    images, _, _ = PhotoDataset(paths, POSITIONS_M, IMAGE, EvaluationTransform(IMAGE))[1]
    with torch.inference_mode():
        expected = frozen(images[None])[0].numpy()
    np.testing.assert_allclose(features[0, 1], expected, rtol=2e-3, atol=2e-3)
    assert not np.array_equal(features[0], features[1]) and not np.array_equal(features[1], features[2])


def test_features_are_read_from_the_data_set_and_not_computed_again(features, paths):
    assert RECIPE.file(paths).parent == paths[0].parent.parent / "feature_cache"
    np.testing.assert_array_equal(cached_features(RECIPE, paths, frozen=None), features)


def test_the_seed_of_a_member_does_not_change_them_and_they_leave_it_alone(features, paths, frozen):
    RECIPE.file(paths).unlink()
    torch.manual_seed(99)
    again = cached_features(RECIPE, paths, frozen)
    drawn = torch.rand(1)
    torch.manual_seed(99)
    assert torch.equal(drawn, torch.rand(1))
    np.testing.assert_array_equal(again, features)


@pytest.mark.parametrize(
    "change",
    [
        {"views": 3},
        {"frozen_stages": 1},
        {"weights": "imagenet"},
        {"augment": AugmentSettings(night_p=0.5)},
        {"augment": AugmentSettings(night_version="v1")},
        {"augment": AugmentSettings(perspective_p=0.4)},
        {"augment": AugmentSettings(horizontal_flip_p=0.5)},
        {"augment": AugmentSettings(resized_crop_scale=(0.6, 1.0))},
        {"augment": AugmentSettings(erasing_area=(0.02, 0.2))},
        {"augment": AugmentSettings(hue=0.05)},
        {"image": dataclasses.replace(IMAGE, size_px=96)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_recipe_has_another_file(change, paths):
    assert dataclasses.replace(RECIPE, **change).file(paths) != RECIPE.file(paths)
    assert RECIPE.file(paths[:2]) != RECIPE.file(paths)


def test_another_version_of_the_augmentation_has_another_file(paths, monkeypatch):
    before = RECIPE.file(paths)
    monkeypatch.setattr("training.fit.feature_cache.AUGMENTATION_VERSION", -1)
    assert RECIPE.file(paths) != before


def test_training_draws_augmented_views_and_validation_takes_the_photo(features):
    rows = np.array([2, 0])
    train = CachedFeatureDataset(features, rows, POSITIONS_M[rows], augmented=True)
    val = CachedFeatureDataset(features, rows, POSITIONS_M[rows], augmented=False)
    item, target, weight = val[0]
    np.testing.assert_array_equal(item, features[0, 2])
    assert len(val) == 2 and target.tolist() == [4.0, 5.0] and float(weight) == 1.0
    drawn = {train[0][0].numpy().tobytes() for _ in range(30)}
    assert drawn == {features[view, 2].tobytes() for view in (1, 2)}


def test_random_weights_and_those_of_a_file_are_told_apart_by_their_values(frozen):
    torch.manual_seed(1)
    other = split_frozen_stages(build_backbone("resnet18"), RECIPE.frozen_stages)
    for weights in ("none", "a/file.pth"):
        assert weights_key(weights, frozen) != weights_key(weights, other)
        assert weights_key(weights, frozen) == weights_key(weights, frozen)
    assert weights_key("imagenet", frozen) == "imagenet"
