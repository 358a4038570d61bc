"""What looks like nothing on the site: the middle stage of every backbone, and distances of its channel means."""

import numpy as np
import pytest
import torch
from helpers import MIDDLE_CHANNELS, make_bundle, textured_rgb

from campus_visual_gps import Localizer
from campus_visual_gps.errors import BundleError
from campus_visual_gps.models.backbones import BACKBONES, build_backbone
from campus_visual_gps.models.stages import channel_statistics, late_activations
from campus_visual_gps.retrieval.ood import OodDetector


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_backbone_has_later_stages_whose_channels_come_second(name):
    if name.startswith("efficientnet_lite"):
        pytest.importorskip("timm", reason="the `lite` extra is not installed")
    backbone = build_backbone(name).eval()
    with torch.inference_mode(), late_activations(backbone) as collected:
        backbone(torch.rand(2, 3, 64, 64))
    assert len(collected) >= 3
    sizes = [stage.shape[2] for stage in collected]
    assert sizes == [stage.shape[3] for stage in collected] == sorted(sizes, reverse=True) and sizes[0] <= 16
    channels = [stage.shape[1] for stage in collected]
    assert channels[0] > 16 and MIDDLE_CHANNELS.get(name, channels[0]) == channels[0]
    statistics = channel_statistics(collected)
    assert [part.shape for part in statistics] == [(2, size) for size in np.repeat(channels, 2)]
    np.testing.assert_allclose(statistics[1], collected[0].numpy().std(axis=(2, 3)), atol=1e-5)
    with torch.inference_mode():
        count = len(collected)
        backbone(torch.rand(1, 3, 64, 64))
    assert len(collected) == count  # it does not listen any more


def test_distances_are_those_of_whitened_appearances():
    rng = np.random.default_rng(1)
    mixed = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6)) * 30.0 + 5.0
    known = OodDetector(mixed)
    assert known.distance(mixed[7]) == pytest.approx(0.0, abs=1e-3)
    z = (mixed - mixed.mean(0)) / mixed.std(0)
    variances, directions = np.linalg.eigh(np.cov(z.T))
    white = z @ directions / np.sqrt(variances.clip(0) + 0.1) / np.sqrt(6)
    apart = np.linalg.norm(white[:, None] - white[None], axis=-1)
    sessions = np.arange(400) % 3
    apart[sessions[:, None] == sessions[None]] = np.inf
    np.testing.assert_allclose(known.scores_against_other_sessions(sessions), apart.min(axis=1), atol=2e-3)
    assert np.all(np.isinf(known.scores_against_other_sessions(np.zeros(400))))


@pytest.mark.parametrize("appearances", [np.ones((1, 3)), np.zeros((5, 3)), np.eye(200)[:, :150]])
def test_few_and_equal_photos_give_finite_distances(appearances):
    known = OodDetector(appearances)
    assert known.distance(appearances[0]) == pytest.approx(0.0, abs=1e-3)
    assert np.isfinite(known.distance(appearances[0] + 1.0)) and known.distance(appearances[0] + 1.0) > 0.1


def test_an_appearance_that_is_not_finite_is_at_no_distance():
    assert np.isnan(OodDetector(np.eye(3)).distance(np.array([0.0, np.nan, 1.0])))
    assert np.isnan(OodDetector(np.eye(3)).distance(np.array([0.0, np.inf, 1.0])))


def test_what_is_no_reference_is_told():
    for bad in (np.zeros((0, 3)), np.zeros(3), np.full((2, 3), np.nan)):
        with pytest.raises(BundleError, match="appearances"):
            OodDetector(bad)
    with pytest.raises(BundleError, match="appearance"):
        OodDetector(np.eye(3)).distance(np.zeros(4))


def test_a_localizer_measures_what_its_first_member_sees(tmp_path):
    localizer = Localizer.load(make_bundle(tmp_path / "bundle"), device="cpu", precision="fp32", warm_up=False)
    rgb = textured_rgb(64, 64)
    output = localizer.ensemble.predict(rgb)
    expected = OodDetector(localizer.bundle.load_reference().appearances).distance(output.appearance)
    assert output.appearance.shape == (MIDDLE_CHANNELS["resnet18"],) and output.appearance.dtype == np.float32
    assert localizer.localize(rgb).indicators.ood_score == pytest.approx(expected)
