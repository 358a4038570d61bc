"""The paper's recipe, line by line: config/training/convnext_ensemble.yaml and what is built from it."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_bundle, textured_rgb
from table_helpers import make_dataset
from torch import nn

from campus_visual_gps import Localizer, predict_gps
from campus_visual_gps.errors import ImageError
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.models.backbones import get_backbone
from campus_visual_gps.models.position_model import build_model
from campus_visual_gps.preprocess import ImageSpec, normalise, prepare
from training.config import load_config
from training.data.augment import TrainTransform
from training.data.augment_steps import NightSimulation
from training.fit.losses import loss_for_head
from training.fit.module import PositionModule
from training.photos.corrections import apply_corrections
from training.photos.manifest import read_photos, read_splits
from training.photos.splits import split
from training.photos.tables import write_table

CONFIG = load_config(Path(__file__).parent.parent / "config" / "training" / "convnext_ensemble.yaml")
_BACKBONE = get_backbone(CONFIG.model.backbone)
IMAGE = ImageSpec(CONFIG.size_px, _BACKBONE.mean, _BACKBONE.std)
R_EARTH_M, LAT_REF, LON_REF = 6_371_000.0, 31.262, 34.802


@pytest.fixture(scope="module")
def module():
    """One member without ImageNet weights, as it is trained."""
    torch.manual_seed(CONFIG.seeds[0])
    model = build_model(CONFIG.model)
    return PositionModule(model, CONFIG.loss, CONFIG.optimizer, CONFIG.scheduler, steps_per_epoch=80)


def test_equations_1_to_4_with_the_single_radius():
    """Sections 3.1 and 3.3."""
    frame = LocalFrame.spherical(LAT_REF, LON_REF)
    lat, lon = LAT_REF + 0.001, LON_REF - 0.002
    x = math.radians(lon - LON_REF) * math.cos(math.radians(LAT_REF)) * R_EARTH_M  # equation 3
    y = math.radians(lat - LAT_REF) * R_EARTH_M  # equation 4
    np.testing.assert_allclose(frame.to_local(lat, lon), [x, y], rtol=1e-12)
    np.testing.assert_allclose([x, y], [-190.0996, 111.1949], atol=1e-3)
    found_lat, found_lon = frame.to_geodetic([x, y])
    assert found_lat == pytest.approx(LAT_REF + math.degrees(y / R_EARTH_M), abs=1e-12)  # equation 1
    scale = R_EARTH_M * math.cos(math.radians(LAT_REF))
    assert found_lon == pytest.approx(LON_REF + math.degrees(x / scale), abs=1e-12)  # equation 2
    assert (found_lat, found_lon) == pytest.approx((lat, lon), abs=1e-12)


def test_the_backbone_gives_768_features_to_a_head_of_512_and_128(module):
    """Section 3.2: Linear, GELU, dropout 0.3, Linear, GELU, Linear; outputs in metres."""
    with torch.inference_mode():
        assert module.model.backbone(torch.zeros(1, 3, 64, 64)).shape == (1, 768)
    layers = list(module.model.head.layers)
    assert [type(layer) for layer in layers] == [nn.Linear, nn.GELU, nn.Dropout, nn.Linear, nn.GELU, nn.Linear]
    shapes = [(layer.in_features, layer.out_features) for layer in layers if isinstance(layer, nn.Linear)]
    assert shapes == [(768, 512), (512, 128), (128, 2)]
    assert layers[2].p == 0.3
    features = torch.randn(4, 768)
    torch.testing.assert_close(module.model.head.eval()(features).mean_enu_m, nn.Sequential(*layers).eval()(features))


def test_the_whole_network_is_trained_from_imagenet_weights(module):
    """Section 2: transfer learning; nothing is frozen. About 28 million parameters (table 5)."""
    assert CONFIG.weights == "imagenet" and CONFIG.optimizer.frozen_stages == 0 and module.frozen is None
    trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    assert trained == 27_820_128 + (768 + 1) * 512 + (512 + 1) * 128 + (128 + 1) * 2


def test_photos_are_resized_to_320_pixels():
    """Section 3.3."""
    assert prepare(textured_rgb(480, 640), IMAGE).shape == (320, 320, 3)


def test_the_huber_loss_is_quadratic_below_one_metre_and_linear_above(module):
    """Section 3.4, delta 1.0: e^2 / 2 up to 1 m, |e| - 1/2 beyond, the mean of both axes."""
    assert (CONFIG.loss.name, CONFIG.loss.huber_delta_m) == ("huber", 1.0)
    output = module.model.head.eval()(torch.zeros(1, 768))
    errors = torch.tensor([[0.5, -0.2], [3.0, 0.5], [-30.0, 40.0], [1.0, 0.0]])
    expected = [(0.125 + 0.02) / 2, (2.5 + 0.125) / 2, (29.5 + 39.5) / 2, 0.25]
    output = output._replace(mean_enu_m=errors)
    loss = loss_for_head(CONFIG.model.head, CONFIG.loss, output, torch.zeros(4, 2))
    torch.testing.assert_close(loss, torch.tensor(expected))


def test_adamw_has_one_rate_and_one_decoupled_weight_decay_for_all_parameters(module):
    """Section 3.4: learning rate and weight decay 1e-4."""
    optimizer = module.configure_optimizers()["optimizer"]
    assert type(optimizer) is torch.optim.AdamW
    assert {(group["lr"], group["weight_decay"]) for group in optimizer.param_groups} == {(1e-4, 1e-4)}
    grouped = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(grouped) == len(list(module.parameters()))
    weight = grouped[0]
    before = weight.detach().clone()
    weight.grad = torch.zeros_like(weight)
    optimizer.step()  # without a gradient, the decay alone: it does not go through the moments
    torch.testing.assert_close(weight.detach(), before * (1.0 - 1e-4 * 1e-4), rtol=0, atol=1e-9)
    weight.grad = None


def _rates(module, val_losses):
    """Learning rate of the epoch that follows each validation loss."""
    schedule = module.configure_optimizers()["lr_scheduler"]
    assert schedule["monitor"] == "val_loss"
    rates = []
    for val_loss in val_losses:
        schedule["scheduler"].step(val_loss)
        rates.append(schedule["scheduler"].optimizer.param_groups[0]["lr"])
    return rates


def test_the_learning_rate_is_halved_after_the_eighth_epoch_without_a_better_validation_loss(module):
    """Section 3.4: factor 0.5; patience 7 is the number of epochs that are waited for."""
    rates = _rates(module, [5.0] * 18)
    assert rates[:8] == [1e-4] * 8  # the best epoch and seven more
    assert rates[8:16] == pytest.approx([0.5e-4] * 8)
    assert rates[16:] == pytest.approx([0.25e-4] * 2)


def test_a_better_validation_loss_starts_the_patience_anew(module):
    """Section 3.4."""
    assert _rates(module, [5.0] * 8 + [4.9] + [5.0] * 7) == [1e-4] * 16
    assert _rates(module, [5.0] * 8 + [4.9] + [5.0] * 8)[-1] == pytest.approx(0.5e-4)
    unchanged = 5.0 - 1e-4  # less than a ten-thousandth better is not better
    assert _rates(module, [5.0] * 8 + [unchanged])[-1] == pytest.approx(0.5e-4)


def test_training_has_100_epochs_batches_of_24_and_a_warm_up():
    """Figure 4; section 6.1 names batches of 16 and the missing warm-up as causes of a divergence."""
    assert (CONFIG.trainer.max_epochs, CONFIG.trainer.batch_size) == (100, 24)
    assert CONFIG.optimizer.warmup_epochs == 1.0


def _draws(count):
    """What was done to each of `count` images, with the recipe's augmentation."""
    transform = TrainTransform(CONFIG.augment, IMAGE)
    pixels = torch.from_numpy(textured_rgb(16, 16))
    uniform = np.random.default_rng(0).uniform(size=(count, transform.draws))
    return [transform.augment(pixels, row.tolist())[1] for row in uniform]


