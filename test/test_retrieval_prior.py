"""The nearest reference photos are exactly those, and what they say about the place is a distribution."""

import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
from helpers import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from campus_visual_gps.errors import BundleError
from campus_visual_gps.retrieval.prior import (
    MIN_OUTLIER_MASS,
    CosineIndex,
    RetrievalPriorConfig,
    RetrievalResult,
    density,
    log_linear_pool,
    rounding_bound,
)

D = 96
CELLS = np.stack(np.meshgrid(np.arange(30) * 6.0, np.arange(30) * 6.0), axis=-1).reshape(-1, 2)


def index_of(features: np.ndarray) -> CosineIndex:
    return CosineIndex(features, np.arange(2.0 * len(features)).reshape(-1, 2))


def cosines(features: np.ndarray, query: np.ndarray) -> np.ndarray:
    """(N,) by brute force in float64, row by row, of the features as the index stores them."""
    stored, query = features.astype(np.float16).astype(np.float64), query.astype(np.float64)
    norms = np.linalg.norm(stored, axis=1) * np.linalg.norm(query)
    return np.divide((stored * query).sum(axis=1), norms, out=np.zeros(len(stored)), where=norms > 0.0)


def assert_nearest(features: np.ndarray, query: np.ndarray, k: int) -> RetrievalResult:
    found, truth = index_of(features).nearest(query, k), cosines(features, query)
    order = np.lexsort((np.arange(len(truth)), -np.round(truth, 12)))[:k]
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_allclose(found.similarities, truth[order], atol=1e-7)
    np.testing.assert_array_equal(found.positions_enu_m[:, 0], 2.0 * order)
    return found


def scattered(random: np.random.Generator, n: int) -> np.ndarray:
    return random.normal(size=(n, D))


def clustered(random: np.random.Generator, n: int) -> np.ndarray:
    """All within some thousandths of each other: float16 sees hundreds of equals where float64 sees an order."""
    return (5.0 + random.normal(size=(1, D)) + 0.01 * random.normal(size=(n, D))).astype(np.float16)


def rectified(random: np.random.Generator, n: int) -> np.ndarray:
    """As a network's pooled features are: not negative, of very different lengths."""
    return (np.maximum(scattered(random, n), 0.0) * 10.0 ** random.uniform(-2, 3, (n, 1))).astype(np.float16)


@pytest.mark.parametrize("make", [scattered, clustered, rectified])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_neighbours_are_those_of_brute_force(make, dtype):
    random = np.random.default_rng(1)
    features = make(random, 3000).astype(np.float16)
    for query in make(random, 10).astype(np.float32):
        assert_nearest(features.astype(dtype), query, 20)


def test_float16_alone_would_have_taken_others():
    random = np.random.default_rng(1)
    features, query = clustered(random, 3000), clustered(random, 1)[0]
    rough = (features @ query).astype(np.float64) / np.linalg.norm(features.astype(np.float64), axis=1)
    assert set(np.argsort(-rough)[:20]) != set(assert_nearest(features, query, 20).rows)


def test_the_rounding_stays_within_its_bound_on_this_computer():
    random = np.random.default_rng(2)
    features = np.abs(random.normal(size=(500, 1280))).astype(np.float16)  # one sign: nothing cancels
    index, query = index_of(features), np.abs(random.normal(size=1280))
    rough = index._rough(query / np.linalg.norm(query))
    assert np.abs(rough - cosines(features, query)).max() < rounding_bound(1280)


def test_duplicates_come_in_the_order_of_their_rows():
    random = np.random.default_rng(3)
    features = np.tile(scattered(random, 7), (30, 1)).astype(np.float16)
    found = assert_nearest(features, features[2], 40)
    np.testing.assert_array_equal(found.rows[:30], 2 + 7 * np.arange(30))
    assert found.similarities[0] == pytest.approx(1.0, abs=1e-12) and len(set(found.similarities[:30])) == 1


def test_thousands_of_duplicates_are_searched_too():
    features = np.tile(np.arange(1.0, 9.0), (5000, 1))
    np.testing.assert_array_equal(index_of(features).nearest(features[0], 5).rows, np.arange(5))


def test_length_does_not_count():
    features = np.array([[1e-4, 1e-4], [3e4, 0.0], [0.0, 5.0]])
    for length in (1e-30, 1.0, 1e30):
        np.testing.assert_array_equal(index_of(features).nearest(length * np.array([1.0, 0.9]), 3).rows, [0, 1, 2])
    far = index_of(np.array([[1e-30, 0.0], [0.0, 1e30]])).nearest(np.array([0.6, 0.8]), 2)
    np.testing.assert_allclose(far.similarities, [0.8, 0.6], atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(-3, 3)),
    st.integers(1, 15),
    st.data(),
)
def test_any_features_give_what_brute_force_gives(features, k, data):
    query = data.draw(hnp.arrays(np.float32, features.shape[1], elements=st.integers(-3, 3)))
    found, truth = index_of(features).nearest(query, k), cosines(features, query)
    assert len(set(found.rows)) == min(k, len(features))
    np.testing.assert_allclose(found.similarities, -np.sort(-truth)[:k], atol=1e-12)
    np.testing.assert_allclose(found.similarities, truth[found.rows], atol=1e-12)


