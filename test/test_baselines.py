"""Baselines: exact search, never a photo against itself, and a reason where there is no answer."""

import numpy as np
import pytest
from helpers import make_bundle
from hypothesis import given
from hypothesis import strategies as st

from campus_visual_gps.bundle import ReferenceFeatures
from campus_visual_gps.localizer import Localizer
from training.evaluate.baselines import Query, compute_baselines, nearest_rows, own_rows
from training.photos.manifest import image_path

IDS = [f"{i:016x}" for i in range(6)]


@given(st.integers(1, 20), st.sampled_from([1, 7, 256, 300]), st.integers(2, 8), st.integers(0, 1000))
def test_nearest_is_that_of_brute_force(n_reference, n_queries, dim, seed):
    rng = np.random.default_rng(seed)
    queries, reference = rng.normal(size=(n_queries, dim)), rng.normal(size=(n_reference, dim))
    excluded = rng.integers(-1, n_reference, n_queries)
    found = nearest_rows(queries, reference, excluded)
    for query, without, row in zip(queries, excluded, found, strict=True):
        cosine = [
            query @ r / np.linalg.norm(query) / np.linalg.norm(r) if i != without else -np.inf
            for i, r in enumerate(reference)
        ]
        if np.max(cosine) == -np.inf:
            assert row == -1
        else:
            assert row != without
            assert cosine[row] == pytest.approx(np.max(cosine), abs=1e-5)


def test_features_that_are_zero_do_not_break_the_search():
    assert nearest_rows(np.zeros((1, 3)), np.array([[0.0, 0, 0], [1, 0, 0]]), np.array([-1]))[0] in (0, 1)


def test_own_row_is_found_by_photo_id():
    assert own_rows(["b", "x", "a"], ["a", "b"]).tolist() == [1, -1, 0]


@pytest.fixture(scope="module")
def reference():
    rng = np.random.default_rng(4)
    return ReferenceFeatures(rng.normal(size=(6, 512)).astype(np.float16), rng.uniform(-50, 50, (6, 2)))


def baselines(tmp_path, reference, photo_ids, features, **overrides):
    localizer = Localizer.load(make_bundle(tmp_path / "bundle", reference=reference, **overrides), warm_up=False)
    paths = [image_path(tmp_path / "dataset", photo_id) for photo_id in photo_ids]
    query = Query(photo_ids, paths, features, tmp_path / "dataset")
    computed = compute_baselines(localizer.bundle, localizer.ensemble, query, progress=False)
    return {baseline.name: baseline for baseline in computed}


def test_photo_of_the_training_never_matches_itself(tmp_path, reference):
    features = np.repeat(reference.features[:1].astype(np.float32), 2, axis=0)
    found = baselines(tmp_path, reference, [IDS[0], "another"], features)["nearest_trained"].positions_enu_m
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