@pytest.fixture(scope="module")
def draws():
    return _draws(4000)


def test_augmentations_have_the_papers_probabilities(draws):
    """Sections 3.4, 5.5 and 5.6: grey 0.1, erasing 0.2, night 0.2; no flip and no crop."""
    shares = {
        word: sum(any(word in step for step in done) for done in draws) / len(draws)
        for word in ("rotation", "perspective", "grey", "night", "erased", "flip", "crop", "noise", "JPEG")
    }
    expected = {"rotation": 1.0, "perspective": 0.5, "grey": 0.1, "night": 0.2, "erased": 0.2}
    assert shares == pytest.approx(expected | dict.fromkeys(("flip", "crop", "noise", "JPEG"), 0.0), abs=0.025)


def _numbers(draws, name):
    """The numbers that follow a name in what was done."""
    parts = [part for done in draws for step in done for part in step.split(", ")]
    return [float(part.removeprefix(name).strip(" °%")) for part in parts if part.startswith(name)]


def test_augmentations_have_the_papers_strengths(draws):
    """Section 3.4: rotation of 5 degrees to either side, perspective 0.2, jitter of three properties."""
    angles = _numbers(draws, "rotation")
    assert min(angles) >= -5.0 and max(angles) <= 5.0 and min(angles) < -4.9 and max(angles) > 4.9
    assert CONFIG.augment.perspective_scale == 0.2
    for name in ("brightness", "contrast", "saturation"):
        factors = _numbers(draws, name)
        assert len(factors) == len(draws) and 0.8 <= min(factors) < 0.81 and 1.19 < max(factors) <= 1.2
    assert _numbers(draws, "hue") == []


