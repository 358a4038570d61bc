"""Baselines: exact search, never a photo against itself, and a reason where there is no answer."""

import numpy as np
import pandas as pd
import pytest
from helpers import MIDDLE_CHANNELS, make_bundle
from hypothesis import given
from hypothesis import strategies as st

from campus_visual_gps.bundle import ReferenceFeatures, load_bundle
from campus_visual_gps.localizer import Localizer
from training.evaluate.baselines import Query, compute_baselines
from training.evaluate.covariance_baselines import covariance_baselines
from training.evaluate.retrieval_baselines import nearest, nearest_answers, own_rows, weighted_answers
from training.photos.manifest import image_path

pytestmark = pytest.mark.slow  # builds networks

IDS = [f"{i:016x}" for i in range(6)]


@given(st.integers(1, 20), st.sampled_from([1, 7, 256, 300]), st.integers(2, 8), st.integers(0, 1000))
def test_neighbours_are_those_of_brute_force(n_reference, n_queries, dim, seed):
    rng = np.random.default_rng(seed)
    queries, reference = rng.normal(size=(n_queries, dim)), rng.normal(size=(n_reference, dim))
    excluded = rng.integers(-1, n_reference, n_queries)
    rows, cosines = nearest(queries, reference, excluded, k=3)
    assert rows.shape == cosines.shape == (n_queries, min(3, n_reference))
    for query, without, found, values in zip(queries, excluded, rows, cosines, strict=True):
        cosine = reference @ query / np.linalg.norm(query) / np.linalg.norm(reference, axis=1)
        left = [row for row in np.argsort(-cosine) if row != without][: len(found)]
        np.testing.assert_allclose(values[: len(left)], cosine[left], atol=1e-5)
        np.testing.assert_allclose(cosine[found[: len(left)]], cosine[left], atol=1e-5)
        assert (found[len(left) :] == -1).all() and without not in found[: len(left)]


def test_descriptors_of_zeros_do_not_break_the_search():
    rows, _ = nearest(np.zeros((1, 3)), np.array([[0.0, 0, 0], [1, 0, 0]]), np.array([-1]))
    assert rows[0, 0] in (0, 1)


def test_own_row_is_found_by_photo_id():
    assert own_rows(["b", "x", "a"], ["a", "b"]).tolist() == [1, -1, 0]


@pytest.fixture(scope="module")
def reference():
    rng = np.random.default_rng(4)
    descriptors, channels = rng.normal(size=(6, 512)).astype(np.float16), MIDDLE_CHANNELS["resnet18"]
    return ReferenceFeatures(descriptors, rng.normal(size=(6, channels)), rng.uniform(-50, 50, (6, 2)))


def baselines(tmp_path, reference, photo_ids, descriptors, **overrides):
    localizer = Localizer.load(make_bundle(tmp_path / "bundle", reference=reference, **overrides), warm_up=False)
    paths = [image_path(tmp_path / "dataset", photo_id) for photo_id in photo_ids]
    query = Query(photo_ids, paths, descriptors, tmp_path / "dataset")
    computed = compute_baselines(localizer.bundle, query, localizer.engine.device, progress=False)
    return {baseline.name: baseline for baseline in computed}


def test_photo_of_the_training_never_matches_itself(tmp_path, reference):
    descriptors = np.repeat(reference.descriptors[:1].astype(np.float32), 2, axis=0)
    found = baselines(tmp_path, reference, [IDS[0], "another"], descriptors)["nearest_trained"].positions_enu_m
    assert not np.any(found[0] == reference.positions_enu_m[0])
    assert np.any(np.all(found[0] == reference.positions_enu_m[1:], axis=1))
    np.testing.assert_array_equal(found[1], reference.positions_enu_m[0])


def test_median_position_is_the_same_for_every_photo(tmp_path, reference):
    found = baselines(tmp_path, reference, ["x", "y"], np.ones((2, 512)))["median_position"].positions_enu_m
    np.testing.assert_allclose(found, np.tile(np.median(reference.positions_enu_m, axis=0), (2, 1)))


