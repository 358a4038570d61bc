"""The retrieved reference photos are exactly those of a brute-force search."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from campus_visual_gps.errors import BundleError
from campus_visual_gps.retrieval.index import (
    SCALING_SHARE,
    RetrievalIndex,
    RetrievalResult,
    cosine_top_k,
    neighbourhood_similarity,
    unit_rows,
)
from campus_visual_gps.retrieval.matching import match_scores

D = 96


def index_of(descriptors: np.ndarray) -> RetrievalIndex:
    return RetrievalIndex(descriptors, np.arange(2.0 * len(descriptors)).reshape(-1, 2))


def cosines(descriptors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """(N,) by brute force in float64; 0 for vectors of zeros."""
    descriptors, query = descriptors.astype(np.float64), query.astype(np.float64)
    norms = np.linalg.norm(descriptors, axis=1) * np.linalg.norm(query)
    return np.divide((descriptors * query).sum(axis=1), norms, out=np.zeros(len(descriptors)), where=norms > 0.0)


def assert_exact(found: RetrievalResult, descriptors: np.ndarray, queries: np.ndarray, k: int) -> None:
    """The results hold the k greatest cosines in falling order, within the rounding of float32."""
    assert found.rows.shape == found.similarities.shape == (len(queries), min(k, len(descriptors)))
    for query, rows, similarities in zip(queries, found.rows, found.similarities, strict=True):
        truth = cosines(descriptors, query)
        assert len(set(rows)) == len(rows)
        np.testing.assert_allclose(similarities, -np.sort(-truth)[:k], atol=1e-6)
        np.testing.assert_allclose(similarities, truth[rows], atol=1e-6)
        assert (np.diff(similarities) <= 0.0).all()


def scattered(random: np.random.Generator, n: int) -> np.ndarray:
    return random.normal(size=(n, D))


def clustered(random: np.random.Generator, n: int) -> np.ndarray:
    """All within some thousandths of each other: float16 would see hundreds of equals."""
    return 5.0 + random.normal(size=(1, D)) + 0.01 * random.normal(size=(n, D))


def rectified(random: np.random.Generator, n: int) -> np.ndarray:
    """As a network's pooled features are: not negative, of very different lengths."""
    return np.maximum(scattered(random, n), 0.0) * 10.0 ** random.uniform(-2, 3, (n, 1))


@pytest.mark.parametrize("make", [scattered, clustered, rectified])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_photos_found_are_those_of_brute_force(make, dtype):
    random = np.random.default_rng(1)
    descriptors, queries = make(random, 3000).astype(dtype), make(random, 10).astype(np.float32)
    found = index_of(descriptors).search(queries, k=20)
    assert_exact(found, descriptors, queries, 20)
    np.testing.assert_array_equal(found.positions_enu_m[..., 0], 2.0 * found.rows)


@given(
    hnp.arrays(np.float16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(-3, 3)),
    st.integers(1, 15),
    st.data(),
)
def test_any_descriptors_give_what_brute_force_gives(descriptors, k, data):
    shape = (data.draw(st.integers(1, 3)), descriptors.shape[1])
    queries = data.draw(hnp.arrays(np.float32, shape, elements=st.integers(-3, 3)))
    assert_exact(index_of(descriptors).search(queries, k=k), descriptors, queries, k)


def test_many_queries_are_searched_as_one_by_one():
    random = np.random.default_rng(2)
    index, queries = index_of(scattered(random, 50)), scattered(random, 300)
    together = index.search(queries, k=5)
    for row in (0, 255, 256, 299):
        np.testing.assert_array_equal(together.rows[row], index.search(queries[row : row + 1], k=5).rows[0])


def test_equals_come_in_the_order_of_their_rows():
    descriptors = np.tile(np.eye(4, 8), (30, 1))
    found = index_of(descriptors).search(descriptors[2:3], k=120)
    np.testing.assert_array_equal(found.rows[0, :30], 2 + 4 * np.arange(30))
    np.testing.assert_array_equal(found.similarities[0, :30], np.ones(30))
    np.testing.assert_array_equal(found.rows[0, 30:], np.setdiff1d(np.arange(120), found.rows[0, :30]))


def test_length_does_not_count():
    descriptors = np.array([[1e-4, 1e-4], [3e4, 0.0], [0.0, 5.0]])
    for length in (1e-30, 1.0, 1e30):
        found = index_of(descriptors).search(length * np.array([[1.0, 0.9]]), k=3)
        np.testing.assert_array_equal(found.rows, [[0, 1, 2]])
    far = index_of(np.array([[1e-200, 0.0], [0.0, 1e200]])).search(np.array([[0.6, 0.8]]), k=2)
    np.testing.assert_allclose(far.similarities, [[0.8, 0.6]], atol=1e-6)


