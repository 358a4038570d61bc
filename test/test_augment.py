"""The paper's augmentation: what it changes, how often, and what it must never do."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers import textured_rgb
from torchvision.transforms import v2

from campus_visual_gps.preprocess import ImageSpec
from training.config import AugmentSettings
from training.data.augment import EvaluationTransform, JpegCompression, NightSimulation, TrainTransform

IMAGE = ImageSpec(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SETTINGS = [field.name for field in dataclasses.fields(AugmentSettings) if isinstance(field.default, float)]
PIXELS = torch.from_numpy(textured_rgb(64, 64))
OFF = {
    name: 0.0
    for name in (
        "rotation_deg",
        "perspective_scale",
        "brightness",
        "contrast",
        "saturation",
        "grayscale_p",
        "erasing_p",
    )
}


def test_no_transform_mirrors_or_crops():
    steps = TrainTransform(AugmentSettings(), IMAGE).pixels
    assert not any(isinstance(step, (v2.RandomHorizontalFlip, v2.RandomResizedCrop)) for step in steps)


def test_with_everything_off_training_sees_what_evaluation_sees():
    train = TrainTransform(AugmentSettings(**OFF, night_p=0.0), IMAGE)
    torch.testing.assert_close(train(PIXELS), EvaluationTransform(IMAGE)(PIXELS))


@pytest.mark.parametrize("field", SETTINGS)
def test_every_setting_changes_the_image(field):
    strong = {"rotation_deg": 45.0, "noise_sigma": 20.0, "hue": 0.5}.get(field, 1.0)
    if field == "perspective_p":  # a probability of the strength's
        pytest.skip("has no effect on its own")
    train = TrainTransform(AugmentSettings(**(OFF | {"night_p": 0.0} | {field: strong})), IMAGE)
    torch.manual_seed(0)
    plain = EvaluationTransform(IMAGE)(PIXELS)
    assert any(not torch.allclose(train(PIXELS), plain, atol=1e-3) for _ in range(8))


def test_night_darkens_and_flattens_within_its_bounds():
    night = NightSimulation(1.0, (0.4, 0.7), (0.6, 0.9))
    image = PIXELS.permute(2, 0, 1)
    torch.manual_seed(0)
    for _ in range(20):
        darker = night(image).float()
        assert 0.38 <= darker.mean() / image.float().mean() <= 0.72
        assert 0.4 * 0.6 * 0.95 <= darker.std() / image.float().std() <= 0.7 * 0.9 * 1.05


def test_night_comes_as_often_as_it_should():
    night = NightSimulation(0.2, (0.4, 0.7), (0.6, 0.9))
    image = PIXELS.permute(2, 0, 1)
    torch.manual_seed(0)
    share = np.mean([not torch.equal(night(image), image) for _ in range(500)])
    assert 0.15 < share < 0.25


def test_the_result_is_what_the_network_takes():
    out = TrainTransform(AugmentSettings(), IMAGE)(PIXELS)
    assert out.shape == (3, 64, 64) and out.dtype == torch.float32


def test_compression_keeps_the_colours():
    image = PIXELS.permute(2, 0, 1)
    compressed = JpegCompression(1.0, (90, 90))(image)
    assert compressed.shape == image.shape and not torch.equal(compressed, image)
    assert (compressed.float() - image.float()).abs().mean() < 4.0