def test_more_neighbours_than_photos_are_all_of_them():
    assert len(assert_nearest(scattered(np.random.default_rng(4), 5), np.ones(D), 20).rows) == 5


def test_zeros_are_like_nothing():
    features = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    np.testing.assert_array_equal(index_of(features).nearest(np.array([0.0, 2.0]), 3).similarities, [1.0, 0.0, -1.0])
    found = index_of(features).nearest(np.zeros(2), 2)
    np.testing.assert_array_equal(found.rows, [0, 1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_query_that_is_not_finite_says_nothing_all_the_way(value):
    found = index_of(np.eye(4)).nearest(np.array([1.0, value, 0.0, 0.0]), 3)
    assert np.all(np.isnan(found.similarities)) and found.positions_enu_m.shape == (3, 2)
    spread = density(found, CELLS, RetrievalPriorConfig(1.0, 10.0, 0.05))
    assert spread.shape == (len(CELLS),) and np.all(np.isnan(spread))
    assert np.all(np.isnan(log_linear_pool(np.full(len(CELLS), 1.0 / len(CELLS)), spread, 0.5)))


@pytest.mark.parametrize(
    ("features", "positions"),
    [
        (np.ones((0, 4)), np.ones((0, 2))),
        (np.ones(4), np.ones((1, 2))),
        (np.ones((3, 4)), np.ones((2, 2))),
        (np.full((3, 4), np.nan), np.ones((3, 2))),
        (np.full((3, 4), np.float16(np.inf)), np.ones((3, 2))),
        (np.ones((3, 4)), np.full((3, 2), np.nan)),
    ],
)
def test_references_that_are_none_are_refused(features, positions):
    with pytest.raises(BundleError, match="reference"):
        CosineIndex(features, positions)


def test_features_of_another_network_are_refused():
    with pytest.raises(BundleError, match="512"):
        index_of(np.ones((3, 4))).nearest(np.ones(512), 2)


def neighbours_at(positions, similarities) -> RetrievalResult:
    similarities = np.asarray(similarities, dtype=np.float64)
    return RetrievalResult(np.arange(len(similarities)), similarities, np.asarray(positions, dtype=np.float64))


def test_the_density_is_highest_at_the_neighbours_and_more_so_at_the_better_one():
    good, fair = CELLS[40], CELLS[700]
    found = density(neighbours_at([good, fair], [0.9, 0.8]), CELLS, RetrievalPriorConfig(1.0, 8.0, 0.1))
    assert found.argmax() == 40 and found.sum() == pytest.approx(1.0)
    # both kernels lie on the same grid, away from its edge or not by the same cells: their peaks compare as the weights
    assert (found[40] - MIN_OUTLIER_MASS / 900) / (found[700] - MIN_OUTLIER_MASS / 900) == pytest.approx(np.e, rel=1e-6)
    assert found.min() >= MIN_OUTLIER_MASS / 900


def test_neighbours_off_the_map_say_nothing():
    found = density(neighbours_at([[1e6, 1e6]], [1.0]), CELLS, RetrievalPriorConfig(1.0, 8.0, 0.1))
    np.testing.assert_array_equal(found, np.full(len(CELLS), 1.0 / len(CELLS)))


@given(
    hnp.arrays(np.float64, (5, 2), elements=st.floats(-2e4, 2e4)),
    hnp.arrays(np.float64, 5, elements=st.floats(-1, 1)),
    hnp.arrays(np.float64, st.tuples(st.integers(1, 40), st.just(2)), elements=st.floats(-2e4, 2e4)),
    st.floats(0.1, 1e4),
    st.floats(1e-6, 1e3),
    st.floats(-2.0, 2.0),
    hnp.arrays(np.float64, 5, elements=st.floats(1.0, 1e3)),
)
def test_the_density_is_a_distribution_without_a_zero(
    positions, similarities, cells, bandwidth_m, temperature, background, agreements
):
    near = neighbours_at(positions, -np.sort(-similarities))._replace(agreements=agreements)
    found = density(near, cells, RetrievalPriorConfig(1.0, bandwidth_m, temperature, background, 3.0, 10.0))
    assert found.shape == (len(cells),) and found.dtype == np.float64
    assert found.sum() == pytest.approx(1.0) and found.min() >= 0.999 * MIN_OUTLIER_MASS / len(cells)


def test_the_less_a_photo_looks_like_any_the_less_its_neighbours_say():
    config = RetrievalPriorConfig(1.0, 8.0, 0.1, background=0.4)
    peaks = [density(neighbours_at([CELLS[40]], [cosine]), CELLS, config).max() for cosine in (0.9, 0.4, -0.5)]
    even = 1.0 / len(CELLS)
    alone = density(neighbours_at([CELLS[40]], [0.9]), CELLS, RetrievalPriorConfig(1.0, 8.0, 0.1)).max()
    assert peaks[0] == pytest.approx(alone, rel=0.02)
    assert peaks[1] - even == pytest.approx(0.5 * (alone - even), rel=0.01)
    assert peaks[2] == pytest.approx(even, rel=0.02)


def test_of_two_alike_the_neighbour_that_agrees_in_its_parts_weighs_more():
    near = neighbours_at([CELLS[40], CELLS[700]], [0.5, 0.5])._replace(agreements=np.array([4.0, 8.0]))
    found = density(near, CELLS, RetrievalPriorConfig(1.0, 8.0, 0.1, match_exponent=2.0, typical_match_score=6.0))
    assert (found[700] - MIN_OUTLIER_MASS / 900) / (found[40] - MIN_OUTLIER_MASS / 900) == pytest.approx(4.0, rel=1e-6)


def test_only_as_many_neighbours_as_the_settings_say_are_heard():
    near = neighbours_at([CELLS[40], CELLS[700]], [0.5, 0.5])
    found = density(near, CELLS, RetrievalPriorConfig(1.0, 2.0, 0.1, k=1))
    assert found[700] == pytest.approx(MIN_OUTLIER_MASS / 900)


probabilities = hnp.arrays(np.float64, 12, elements=st.floats(1e-9, 1.0))


@given(probabilities, probabilities, st.floats(0.0, 4.0))
def test_the_product_is_the_product(first, second, weight):
    fused = log_linear_pool(first, second, weight)
    np.testing.assert_allclose(fused, first * second**weight / (first * second**weight).sum(), rtol=1e-9)
    assert fused.sum() == pytest.approx(1.0) and np.all(fused >= 0.0) and np.all(np.isfinite(fused))
    np.testing.assert_allclose(log_linear_pool(first, second, 1.0), log_linear_pool(second, first, 1.0), rtol=1e-12)


def test_a_product_of_very_small_numbers_is_still_a_distribution():
    np.testing.assert_allclose(
        log_linear_pool(np.array([1e-300, 3e-300, 0.0]), np.full(3, 1e-300), 2.0), [0.25, 0.75, 0.0]
    )


def test_weight_zero_leaves_the_map_and_a_batch_is_taken_row_by_row():
    maps = np.array([[0.2, 0.8, 0.0], [1.0, 1.0, 2.0]])
    np.testing.assert_allclose(
        log_linear_pool(maps, np.array([0.0, np.nan, 1.0]), 0.0), [[0.2, 0.8, 0.0], [0.25, 0.25, 0.5]]
    )
    evidence = np.array([0.5, 0.25, 0.25])
    np.testing.assert_array_equal(log_linear_pool(maps, evidence, 0.7)[1], log_linear_pool(maps[1], evidence, 0.7))


@pytest.mark.parametrize("broken", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], [-0.1, 1.1]])
def test_a_map_that_is_none_gives_nan_everywhere(broken):
    assert np.all(np.isnan(log_linear_pool(np.array(broken), np.array([0.5, 0.5]), 0.5)))
    assert np.all(np.isnan(log_linear_pool(np.array([0.5, 0.5]), np.array(broken), 0.5)))


def test_the_settings_survive_the_manifest():
    config = RetrievalPriorConfig(weight=0.5, bandwidth_m=10.0, temperature=0.05)
    assert RetrievalPriorConfig(**asdict(config)) == config and config.k == 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"k": 0},
        {"k": 2.5},
        {"k": True},
        {"weight": -1.0},
        {"weight": np.nan},
        {"bandwidth_m": 0.0},
        {"temperature": np.inf},
        {"background": np.nan},
        {"match_exponent": -1.0},
        {"typical_match_score": 0.0},
    ],
)
def test_settings_that_no_fit_gives_are_refused(wrong):
    with pytest.raises(BundleError, match=next(iter(wrong))):
        RetrievalPriorConfig(**({"weight": 0.5, "bandwidth_m": 10.0, "temperature": 0.05} | wrong))


def test_the_module_alone_loads_no_torch():
    code = "import sys, campus_visual_gps.retrieval.prior; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