def test_a_vector_of_zeros_is_similar_to_nothing():
    descriptors = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    found = index_of(descriptors).search(np.array([[0.0, 2.0]]), k=3)
    np.testing.assert_array_equal(found.similarities, [[1.0, 0.0, -1.0]])
    np.testing.assert_array_equal(found.rows, [[1, 0, 2]])
    zeros = index_of(descriptors).search(np.zeros((1, 2)), k=3)
    np.testing.assert_array_equal(zeros.similarities, np.zeros((1, 3)))


def test_more_results_than_photos_are_all_of_them():
    found = index_of(scattered(np.random.default_rng(4), 5)).search(np.ones((1, D)), k=20)
    assert sorted(found.rows[0]) == [0, 1, 2, 3, 4]


@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 10), st.integers(0, 1000))
def test_an_excluded_row_is_never_among_the_answers(photos, queries, k, seed):
    random = np.random.default_rng(seed)
    reference, asked = unit_rows(random.normal(size=(photos, 4))), unit_rows(random.normal(size=(queries, 4)))
    excluded = random.integers(-1, photos, queries)
    rows, products = cosine_top_k(asked, reference, k, excluded)
    assert rows.shape == products.shape == (queries, min(k, photos))
    for query, without, found, values in zip(asked, excluded, rows, products, strict=True):
        truth = reference @ query
        left = np.setdiff1d(np.arange(photos), [without])
        wanted = left[np.argsort(-truth[left], kind="stable")][:k]
        np.testing.assert_array_equal(found[: len(wanted)], wanted)
        np.testing.assert_allclose(values[: len(wanted)], truth[wanted], atol=1e-6)
        # where no row is left
        assert (found[len(wanted) :] == -1).all() and (values[len(wanted) :] == -np.inf).all()


@given(st.integers(1, 30), st.integers(0, 1000))
def test_neighbourhood_similarity_is_the_mean_cosine_to_the_ten_most_similar_other_photos(photos, seed):
    descriptors = np.random.default_rng(seed).normal(size=(photos, 4))
    found = neighbourhood_similarity(descriptors)
    for row in range(photos):
        others = np.delete(cosines(descriptors, descriptors[row]), row)
        expected = np.sort(others)[-10:].mean() if len(others) else 0.0
        assert found[row] == pytest.approx(expected, abs=1e-6)


@given(st.integers(1, 20), st.integers(1, 10), st.integers(0, 1000))
def test_a_photo_that_resembles_many_others_counts_less(photos, k, seed):
    """Its similarities are less than the cosines, those of other photos more; the order is that of what is left."""
    random = np.random.default_rng(seed)
    descriptors, queries = random.normal(size=(photos, 4)), random.normal(size=(3, 4))
    own = neighbourhood_similarity(descriptors)
    index = RetrievalIndex(descriptors, np.zeros((photos, 2)), neighbourhood_similarity=own)
    found = index.search(queries, k=k)
    for query, rows, similarities in zip(queries, found.rows, found.similarities, strict=True):
        expected = cosines(descriptors, query) - SCALING_SHARE * (own - own.mean())
        np.testing.assert_allclose(similarities, -np.sort(-expected)[:k], atol=1e-6)
        np.testing.assert_allclose(similarities, expected[rows], atol=1e-6)


def test_a_spot_with_many_photos_does_not_fill_the_answer():
    """Half way between a spot of thirty photos and one of three, a query finds more of the three than by the cosine."""
    random = np.random.default_rng(3)
    often, seldom = np.eye(8)[0], np.eye(8)[1]
    many = often + 0.05 * random.normal(size=(30, 8))
    few = np.stack([seldom + 0.3 * random.normal(size=8) for _ in range(3)])
    descriptors, query = np.concatenate([many, few]), (often + seldom)[None]
    cosine = index_of(descriptors).search(query, k=10)
    corrected = RetrievalIndex(
        descriptors, np.zeros((33, 2)), neighbourhood_similarity=neighbourhood_similarity(descriptors)
    ).search(query, k=10)
    assert (corrected.rows[0] >= 30).sum() > (cosine.rows[0] >= 30).sum()