def test_augmentations_come_in_the_papers_order(draws):
    """Section 3.4 and figure 3: rotation, perspective, colour, night, erasing."""
    words = ("rotation", "perspective", "brightness", "grey", "night", "erased")
    for done in draws:
        text = ", ".join(done).replace("contrast", "brightness").replace("saturation", "brightness")
        found = [text.find(word) for word in words if word in text]
        assert found == sorted(found)
    assert any("rotation" in done[0] and "perspective" in done[0] for done in draws)


def test_the_night_simulation_darkens_to_the_papers_factors():
    """Section 5.6, table 10, version 2: brightness 0.4 to 0.7, contrast 0.6 to 0.9, probability 0.2."""
    night = NightSimulation(CONFIG.augment)
    rng, grey = np.random.default_rng(1), np.full((4, 4, 3), 200, dtype=np.uint8)
    darkened = [night(grey, uniform)[0] for uniform in rng.uniform(size=(4000, 3)).tolist()]
    factors = np.array([image.mean() / 200.0 for image in darkened if image is not grey and not (image == 200).all()])
    assert len(factors) / 4000 == pytest.approx(0.2, abs=0.02)
    assert factors.min() == pytest.approx(0.4, abs=0.01) and factors.max() == pytest.approx(0.7, abs=0.01)
    assert factors.mean() == pytest.approx(0.55, abs=0.02)
    for share, contrast in ((0.0, 0.6), (0.5, 0.75), (1.0 - 1e-9, 0.9)):
        halves = np.repeat(np.array([[[100]], [[200]]], dtype=np.uint8), 3, axis=2)
        image = night(halves, [0.0, 1.0 - 1e-9, share])[0].astype(float)
        assert image.max() - image.min() == pytest.approx(100 * 0.7 * contrast, abs=1.5)


def test_three_seeds_make_the_ensemble():
    """Section 3.4."""
    assert CONFIG.seeds == (42, 123, 456)


def test_the_ensemble_is_the_plain_average_of_its_members_and_predict_gps_gives_it(tmp_path):
    """Sections 3.1 and 3.4: (H, W, 3) uint8 RGB -> float32 [latitude, longitude]."""
    bundle_dir = make_bundle(tmp_path / "bundle", seeds=CONFIG.seeds)
    localizer, image = Localizer.load(bundle_dir, device="cpu", precision="fp32"), textured_rgb(60, 80)
    spec = localizer.bundle.image
    pixels = normalise(torch.from_numpy(prepare(image, spec))[None], spec)
    with torch.inference_mode():
        members = [member(pixels).mean_enu_m[0].double().numpy() for member in localizer.bundle.load_members()]
    average = np.mean(members, axis=0)
    assert len(members) == 3 and np.ptp(members, axis=0).max() > 0.1
    np.testing.assert_allclose(localizer.localize(image).mean_enu_m, average, atol=1e-3)
    answer = predict_gps(image, bundle_dir)
    assert answer.dtype == np.float32 and answer.shape == (2,)
    np.testing.assert_allclose(answer, localizer.bundle.frame.to_geodetic(average), atol=5e-6)
    assert not np.array_equal(predict_gps(np.ascontiguousarray(image[..., ::-1]), bundle_dir), answer)  # RGB, not BGR
    for wrong in (image.astype(np.float32) / 255.0, image[..., 0]):
        with pytest.raises(ImageError):
            predict_gps(wrong, bundle_dir)


def test_the_papers_2248_photos_are_split_into_its_1911_and_337(tmp_path):
    """Section 4.1: 85 % for training and 15 % for validation."""
    dataset = make_dataset(tmp_path, {f"{index}.jpg": f"p{index:016x}" for index in range(2248)})
    split(dataset, random=True, allow_shared_sessions=True)
    assert read_splits(dataset)["subset"].value_counts().to_dict() == {"train": 1911, "val": 337}


def test_labels_of_more_than_20_metres_are_reviewed(tmp_path):
    """Section 4.1."""
    dataset = make_dataset(tmp_path)
    photos = read_photos(dataset)
    photos["gps_accuracy_m"] = [20.0, 20.1, 60.0, np.nan]
    write_table(dataset / "photos.csv", photos)
    assert apply_corrections(dataset).review == tuple(photos["file"][[2, 1]])
