"""Global descriptors tell the places of a site apart in a learned metric; both kinds come back from the bundle."""

import numpy as np
import pytest
import torch

from campus_visual_gps.errors import BundleError
from campus_visual_gps.retrieval.descriptor import DescriptorExtractor, VladCodebook
from campus_visual_gps.retrieval.index import RetrievalIndex
from training.config import DescriptorSettings
from training.fit.descriptor_fit import fit_descriptor_extractor, whitened_lda

PHOTOS, SIDE, CHANNELS = 60, 8, 12


def features(rng, photos=PHOTOS):
    """Pooled features, local features of two stages and positions of photos, four at every stop of a line."""
    stops = np.arange(photos) // 4
    scene = np.random.default_rng(7).normal(size=(photos // 4 + 1, SIDE, SIDE, CHANNELS))[stops]
    local = scene + 0.5 * rng.normal(size=scene.shape)
    coarse = local.reshape(photos, SIDE // 2, 2, SIDE // 2, 2, CHANNELS).mean(axis=(2, 4))
    pooled = np.concatenate([local.mean(axis=(1, 2)), local.std(axis=(1, 2))], axis=1)
    positions = np.stack([stops * 40.0, np.zeros(photos)], axis=1) + rng.normal(size=(photos, 2))
    return pooled.astype(np.float32), (local.astype(np.float16), coarse.astype(np.float16)), positions


@pytest.fixture(scope="module")
def fitted():
    """Features of the photos, their positions, and the extractor that was fitted on them."""
    pooled, local, positions = features(np.random.default_rng(0))
    return pooled, local, positions, fit_descriptor_extractor(pooled, local, positions)


def test_new_photos_find_those_of_their_own_place(fitted):
    pooled, local, positions, extractor = fitted
    known = extractor.describe(pooled, local)
    np.testing.assert_allclose(np.linalg.norm(known.global_descriptors, axis=1), 1.0, rtol=1e-4)
    index = RetrievalIndex(known.global_descriptors.astype(np.float16), positions, known.local_descriptors)
    pooled, local, truth = features(np.random.default_rng(1))
    new = extractor.describe(pooled, local)
    found = index.search(new.global_descriptors, new.local_descriptors, k=3)
    errors_m = np.linalg.norm(found.positions_enu_m[:, 0] - truth, axis=1)
    assert np.median(errors_m) < 5.0 and np.mean(errors_m < 10.0) > 0.9
    assert found.match_scores.shape == (PHOTOS, 3) and found.match_scores.min() >= 1.0


def test_descriptors_do_not_depend_on_the_batch(fitted):
    pooled, local, _, extractor = fitted
    together = extractor.describe(pooled, local, batch=64)
    in_parts = extractor.describe(pooled, local, batch=7)
    np.testing.assert_allclose(in_parts.global_descriptors, together.global_descriptors, atol=2e-3)
    assert np.abs(in_parts.local_descriptors.astype(int) - together.local_descriptors).max() <= 1


def test_local_descriptors_are_unit_vectors_times_127(fitted):
    pooled, local, _, extractor = fitted
    described = extractor.describe(pooled, local).local_descriptors
    assert described.dtype == np.int8 and described.shape[:2] == (PHOTOS, SIDE * SIDE)
    np.testing.assert_allclose(np.linalg.norm(described.astype(float), axis=2), 127.0, atol=2.0)


def test_the_settings_bound_the_sizes():
    pooled, local, positions = features(np.random.default_rng(0))
    extractor = fit_descriptor_extractor(pooled, local, positions, DescriptorSettings(centroids=3, dim=5, local_dim=4))
    described = extractor.describe(pooled, local)
    assert described.global_descriptors.shape == (PHOTOS, 5)
    assert described.local_descriptors.shape == (PHOTOS, SIDE * SIDE, 4)
    assert [codebook.centroids.shape for codebook in extractor.codebooks] == [(3, CHANNELS), (3, CHANNELS)]


def test_the_same_photos_give_the_same_extractor(fitted):
    pooled, local, positions, extractor = fitted
    again = fit_descriptor_extractor(pooled, local, positions)
    for name, tensor in extractor.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor)


def test_a_vlad_is_the_sum_of_differences_to_each_centroid():
    torch.manual_seed(0)
    centroids = torch.nn.functional.normalize(torch.randn(3, 5), dim=1)
    codebook = VladCodebook(torch.zeros(5), torch.ones(5), centroids, 2.0 * torch.ones(1))
    local = torch.randn(2, 4, 4, 5)
    found = codebook(local).view(2, 3, 5)
    for image in range(2):
        units = torch.nn.functional.normalize(local[image].reshape(16, 5), dim=1)
        weights = torch.softmax(20.0 * units @ centroids.T, dim=1)
        for cell in range(3):
            residual = (weights[:, cell, None] * (units - centroids[cell])).sum(dim=0)
            torch.testing.assert_close(found[image, cell], residual / residual.norm() / 2.0, atol=1e-4, rtol=1e-3)


def test_the_metric_forgets_what_differs_between_photos_of_one_place():
    rng = np.random.default_rng(2)
    stops = np.arange(400) // 8
    scene = np.random.default_rng(3).normal(size=(50, 5))[stops]
    light = 2.0 * rng.normal(size=(400, 3))
    positions = np.stack([stops * 50.0, np.zeros(400)], axis=1)
    raw = np.concatenate([scene + 0.1 * rng.normal(size=scene.shape), light], axis=1)
    metric = whitened_lda(raw, positions, 256)
    centred = (raw - raw.mean(axis=0)) @ metric
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    cosines = unit @ unit.T
    same = stops[:, None] == stops
    np.fill_diagonal(same, False)
    assert cosines[same].mean() > 0.8 > 0.1 > np.abs(cosines[~same & ~np.eye(400, dtype=bool)].mean())
    bare = (raw - raw.mean(axis=0)) / np.linalg.norm(raw - raw.mean(axis=0), axis=1, keepdims=True)
    assert (bare @ bare.T)[same].mean() < 0.4


def test_the_projection_stays_within_float16():
    rng = np.random.default_rng(11)
    raw = rng.normal(size=(50, 20)) * 1e-4
    metric = whitened_lda(raw, rng.uniform(0, 100, (50, 2)), 8)
    assert metric.shape == (20, 8) and np.abs(metric).max() == pytest.approx(1.0)


def test_an_extractor_comes_back_from_its_tensors(fitted):
    pooled, local, _, extractor = fitted
    tensors = extractor.tensors()
    assert all(name.startswith("descriptor.") for name in tensors)
    again = DescriptorExtractor.from_tensors(tensors | {"ood_features": np.zeros(3)})
    photo = (pooled[:1], [stage[:1] for stage in local])
    for first, second in zip(extractor.describe(*photo), again.describe(*photo), strict=True):
        np.testing.assert_array_equal(first, second)
    assert DescriptorExtractor.from_tensors({"ood_features": np.zeros(3)}) is None


def test_tensors_that_are_missing_or_not_finite_and_other_features_are_errors(fitted):
    pooled, local, _, extractor = fitted
    tensors = extractor.tensors()
    missing = "descriptor.codebooks.0.centroids"
    with pytest.raises(BundleError, match=r"centroids is missing"):
        DescriptorExtractor.from_tensors({name: value for name, value in tensors.items() if name != missing})
    broken = {"descriptor.pooled_mean": np.full_like(tensors["descriptor.pooled_mean"], np.nan)}
    with pytest.raises(BundleError, match="not finite"):
        DescriptorExtractor.from_tensors(tensors | broken)
    with pytest.raises(BundleError, match=r"expected features of \[24, 12, 12\] channels, got \[23, 12, 12\]"):
        extractor.describe(pooled[:, :-1], local)


def test_a_network_that_has_diverged_and_a_single_photo_give_no_extractor():
    pooled, local, positions = features(np.random.default_rng(8))
    assert fit_descriptor_extractor(np.full_like(pooled, np.inf), local, positions) is None
    infinite = (np.full_like(local[0], np.inf), local[1])
    assert fit_descriptor_extractor(pooled, infinite, positions) is None
    assert fit_descriptor_extractor(pooled[:1], [stage[:1] for stage in local], positions[:1]) is None


def test_photos_that_are_all_alike_still_have_finite_descriptors():
    pooled, local, positions = features(np.random.default_rng(9), photos=4)
    pooled[:], alike = pooled[0], [np.repeat(stage[:1], 4, axis=0) for stage in local]
    described = fit_descriptor_extractor(pooled, alike, positions).describe(pooled, alike)
    assert np.isfinite(described.global_descriptors).all() and described.local_descriptors.dtype == np.int8