@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 10), st.integers(0, 1000))
def test_a_search_skips_the_photos_that_are_excluded_for_each_query(photos, queries, k, seed):
    random = np.random.default_rng(seed)
    reference, asked = random.normal(size=(photos, 4)), random.normal(size=(queries, 4)).astype(np.float32)
    local = random.integers(-127, 128, (photos + queries, 16, 8)).astype(np.int8)
    index = RetrievalIndex(reference, random.normal(size=(photos, 2)), local[:photos])
    excluded = random.random((queries, photos)) < 0.4
    found = index.search(asked, local[photos:], k, excluded)
    for query in range(queries):
        left = np.flatnonzero(~excluded[query])
        count = min(k, photos, len(left))
        if count:
            part = RetrievalIndex(reference[left], index.positions_enu_m[left], local[left])
            alone = part.search(asked[query : query + 1], local[photos + query : photos + query + 1], count)
            np.testing.assert_array_equal(found.rows[query, :count], left[alone.rows[0]])
            np.testing.assert_allclose(found.match_scores[query, :count], alone.match_scores[0])
            np.testing.assert_array_equal(found.positions_enu_m[query, :count], alone.positions_enu_m[0])
        assert (found.rows[query, count:] == -1).all() and np.isnan(found.positions_enu_m[query, count:]).all()
        assert np.isnan(found.match_scores[query, count:]).all()


def test_similarities_never_exceed_one():
    descriptors = np.random.default_rng(5).normal(size=(200, D))
    found = index_of(descriptors).search(descriptors, k=1)
    np.testing.assert_array_equal(found.rows[:, 0], np.arange(200))
    assert found.similarities.max() <= 1.0


def test_local_descriptors_are_compared_with_those_of_the_photos_found():
    random = np.random.default_rng(6)
    local = random.integers(-127, 128, (5, 9, 4), dtype=np.int8)
    index = RetrievalIndex(random.normal(size=(5, 8)), np.zeros((5, 2)), local)
    queries, own = random.normal(size=(3, 8)), random.integers(-127, 128, (3, 9, 4), dtype=np.int8)
    found = index.search(queries, own, k=2)
    for rows, descriptors, scores in zip(found.rows, own, found.match_scores, strict=True):
        np.testing.assert_allclose(scores, match_scores(descriptors, local[rows]), rtol=1e-6)
    assert index.search(queries, k=2).match_scores is None
    without = RetrievalIndex(random.normal(size=(5, 8)), np.zeros((5, 2)))
    assert without.search(queries, own, k=2).match_scores is None


def test_the_results_of_some_queries_are_taken_together():
    index = index_of(scattered(np.random.default_rng(7), 20))
    found = index.search(scattered(np.random.default_rng(8), 4), k=3)
    chosen = found.where(np.array([False, True, False, True]))
    np.testing.assert_array_equal(chosen.rows, found.rows[[1, 3]])
    np.testing.assert_array_equal(chosen.positions_enu_m, found.positions_enu_m[[1, 3]])
    assert chosen.match_scores is None


@pytest.mark.parametrize(
    ("descriptors", "positions"),
    [
        (np.ones((0, 4)), np.ones((0, 2))),
        (np.ones(4), np.ones((1, 2))),
        (np.ones((3, 4)), np.ones((2, 2))),
        (np.full((3, 4), np.nan), np.ones((3, 2))),
        (np.full((3, 4), np.float16(np.inf)), np.ones((3, 2))),
        (np.ones((3, 4)), np.full((3, 2), np.nan)),
    ],
)
def test_a_reference_of_a_wrong_shape_or_with_nan_is_an_error(descriptors, positions):
    with pytest.raises(BundleError, match="reference"):
        RetrievalIndex(descriptors, positions)


def test_descriptors_of_another_length_say_what_was_expected():
    with pytest.raises(BundleError, match=r"expected descriptors \(Q, 4\), got \(1, 512\)"):
        index_of(np.ones((3, 4))).search(np.ones((1, 512)), k=2)


def test_local_descriptors_of_another_number_of_photos_are_an_error():
    with pytest.raises(BundleError, match="local descriptors"):
        RetrievalIndex(np.ones((3, 4)), np.zeros((3, 2)), np.ones((2, 9, 4), np.int8))


@pytest.mark.parametrize("values", [np.ones(2), np.ones((3, 1)), np.array([1.0, np.nan, 1.0])])
def test_a_neighbourhood_similarity_of_a_wrong_shape_or_with_nan_is_an_error(values):
    with pytest.raises(BundleError, match="neighbourhood similarity"):
        RetrievalIndex(np.ones((3, 4)), np.zeros((3, 2)), neighbourhood_similarity=values)


def test_the_module_alone_loads_no_torch():
    code = "import sys, campus_visual_gps.retrieval.index; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
