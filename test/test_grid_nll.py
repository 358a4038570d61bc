"""The grid's own likelihood: probability of the truth's cell over its area, with one rule for truths outside."""

import numpy as np
import pytest

from campus_visual_gps.estimation.grid import LocationGrid
from training.metrics.grid_nll import MAX_PENALTY, grid_nll

GRID = LocationGrid(np.stack(np.meshgrid(np.arange(8), np.arange(5)), axis=-1).reshape(-1, 2) * 6.0, 6.0)
EVEN = np.full(len(GRID), 1.0 / len(GRID))


def nll_at(probs: np.ndarray, truth_enu_m) -> float:
    return float(grid_nll(probs[None], GRID, np.array([truth_enu_m], dtype=np.float64))[0])


def test_an_even_grid_says_the_logarithm_of_the_sites_area_wherever_the_truth_is():
    for truth in ([0.0, 0.0], [20.9, 3.1], [42.0, 24.0]):
        assert nll_at(EVEN, truth) == pytest.approx(np.log(len(GRID) * 36.0))


def test_a_truth_counts_with_the_cell_it_lies_in():
    probs = np.full(len(GRID), 0.1 / (len(GRID) - 1))
    probs[9] = 0.9  # column 1, row 1
    assert nll_at(probs, [8.9, 3.1]) == pytest.approx(-np.log(0.9 / 36.0))
    assert nll_at(probs, [9.1, 3.1]) == pytest.approx(-np.log(probs[10] / 36.0))


def test_a_truth_outside_counts_with_the_nearest_cell_and_its_distance_and_never_decides_alone():
    inside = nll_at(EVEN, [0.0, 0.0])
    assert nll_at(EVEN, [-3.0 - 7.0, 0.0]) == pytest.approx(inside + 0.5)
    assert nll_at(EVEN, [-3.0 - 7.0, -3.0 - 7.0]) == pytest.approx(inside + 1.0)
    assert nll_at(EVEN, [-1e6, 0.0]) == pytest.approx(inside + MAX_PENALTY)


def test_a_probability_of_zero_stays_finite_and_one_that_is_unknown_stays_so():
    probs = np.zeros(len(GRID))
    probs[0] = 1.0
    assert np.isfinite(nll_at(probs, [42.0, 24.0]))
    assert np.isnan(nll_at(np.full(len(GRID), np.nan), [0.0, 0.0]))
