"""The retrieved reference photos make a likelihood over the grid, which is pooled with the members' probabilities."""

import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
from helpers import ROOT
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from campus_visual_gps.errors import BundleError
from campus_visual_gps.retrieval.index import RetrievalResult
from campus_visual_gps.retrieval.prior import (
    MATCH_RADIUS_M,
    MIN_OUTLIER_MASS,
    RetrievalPriorConfig,
    decayed_match_score,
    log_linear_pool,
    match_score_near,
    position_likelihood,
)

CELLS = np.stack(np.meshgrid(np.arange(30) * 6.0, np.arange(30) * 6.0), axis=-1).reshape(-1, 2)


def retrieved(positions, similarities, match_scores=None) -> RetrievalResult:
    """The result of one query: photos at positions (k, 2) with similarities (k,)."""
    similarities = np.asarray(similarities, dtype=np.float64)
    scores = None if match_scores is None else np.asarray(match_scores, dtype=np.float64)[None]
    rows, positions = np.arange(len(similarities)), np.asarray(positions, dtype=np.float64)
    return RetrievalResult(rows[None], similarities[None], positions[None], scores)


def likelihood(found: RetrievalResult, config: RetrievalPriorConfig, cells: np.ndarray = CELLS) -> np.ndarray:
    """(K,) of one query."""
    return position_likelihood(found, cells, config)[0]


def test_the_likelihood_is_highest_at_the_photos_and_more_so_at_the_more_similar_one():
    good, fair = CELLS[40], CELLS[700]
    found = likelihood(retrieved([good, fair], [0.9, 0.8]), RetrievalPriorConfig(1.0, 8.0, 0.1))
    assert found.argmax() == 40 and found.sum() == pytest.approx(1.0)
    # both kernels lie on the same grid, away from its edge or not by the same cells: their peaks compare as the weights
    assert (found[40] - MIN_OUTLIER_MASS / 900) / (found[700] - MIN_OUTLIER_MASS / 900) == pytest.approx(np.e, rel=1e-6)
    assert found.min() >= MIN_OUTLIER_MASS / 900 * (1 - 1e-9)


def test_photos_far_from_all_cells_say_nothing():
    found = likelihood(retrieved([[1e6, 1e6]], [1.0]), RetrievalPriorConfig(1.0, 8.0, 0.1))
    np.testing.assert_allclose(found, np.full(len(CELLS), 1.0 / len(CELLS)), rtol=1e-12)


@given(
    hnp.arrays(np.float64, (5, 2), elements=st.floats(-2e4, 2e4)),
    hnp.arrays(np.float64, 5, elements=st.floats(-1, 1)),
    hnp.arrays(np.float64, st.tuples(st.integers(1, 40), st.just(2)), elements=st.floats(-2e4, 2e4)),
    st.floats(0.1, 1e4),
    st.floats(1e-6, 1e3),
    st.floats(-2.0, 2.0),
    hnp.arrays(np.float64, 5, elements=st.floats(1.0, 1e3)),
)
def test_the_likelihood_is_a_distribution_without_a_zero(
    positions, similarities, cells, bandwidth_m, temperature, null_similarity, match_scores
):
    found = likelihood(
        retrieved(positions, -np.sort(-similarities), match_scores),
        RetrievalPriorConfig(1.0, bandwidth_m, temperature, null_similarity, 3.0, 10.0),
        cells,
    )
    assert found.shape == (len(cells),) and found.dtype == np.float64
    assert found.sum() == pytest.approx(1.0) and found.min() >= 0.999 * MIN_OUTLIER_MASS / len(cells)


def test_the_less_similar_the_photos_are_the_less_they_say():
    config = RetrievalPriorConfig(1.0, 8.0, 0.1, null_similarity=0.4)
    peaks = [likelihood(retrieved([CELLS[40]], [cosine]), config).max() for cosine in (0.9, 0.4, -0.5)]
    even = 1.0 / len(CELLS)
    alone = likelihood(retrieved([CELLS[40]], [0.9]), RetrievalPriorConfig(1.0, 8.0, 0.1)).max()
    assert peaks[0] == pytest.approx(alone, rel=0.02)
    assert peaks[1] - even == pytest.approx(0.5 * (alone - even), rel=0.01)
    assert peaks[2] == pytest.approx(even, rel=0.02)


def test_of_two_photos_alike_the_one_with_the_better_match_score_weighs_more():
    found = likelihood(
        retrieved([CELLS[40], CELLS[700]], [0.5, 0.5], [4.0, 8.0]),
        RetrievalPriorConfig(1.0, 8.0, 0.1, match_exponent=2.0, typical_match_score=6.0),
    )
    assert (found[700] - MIN_OUTLIER_MASS / 900) / (found[40] - MIN_OUTLIER_MASS / 900) == pytest.approx(4.0, rel=1e-6)


def test_only_as_many_photos_as_the_settings_say_count():
    found = likelihood(retrieved([CELLS[40], CELLS[700]], [0.5, 0.5]), RetrievalPriorConfig(1.0, 2.0, 0.1, k=1))
    assert found[700] == pytest.approx(MIN_OUTLIER_MASS / 900)


