"""The augmentation of training images: what each setting does, how often, and what must stay as it is."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers import textured_rgb

from campus_visual_gps.preprocess import ImageSpec, normalise
from training.augment_settings import AugmentSettings
from training.data import geometric, photometric
from training.data.augment import EvaluationTransform, TrainTransform, warn_of_invalid
from training.data.augment_steps import PIXEL_STEPS, HorizontalFlip, ResizedCrop, SensorNoise

SIZE_PX = 64
IMAGE = ImageSpec(SIZE_PX, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
PIXELS = torch.from_numpy(textured_rgb(SIZE_PX, SIZE_PX))
PLAIN = EvaluationTransform(IMAGE)(PIXELS)
# Probabilities and strengths that turn an augmentation off, and what turns each of them on for every image.
SWITCHES = {
    "resized_crop_p": {"resized_crop_p": 1.0, "resized_crop_scale": (0.3, 0.6)},
    "horizontal_flip_p": {"horizontal_flip_p": 1.0},
    "rotation_deg": {"rotation_deg": 30.0},
    "perspective_p": {"perspective_p": 1.0, "perspective_scale": 0.5},
    "perspective_scale": {"perspective_p": 1.0, "perspective_scale": 0.5},
    "brightness": {"brightness": 0.8},
    "contrast": {"contrast": 0.8},
    "saturation": {"saturation": 0.8},
    "hue": {"hue": 0.5},
    "grayscale_p": {"grayscale_p": 1.0},
    "night_p": {"night_p": 1.0},
    "noise_sigma": {"noise_sigma": 20.0},
    "jpeg_p": {"jpeg_p": 1.0},
    "erasing_p": {"erasing_p": 1.0},
}
OFF = dict.fromkeys(SWITCHES, 0.0)


def only(**settings) -> TrainTransform:
    return TrainTransform(AugmentSettings(**(OFF | settings)), IMAGE)


def levels(image: torch.Tensor) -> np.ndarray:
    """What the network gets, as (S, S, 3) levels of 255."""
    return np.asarray(image.permute(1, 2, 0) * 0.5 + 0.5) * 255.0


def test_the_switches_are_all_settings_that_can_be_zero():
    ranges = ("resized_crop_scale", "night_version", "night_brightness", "night_contrast", "jpeg_quality")
    names = {field.name for field in dataclasses.fields(AugmentSettings)}
    assert names - set(SWITCHES) == {*ranges, "erasing_area"}


def test_with_everything_off_training_sees_what_evaluation_sees():
    torch.testing.assert_close(only()(PIXELS), PLAIN, rtol=0, atol=0)
    torch.testing.assert_close(PLAIN, normalise(PIXELS, IMAGE), rtol=0, atol=0)


@pytest.mark.parametrize("name", SWITCHES)
def test_each_augmentation_can_be_on_alone(name):
    transform = only(**SWITCHES[name])
    torch.manual_seed(0)
    assert all(not torch.equal(transform(PIXELS), PLAIN) for _ in range(8))


@pytest.mark.parametrize("name", SWITCHES)
def test_each_augmentation_can_be_off_alone_and_is_then_not_executed(name):
    strong = {key: value for settings in SWITCHES.values() for key, value in settings.items()}
    with_it = TrainTransform(AugmentSettings(**strong), IMAGE)
    without = TrainTransform(AugmentSettings(**(strong | {name: 0.0})), IMAGE)
    uniform = [0.3] * TrainTransform.draws
    done, remaining = with_it.augment(PIXELS, uniform)[1], without.augment(PIXELS, uniform)[1]
    words = [word for what in done for word in what.split(", ")]
    missing = set(words) - {word for what in remaining for word in what.split(", ")}
    assert len(missing) == 1
    if not name.startswith(("perspective", "rotation", "brightness", "contrast", "saturation", "hue")):
        assert len(without.steps) + without.erasing.on == len(with_it.steps) + with_it.erasing.on - 1


@pytest.mark.parametrize(
    "name, module, function",
    [
        ("rotation_deg", geometric, "rotation_matrix"),
        ("perspective_p", geometric, "perspective_matrix"),
        ("perspective_scale", geometric, "perspective_matrix"),
        ("horizontal_flip_p", geometric, "horizontal_flip"),
        ("resized_crop_p", geometric, "resized_crop"),
        ("grayscale_p", photometric, "to_greyscale"),
        ("night_p", photometric, "simulate_night"),
        ("noise_sigma", photometric, "add_sensor_noise"),
        ("jpeg_p", photometric, "compress_jpeg"),
    ],
)
def test_what_is_off_is_never_called_and_what_is_on_is(name, module, function, monkeypatch):
    calls = []
    original = getattr(module, function)
    monkeypatch.setattr(module, function, lambda *args: calls.append(function) or original(*args))
    strong = {key: value for settings in SWITCHES.values() for key, value in settings.items()}
    TrainTransform(AugmentSettings(**(strong | {name: 0.0})), IMAGE)(PIXELS)
    assert not calls
    TrainTransform(AugmentSettings(**strong), IMAGE)(PIXELS)
    assert calls == [function]


def test_by_default_nothing_mirrors_or_crops():
    steps = [type(step) for step, _ in TrainTransform(AugmentSettings(), IMAGE).steps]
    assert HorizontalFlip not in steps and ResizedCrop not in steps


def test_a_flip_mirrors_left_and_right():
    torch.testing.assert_close(only(horizontal_flip_p=1.0)(PIXELS), PLAIN.flip(2), rtol=0, atol=0)


def test_a_crop_keeps_the_size_and_enlarges_what_it_keeps():
    rows = torch.arange(SIZE_PX, dtype=torch.uint8)[:, None, None].expand(SIZE_PX, SIZE_PX, 3).contiguous()
    transform = only(resized_crop_p=1.0, resized_crop_scale=(0.25, 0.25))
    torch.manual_seed(0)
    for _ in range(10):
        cropped = levels(transform(rows))
        assert cropped.shape == (SIZE_PX, SIZE_PX, 3)
        height = np.ptp(cropped[:, 0, 0])
        assert SIZE_PX * 0.5 * 0.75**0.5 - 2 <= height <= SIZE_PX * 0.5 * (4 / 3) ** 0.5 + 2


def test_a_crop_of_the_whole_image_changes_nothing():
    torch.testing.assert_close(only(resized_crop_p=1.0, resized_crop_scale=(1.0, 1.0))(PIXELS), PLAIN)


def test_the_order_is_the_papers():
    order = [step.__name__ for step in PIXEL_STEPS]
    geometric = [order.index(name) for name in ("ResizedCrop", "HorizontalFlip", "Warp")]
    photometric = [order.index(name) for name in ("ColorJitter", "Grayscale", "NightSimulation")]
    assert max(geometric) < min(photometric)
    strong = AugmentSettings(rotation_deg=30.0, perspective_p=1.0, night_p=1.0, erasing_p=1.0)
    done = TrainTransform(strong, IMAGE).augment(PIXELS, [0.3] * TrainTransform.draws)[1]
    assert done[0].startswith("rotation") and done[0].endswith("perspective") and done[-1].startswith("erased")


@pytest.mark.parametrize("version, darkest, lightest", [("v1", 0.1, 0.4), ("v2", 0.4, 0.7)])
def test_night_darkens_within_the_range_of_its_version(version, darkest, lightest):
    transform = only(night_p=1.0, night_version=version)
    torch.manual_seed(0)
    ratios = [levels(transform(PIXELS)).mean() / np.asarray(PIXELS).mean() for _ in range(50)]
    assert darkest - 0.02 <= min(ratios) < darkest + 0.1 and lightest - 0.1 < max(ratios) <= lightest + 0.02


def test_night_v2_also_keeps_more_contrast_than_v1():
    def spread(version):
        torch.manual_seed(0)
        transform = only(night_p=1.0, night_version=version)
        return np.mean([levels(transform(PIXELS)).std() for _ in range(20)])

    assert spread("v2") > 3 * spread("v1")


def test_explicit_night_ranges_replace_those_of_the_version():
    settings = AugmentSettings(night_version="v1", night_contrast=(0.5, 0.6))
    assert settings.night_ranges == ((0.1, 0.4), (0.5, 0.6))


@pytest.mark.parametrize(
    "name, p", [("night_p", 0.2), ("night_p", 0.25), ("horizontal_flip_p", 0.5), ("erasing_p", 0.2), ("jpeg_p", 0.7)]
)
def test_an_augmentation_comes_as_often_as_it_should(name, p):
    transform = only(**{name: p})
    torch.manual_seed(0)
    share = np.mean([not torch.equal(transform(PIXELS), PLAIN) for _ in range(1000)])
    assert abs(share - p) < 3.3 * (p * (1 - p) / 1000) ** 0.5


def test_an_erased_rectangle_has_the_mean_colour_and_its_share_of_the_area():
    transform = only(erasing_p=1.0, erasing_area=(0.1, 0.2))
    torch.manual_seed(0)
    for _ in range(20):
        erased = (transform(PIXELS) == 0.0).all(dim=0)
        assert 0.08 < erased.float().mean() < 0.22
        rows, columns = erased.any(dim=1).sum(), erased.any(dim=0).sum()
        assert erased.sum() >= rows * columns


@pytest.mark.parametrize("area", [1e-6, 0.33, 1.0])
def test_every_area_can_be_erased(area):
    erased = (only(erasing_p=1.0, erasing_area=(area, area))(PIXELS) == 0.0).all(dim=0).float().mean()
    assert erased == pytest.approx(max(area, 1 / SIZE_PX**2), rel=0.05)


def test_noise_has_its_sigma_in_every_channel_and_another_for_every_image():
    grey = np.full((SIZE_PX, SIZE_PX, 3), 128, np.uint8)
    step = SensorNoise(AugmentSettings(noise_sigma=16.0))
    noisy = step(grey, (0.5, 0.2))[0].astype(float) - 128.0
    np.testing.assert_allclose(noisy.std(axis=(0, 1)), 8.0, rtol=0.1)
    np.testing.assert_allclose(noisy.mean(axis=(0, 1)), 0.0, atol=0.5)
    assert np.abs(np.corrcoef(noisy.reshape(-1, 3).T) - np.eye(3)).max() < 0.1
    assert np.array_equal(step(grey, (0.5, 0.2))[0], noisy + 128) and not np.array_equal(
        step(grey, (0.5, 0.3))[0], noisy + 128
    )


def test_compression_keeps_the_colours():
    compressed = levels(only(jpeg_p=1.0, jpeg_quality=(90, 90))(PIXELS))
    assert 0.0 < np.abs(compressed - np.asarray(PIXELS)).mean() < 4.0


def test_the_result_is_what_the_network_takes_and_the_photo_is_left_as_it_was():
    before = PIXELS.clone()
    strong = {key: value for settings in SWITCHES.values() for key, value in settings.items()}
    out = TrainTransform(AugmentSettings(**strong), IMAGE)(PIXELS)
    assert out.shape == (3, SIZE_PX, SIZE_PX) and out.dtype == torch.float32
    assert torch.equal(PIXELS, before)


def test_one_seed_gives_the_same_images_and_another_gives_others():
    transform = TrainTransform(AugmentSettings(noise_sigma=8.0, jpeg_p=0.5, hue=0.1), IMAGE)

    def images(seed):
        torch.manual_seed(seed)
        return torch.stack([transform(PIXELS) for _ in range(6)])

    assert torch.equal(images(1), images(1)) and not torch.equal(images(1), images(2))


def test_without_one_augmentation_all_others_are_the_same():
    def done(**settings):
        torch.manual_seed(3)
        transform = TrainTransform(AugmentSettings(**settings), IMAGE)
        draws = (torch.rand(transform.draws, dtype=torch.float64).tolist() for _ in range(20))
        return [set(transform.augment(PIXELS, uniform)[1]) for uniform in draws]

    for all_of_them, without in zip(done(), done(night_p=0.0), strict=True):
        assert without == {what for what in all_of_them if not what.startswith("night")}


def test_a_transform_reaches_the_processes_of_a_loader():
    import pickle

    transform = TrainTransform(AugmentSettings(noise_sigma=8.0), IMAGE)
    uniform = [0.1] * transform.draws
    copy = pickle.loads(pickle.dumps(transform))
    assert torch.equal(copy.augment(PIXELS, uniform)[0], transform.augment(PIXELS, uniform)[0])


@pytest.mark.parametrize("name, section", [("horizontal_flip_p", "6.7"), ("resized_crop_p", "6.4")])
def test_what_breaks_position_labels_is_warned_of_with_the_reason(name, section, caplog):
    warn_of_invalid(AugmentSettings(**{name: 0.5}))
    (record,) = caplog.records
    assert record.levelname == "WARNING" and name in record.message and f"5.5 and {section}" in record.message
    assert "label" in record.message and "\n" not in record.message


def test_the_valid_augmentations_warn_of_nothing(caplog):
    warn_of_invalid(AugmentSettings(noise_sigma=8.0, jpeg_p=0.5, hue=0.1))
    assert not caplog.records
