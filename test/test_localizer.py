"""The localizer's estimate and the paper's interface."""

import numpy as np
import pytest
import torch
from helpers import make_bundle, textured_rgb

from campus_visual_gps import Localizer, predict_gps
from campus_visual_gps.bundle import load_bundle
from campus_visual_gps.engines.torch_engine import Ensemble
from campus_visual_gps.errors import BundleError, ConfigError, ImageError
from campus_visual_gps.estimation.integrity import OUTSIDE_SITE, Gates


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(scope="module")
def localizer(bundle_dir):
    return Localizer.load(bundle_dir, device="cpu")


def test_an_estimate_is_the_mean_of_the_members_on_the_globe(localizer):
    estimate = localizer.localize(textured_rgb())
    np.testing.assert_allclose(estimate.mean_enu_m, estimate.member_means_enu_m.mean(axis=0))
    enu = localizer.bundle.frame.to_local(estimate.latitude_deg, estimate.longitude_deg)
    np.testing.assert_allclose(enu, estimate.mean_enu_m, atol=1e-6)
    assert np.linalg.eigvalsh(estimate.cov_enu_m2).min() >= 25.0 - 1e-9
    assert estimate.altitude_m == 300.0 and estimate.refusal is None
    assert estimate.ensemble_s > 0 and estimate.transform_s > 0


def test_two_places_give_two_answers(localizer):
    first, second = (localizer.localize(textured_rgb(seed=seed)).mean_enu_m for seed in (0, 1))
    assert np.linalg.norm(first - second) > 0.05


def test_the_same_image_gives_the_same_answer(localizer):
    first, second = (localizer.localize(textured_rgb()).mean_enu_m for _ in range(2))
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_the_papers_interface_returns_float32_degrees(localizer, bundle_dir, monkeypatch):
    image = textured_rgb()
    estimate = localizer.localize(image)
    monkeypatch.setenv("CAMPUS_VISUAL_GPS_MODEL", str(bundle_dir))
    for answer in (predict_gps(image), predict_gps(image, bundle_dir)):
        assert answer.shape == (2,) and answer.dtype == np.float32
        np.testing.assert_allclose(answer, [estimate.latitude_deg, estimate.longitude_deg], rtol=3e-7)


def test_without_a_model_the_variable_is_named(monkeypatch):
    monkeypatch.delenv("CAMPUS_VISUAL_GPS_MODEL", raising=False)
    with pytest.raises(BundleError, match="CAMPUS_VISUAL_GPS_MODEL"):
        predict_gps(textured_rgb())


def test_an_image_of_the_wrong_type_says_what_came(localizer):
    with pytest.raises(ImageError, match="float64"):
        localizer.localize(textured_rgb() / 255.0)


def test_an_estimate_off_the_site_is_refused_with_its_name(tmp_path):
    far = make_bundle(tmp_path / "bundle", site_half_m=0.001, gates=Gates(site_margin_m=0.0))
    assert Localizer.load(far, device="cpu").localize(textured_rgb()).refusal == OUTSIDE_SITE


def test_members_without_finite_outputs_are_refused_and_do_not_crash(tmp_path):
    from safetensors.torch import load_file, save_file

    bundle_dir = make_bundle(tmp_path / "bundle")
    path = tmp_path / "bundle-members" / "42.safetensors"
    state = load_file(path)
    state["head.layers.bias"] = torch.tensor([float("nan"), 0.0])
    save_file(state, path)
    config = Localizer.load(bundle_dir, device="cpu").bundle.members[0].model
    broken = make_bundle(tmp_path / "broken", members=[(42, config, path)])
    estimate = Localizer.load(broken, device="cpu").localize(textured_rgb())
    assert estimate.refusal == "not_finite" and np.isnan(estimate.latitude_deg)


def test_members_with_a_common_trunk_run_it_once_and_say_the_same(bundle_dir):
    """As those of recipes with frozen stages: fewer passes, no other answer."""
    bundle = load_bundle(bundle_dir)
    members = bundle.load_members()
    with torch.no_grad():
        for name, tensor in members[0].backbone.state_dict().items():
            if not name.startswith("layer4"):
                members[1].backbone.state_dict()[name].copy_(tensor)
    alone = [Ensemble([member], bundle.image, "cpu").predict(textured_rgb()) for member in members]
    ensemble = Ensemble(members, bundle.image, "cpu")
    passes = []
    for member in members:
        member.backbone.layer2.register_forward_hook(lambda *_: passes.append("layer2"))
    together = ensemble.predict(textured_rgb())
    assert ensemble.shared_stages == 4 and len(passes) == 1
    np.testing.assert_allclose(together.means_enu_m, np.concatenate([one.means_enu_m for one in alone]), atol=1e-4)
    np.testing.assert_allclose(together.statistics, alone[0].statistics, atol=1e-5)
    # the members are whole: another ensemble may be made of them, as when a GPU's memory is full
    again = Ensemble(members, bundle.image, "cpu").predict(textured_rgb())
    np.testing.assert_allclose(again.means_enu_m, together.means_enu_m, atol=1e-4)


@pytest.mark.parametrize("arguments", [{"device": "tpu"}, {"device": "cuda:99"}, {"precision": "int3"}])
def test_a_device_or_precision_that_is_not_there_is_refused(bundle_dir, arguments):
    with pytest.raises(ConfigError):
        Localizer.load(bundle_dir, **arguments)


def test_bfloat16_stays_near_float32(bundle_dir, localizer):
    half = Localizer.load(bundle_dir, device="cpu", precision="bf16")
    image = textured_rgb()
    assert np.linalg.norm(half.localize(image).mean_enu_m - localizer.localize(image).mean_enu_m) < 1.0