def test_many_images_at_once_are_the_same_as_one_by_one():
    rng = np.random.default_rng(0)
    many = RetrievalResult(
        np.tile(np.arange(4), (150, 1)),
        -np.sort(-rng.uniform(-1, 1, (150, 4))),
        rng.uniform(0, 180, (150, 4, 2)),
        rng.uniform(1, 20, (150, 4)),
    )
    config = RetrievalPriorConfig(1.0, 8.0, 0.1, 0.2, 3.0, 5.0)
    together = position_likelihood(many, CELLS, config)
    assert together.shape == (150, len(CELLS))
    for row in (0, 63, 64, 149):
        np.testing.assert_allclose(together[row], likelihood(many.where(slice(row, row + 1)), config), rtol=1e-9)
    assert position_likelihood(many.where(slice(0, 0)), CELLS, config).shape == (0, len(CELLS))


def test_the_match_score_near_a_position_is_the_best_within_the_radius():
    found = retrieved([[0.0, 0.0], [10.0, 0.0], [300.0, 0.0]], [0.9, 0.8, 0.7], [3.0, 5.0, 9.0])
    assert match_score_near(found, np.array([[0.0, 0.0]])) == pytest.approx([5.0])
    assert match_score_near(found, np.array([[300.0 + MATCH_RADIUS_M, 0.0]])) == pytest.approx([9.0])


def test_where_no_photo_was_taken_nearby_the_match_score_is_the_least():
    found = retrieved([[0.0, 0.0], [10.0, 0.0]], [0.9, 0.8], [5.0, 3.0])
    assert match_score_near(found, np.array([[1000.0, 0.0]])) == pytest.approx([3.0])
    assert match_score_near(found, np.array([[np.nan, np.nan]])) == pytest.approx([3.0])
    with pytest.raises(ValueError, match="not compared"):
        match_score_near(found._replace(match_scores=None), np.zeros((1, 2)))


def test_a_match_score_decays_with_the_distance_and_not_below_that_by_chance():
    found = retrieved([[0.0, 0.0], [100.0, 0.0]], [0.9, 0.8], [8.0, 2.0])

    def score(east_m: float) -> float:
        return decayed_match_score(found, np.array([[east_m, 0.0]]), 30.0)[0]

    assert [score(east_m) for east_m in (0.0, 30.0, 1000.0)] == pytest.approx([8.0, 8.0 * np.exp(-0.5), 2.0])
    path = np.array([score(east_m) for east_m in np.arange(0.0, 200.0, 0.1)])
    assert np.abs(np.diff(path)).max() < 0.02  # no step where a radius would have one
    with pytest.raises(ValueError, match="not compared"):
        decayed_match_score(found._replace(match_scores=None), np.zeros((1, 2)), 30.0)


probabilities = hnp.arrays(np.float64, 12, elements=st.floats(1e-9, 1.0))


@given(probabilities, probabilities, st.floats(0.0, 4.0))
def test_the_pool_is_the_normalised_product(first, second, weight):
    pooled = log_linear_pool(first, second, weight)
    np.testing.assert_allclose(pooled, first * second**weight / (first * second**weight).sum(), rtol=1e-9)
    assert pooled.sum() == pytest.approx(1.0) and np.all(pooled >= 0.0) and np.all(np.isfinite(pooled))
    np.testing.assert_allclose(log_linear_pool(first, second, 1.0), log_linear_pool(second, first, 1.0), rtol=1e-12)


def test_a_product_of_very_small_numbers_is_still_a_distribution():
    np.testing.assert_allclose(
        log_linear_pool(np.array([1e-300, 3e-300, 0.0]), np.full(3, 1e-300), 2.0), [0.25, 0.75, 0.0]
    )


def test_weight_zero_leaves_the_grid_and_a_batch_is_pooled_row_by_row():
    grids = np.array([[0.2, 0.8, 0.0], [1.0, 1.0, 2.0]])
    np.testing.assert_allclose(
        log_linear_pool(grids, np.array([0.0, np.nan, 1.0]), 0.0), [[0.2, 0.8, 0.0], [0.25, 0.25, 0.5]]
    )
    likely = np.array([0.5, 0.25, 0.25])
    np.testing.assert_array_equal(log_linear_pool(grids, likely, 0.7)[1], log_linear_pool(grids[1], likely, 0.7))


@pytest.mark.parametrize("broken", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], [-0.1, 1.1]])
def test_a_grid_that_is_no_distribution_gives_nan_everywhere(broken):
    assert np.all(np.isnan(log_linear_pool(np.array(broken), np.array([0.5, 0.5]), 0.5)))
    assert np.all(np.isnan(log_linear_pool(np.array([0.5, 0.5]), np.array(broken), 0.5)))


def test_the_settings_come_back_from_a_dictionary():
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
        {"null_similarity": np.nan},
        {"match_exponent": -1.0},
        {"typical_match_score": 0.0},
    ],
)
def test_settings_that_no_fit_gives_are_errors(wrong):
    with pytest.raises(BundleError, match=next(iter(wrong))):
        RetrievalPriorConfig(**({"weight": 0.5, "bandwidth_m": 10.0, "temperature": 0.05} | wrong))


def test_the_module_alone_loads_no_torch():
    code = "import sys, campus_visual_gps.retrieval.prior; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