def test_baseline_that_can_not_be_computed_says_why(tmp_path, reference):
    found = baselines(tmp_path, reference, ["x"], np.ones((1, 512)))["nearest_pretrained"]
    assert found.positions_enu_m is None
    assert "6 of 6 training photos" in found.reason
    no_ids = {"training": {"dataset": "", "weights": "none"}}
    found = baselines(tmp_path, reference, ["x"], np.ones((1, 512)), **no_ids)["nearest_trained"]
    assert found.positions_enu_m is None
    assert "lists 0 training photos" in found.reason


POSITIONS = np.array([[0.0, 0.0], [20.0, 0.0], [0.0, 40.0], [500.0, 500.0]])


def test_the_covariance_of_the_nearest_photo_is_the_scatter_of_the_next_ones_plus_that_of_the_labels():
    positions, covs = nearest_answers(np.array([[0, 1, 2, -1], [3, 3, 3, -1], [-1, -1, -1, -1]]), POSITIONS)
    np.testing.assert_allclose(positions[:2], POSITIONS[[0, 3]])
    np.testing.assert_allclose(covs[0], np.diag([20.0**2 / 3 + 50.0, 40.0**2 / 3 + 50.0]))
    np.testing.assert_allclose(covs[1], 50.0 * np.eye(2))
    assert np.isnan(positions[2]).all() and np.isnan(covs[2]).all()


def test_weighted_neighbours_follow_the_similar_ones():
    rows = np.array([[0, 1], [0, 1], [0, -1], [-1, -1]])
    cosines = np.array([[0.9, 0.9], [0.95, 0.5], [0.9, -np.inf], [-np.inf, -np.inf]])
    means, covs = weighted_answers(rows, cosines, POSITIONS)
    np.testing.assert_allclose(means[:3], [[10.0, 0.0], [0.0, 0.0], [0.0, 0.0]], atol=0.1)
    np.testing.assert_allclose(covs[0], np.diag([125.0, 25.0]))
    np.testing.assert_allclose(covs[2], 25.0 * np.eye(2))
    assert np.isnan(means[3]).all() and np.isnan(covs[3]).all()


def covariances_of(tmp_path, **overrides):
    table = {"east_m": [1.0, 2.0], "north_m": [3.0, 4.0]}
    table |= {
        f"member_{seed}_{axis}_m": [sign * 3.0, 0.0]
        for seed, sign in ((42, 1), (123, -1))
        for axis in ("east", "north")
    }
    bundle = load_bundle(make_bundle(tmp_path / "bundle", **overrides))
    return {baseline.name: baseline for baseline in covariance_baselines(pd.DataFrame(table), bundle)}


def test_constant_covariance_is_that_of_a_gaussian_with_the_error_on_validation(tmp_path):
    constant = covariances_of(tmp_path, training={"val_mean_error_m": 20.0})["constant_covariance"]
    np.testing.assert_array_equal(constant.positions_enu_m, [[1.0, 3.0], [2.0, 4.0]])
    assert (constant.covs_enu_m2 == constant.covs_enu_m2[0]).all()
    offsets = np.random.default_rng(0).multivariate_normal([0, 0], constant.covs_enu_m2[0], 100_000)
    assert np.hypot(*offsets.T).mean() == pytest.approx(20.0, rel=0.01)
    assert "no mean error" in covariances_of(tmp_path / "other", training={})["constant_covariance"].reason


def test_spread_of_members_that_agree_is_next_to_nothing(tmp_path):
    covs = covariances_of(tmp_path)["ensemble_spread"].covs_enu_m2
    np.testing.assert_allclose(covs[0], [[18.01, 18.0], [18.0, 18.01]])
    np.testing.assert_allclose(covs[1], 0.01 * np.eye(2))
    assert "one member" in covariances_of(tmp_path / "other", seeds=(42,))["ensemble_spread"].reason
