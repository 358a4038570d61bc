"""What looks like nothing on the site: the middle stage of every backbone, and the OOD score of its channel means."""

import numpy as np
import pytest
import torch
from helpers import FEATURES, MIDDLE_CHANNELS, make_bundle, textured_rgb

from campus_visual_gps import Localizer
from campus_visual_gps.errors import BundleError
from campus_visual_gps.models.backbones import BACKBONES, build_backbone
from campus_visual_gps.models.stages import (
    StagedBackbone,
    feature_stages,
    has_channels_last,
    local_features,
    pooled_features,
)
from campus_visual_gps.preprocess import prepare
from campus_visual_gps.retrieval.ood import OodDetector

pytestmark = pytest.mark.slow  # builds networks


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_backbone_has_feature_maps_of_its_later_stages(name):
    backbone = build_backbone(name).eval()
    stages = feature_stages(backbone)
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        found = StagedBackbone(backbone, stages, skip=0, with_output=True)(images)
        torch.testing.assert_close(found["features"], backbone(images), atol=1e-4, rtol=1e-4)
    feature_maps = [found[f"stage_{index}"] for index in stages]
    if has_channels_last(backbone):
        feature_maps = [feature_map.movedim(-1, 1) for feature_map in feature_maps]
    assert len(feature_maps) >= 2
    sizes = [feature_map.shape[2] for feature_map in feature_maps]
    assert sizes == [feature_map.shape[3] for feature_map in feature_maps] == sorted(sizes, reverse=True)
    assert sizes[0] <= 16
    channels = [feature_map.shape[1] for feature_map in feature_maps]
    assert channels[0] > 16 and MIDDLE_CHANNELS.get(name, channels[0]) == channels[0]
    pooled = pooled_features(feature_maps)
    assert [own.shape for own in pooled] == [(2, size) for size in np.repeat(channels, 2)]
    assert FEATURES.get(name, 2 * sum(channels)) == 2 * sum(channels)
    np.testing.assert_allclose(pooled[1], feature_maps[0].numpy().std(axis=(2, 3)), atol=1e-5)
    assert [stage.shape[-1] for stage in local_features(feature_maps)] == channels[-2:]


def test_scores_are_distances_of_whitened_features():
    rng = np.random.default_rng(1)
    mixed = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6)) * 30.0 + 5.0
    detector = OodDetector(mixed)
    np.testing.assert_allclose(detector.score(mixed[:20]), 0.0, atol=2e-3)
    z = (mixed - mixed.mean(0)) / mixed.std(0)
    variances, directions = np.linalg.eigh(np.cov(z.T))
    white = z @ directions / np.sqrt(variances.clip(0) + 0.1) / np.sqrt(6)
    distances = np.linalg.norm(white[:, None] - white[None], axis=-1)
    sessions = np.arange(400) % 3
    distances[sessions[:, None] == sessions[None]] = np.inf
    np.testing.assert_allclose(detector.scores_against_other_sessions(sessions), distances.min(axis=1), atol=2e-3)
    assert np.all(np.isinf(detector.scores_against_other_sessions(np.zeros(400))))


def test_many_images_at_once_have_the_scores_of_each():
    rng = np.random.default_rng(2)
    detector, queries = OodDetector(rng.normal(size=(50, 6))), rng.normal(size=(7, 6))
    together = detector.score(queries)
    assert together.shape == (7,) and together.dtype == np.float64
    for row in range(7):
        np.testing.assert_allclose(together[row], detector.score(queries[row : row + 1])[0], rtol=1e-4)


@pytest.mark.parametrize("features", [np.ones((1, 3)), np.zeros((5, 3)), np.eye(200)[:, :150]])
def test_few_and_equal_photos_give_finite_scores(features):
    detector = OodDetector(features)
    same, other = detector.score(np.stack([features[0], features[0] + 1.0]))
    assert same == pytest.approx(0.0, abs=1e-3)
    assert np.isfinite(other) and other > 0.1


def test_features_of_a_wrong_shape_or_with_nan_are_errors():
    for wrong in (np.zeros((0, 3)), np.zeros(3), np.full((2, 3), np.nan)):
        with pytest.raises(BundleError, match="OOD features"):
            OodDetector(wrong)
    for wrong in (np.zeros((1, 4)), np.zeros(3)):
        with pytest.raises(BundleError, match=r"expected OOD features \(Q, 3\)"):
            OodDetector(np.eye(3)).score(wrong)


def test_a_localizer_scores_the_first_members_middle_stage(tmp_path):
    localizer = Localizer.load(make_bundle(tmp_path / "bundle"), device="cpu", precision="fp32", warm_up=False)
    rgb = textured_rgb(64, 64)
    outputs = localizer.engine.run(prepare(rgb, localizer.bundle.image)[None])
    assert outputs.ood_features.shape == (1, MIDDLE_CHANNELS["resnet18"]) and outputs.ood_features.dtype == np.float32
    np.testing.assert_array_equal(outputs.ood_features, outputs.pooled_features[:, : MIDDLE_CHANNELS["resnet18"]])
    expected = OodDetector(localizer.bundle.load_reference().ood_features).score(outputs.ood_features)
    assert localizer.localize(rgb).indicators.ood_score == pytest.approx(expected[0])


def test_a_bundle_without_reference_photos_has_no_ood_score(tmp_path):
    from campus_visual_gps.bundle import ReferenceFeatures

    empty = ReferenceFeatures(np.zeros((0, 8)), np.zeros((0, 1)), np.zeros((0, 2)))
    localizer = Localizer.load(make_bundle(tmp_path / "bundle", reference=empty), device="cpu", warm_up=False)
    estimate = localizer.localize(textured_rgb())
    assert np.isnan(estimate.indicators.ood_score) and estimate.rejection_reason is None
