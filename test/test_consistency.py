"""Predicted covariances against errors, and their ranking of photos."""

import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics.bootstrap import BlockBootstrap
from training.metrics.consistency import (
    ConformalMetrics,
    ConsistencyMetrics,
    consistency_metrics,
    covered,
    gaussian_nll,
    nees,
    nees_interval,
)
from training.metrics.estimate import UNKNOWN
from training.metrics.risk_coverage import Ranking, risk_coverage_metrics
from training.report.flatten import flat_consistency


def each(n):
    return np.arange(n)


def round_covs(sigmas_m):
    return np.asarray(sigmas_m, dtype=np.float64)[:, None, None] ** 2 * np.eye(2)


def consistent_photos(n=400, seed=3):
    """Offsets (N, 2) drawn with sigmas (N,) that differ by a factor of five, and these sigmas."""
    rng = np.random.default_rng(seed)
    sigmas_m = rng.uniform(5.0, 25.0, n)
    return rng.normal(size=(n, 2)) * sigmas_m[:, None], sigmas_m


@given(st.floats(0.5, 30), st.floats(0.5, 30), st.floats(-0.95, 0.95), st.integers(0, 100))
def test_gaussian_errors_with_their_own_covariance_have_nees_2_and_full_coverage(sigma_e, sigma_n, rho, seed):
    cov = np.array([[sigma_e**2, rho * sigma_e * sigma_n], [rho * sigma_e * sigma_n, sigma_n**2]])
    n = 20_000
    offsets = np.random.default_rng(seed).multivariate_normal([0, 0], cov, n)
    values = nees(offsets, np.tile(cov, (n, 1, 1)))
    assert values.mean() == pytest.approx(2.0, abs=5 * 2 / np.sqrt(n))  # a chi-square of 2 has sigma 2
    for level in (0.5, 0.9, 0.95):
        assert covered(values, level).mean() == pytest.approx(level, abs=0.015)


def test_consistency_tells_too_small_a_covariance():
    offsets = np.random.default_rng(2).normal(0.0, 10.0, (500, 2))
    right = consistency_metrics(offsets, np.tile(100.0 * np.eye(2), (500, 1, 1)), each(500))
    too_small = consistency_metrics(offsets, np.tile(25.0 * np.eye(2), (500, 1, 1)), each(500))
    assert right.nees_mean.low < 2.0 < right.nees_mean.high
    assert too_small.nees_mean.low > 6.0
    assert too_small.coverage[95].value < 0.7 < right.coverage[95].value
    assert right.sigma_median_m == pytest.approx(10.0)


def test_right_covariance_has_its_nees_in_the_interval_and_half_the_sigma_has_not():
    offsets, sigmas_m = consistent_photos()
    right = consistency_metrics(offsets, round_covs(sigmas_m), each(400))
    too_small = consistency_metrics(offsets, round_covs(sigmas_m / 2.0), each(400))
    too_large = consistency_metrics(offsets, round_covs(sigmas_m * 2.0), each(400))
    assert [metrics.nees_in_interval for metrics in (right, too_small, too_large)] == [True, False, False]
    low, high = right.nees_interval
    assert low < 2.0 < high < too_small.nees_mean.value
    assert too_large.nees_mean.value < low
    assert right.nll_mean.value < min(too_small.nll_mean.value, too_large.nll_mean.value)
    assert right.nll_mean.low < right.nll_mean.value < right.nll_mean.high


def test_nees_interval_holds_the_mean_of_95_in_100_samples():
    means = np.random.default_rng(0).chisquare(2, (4000, 30)).mean(axis=1)
    low, high = nees_interval(30)
    assert np.mean((means >= low) & (means <= high)) == pytest.approx(0.95, abs=0.015)


def test_photos_of_one_stretch_widen_the_interval_and_not_the_number_of_photos():
    offsets, sigmas_m = consistent_photos(40)
    together = consistency_metrics(offsets, round_covs(sigmas_m), each(40))
    tenfold = consistency_metrics(
        np.repeat(offsets, 10, axis=0), round_covs(np.repeat(sigmas_m, 10)), np.repeat(each(40), 10)
    )
    assert tenfold.nees_interval == together.nees_interval
    assert tenfold.nees_mean.high == pytest.approx(together.nees_mean.high)


def test_log_likelihood_is_that_of_scipy():
    from scipy.stats import multivariate_normal

    offset, cov = np.array([[3.0, -7.0]]), np.array([[[30.0, 12.0], [12.0, 50.0]]])
    expected = -multivariate_normal([0.0, 0.0], cov[0]).logpdf(offset[0])
    assert gaussian_nll(offset, cov) == pytest.approx([expected])
    assert consistency_metrics(offset, cov, each(1)).nll_mean.value == pytest.approx(expected)


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.full((2, 2), np.nan), np.ones((2, 2)), -np.eye(2)])
def test_invalid_covariance_is_counted_and_changes_no_metric(bad):
    offsets, sigmas_m = consistent_photos(50)
    covs = round_covs(sigmas_m)
    covs[0] = bad
    metrics = consistency_metrics(offsets, covs, each(50))
    assert metrics.n_without_covariance == 1
    assert metrics.nees_mean.value == pytest.approx(nees(offsets[1:], covs[1:]).mean())
    assert consistency_metrics(offsets[:1], covs[:1], each(1)) == ConsistencyMetrics(1)


@pytest.mark.slow
def test_conformal_circles_are_counted_where_there_are_some():
    offsets, sigmas_m = consistent_photos(2000)
    radii = {90: sigmas_m * np.sqrt(-2.0 * np.log(0.1)), 95: np.full(2000, np.nan)}
    metrics = consistency_metrics(offsets, round_covs(sigmas_m), each(2000), radii)
    assert metrics.conformal[90].share.low < 0.9 < metrics.conformal[90].share.high
    assert metrics.conformal[90].radius_median_m == pytest.approx(np.median(radii[90]))
    assert metrics.conformal[95] == ConformalMetrics(UNKNOWN, None)
    json.dumps(flat_consistency(metrics), allow_nan=False)
    assert consistency_metrics(offsets, round_covs(sigmas_m), each(2000)).conformal == {}


def test_perfect_ranking_has_the_oracles_area_and_a_reversed_one_is_worse_than_chance():
    errors_m = np.random.default_rng(1).gamma(2.0, 10.0, 300)
    perfect = risk_coverage_metrics(errors_m**2, errors_m, BlockBootstrap(each(300)))
    reverse = risk_coverage_metrics(-errors_m, errors_m, BlockBootstrap(each(300)))
    assert perfect.aurc_m.value == pytest.approx(perfect.aurc_oracle_m)
    assert perfect.aurc_m.value < perfect.aurc_random_m == pytest.approx(errors_m.mean())
    assert reverse.aurc_m.value > reverse.aurc_random_m
    kept_m, ratio = perfect.mean_error_at_80_coverage_m.value, perfect.error_ratio_at_80_coverage
    assert kept_m == pytest.approx(np.sort(errors_m)[:240].mean())
    assert ratio.value == pytest.approx(kept_m / errors_m.mean())
    assert ratio.high < 1.0 < reverse.error_ratio_at_80_coverage.low


def test_constant_sigma_gains_nothing_whatever_the_order_of_the_file():
    errors_m = np.sort(np.random.default_rng(2).gamma(2.0, 10.0, 101))
    for ordered in (errors_m, errors_m[::-1]):
        metrics = risk_coverage_metrics(np.full(101, 7.0), ordered, BlockBootstrap(each(101)))
        assert metrics.aurc_m.value == pytest.approx(errors_m.mean())
        ratio = metrics.error_ratio_at_80_coverage
        assert [ratio.value, ratio.low] == pytest.approx([1.0, 1.0])
        assert np.allclose(Ranking(np.full(101, 7.0), ordered).curve()[1], errors_m.mean())


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 1000))
def test_ties_count_with_their_expectation_over_all_orders(n, n_sigmas, seed):
    rng = np.random.default_rng(seed)
    sigmas_m, errors_m = rng.integers(0, n_sigmas, n).astype(float), rng.uniform(0.0, 50.0, n)
    ranking = Ranking(sigmas_m, errors_m)
    areas = []
    for _ in range(300):
        ordered = errors_m[np.lexsort([rng.random(n), sigmas_m])]
        areas.append((np.cumsum(ordered) / np.arange(1, n + 1)).mean())
    area = ranking.areas_m(np.ones((1, n)))[0]
    assert area == pytest.approx(np.mean(areas), abs=5.0 * np.std(areas) / np.sqrt(300) + 1e-9)
    shares, curve_m = ranking.curve()
    assert (shares[-1], curve_m.mean()) == (1.0, pytest.approx(area))
    assert curve_m[-1] == pytest.approx(errors_m.mean())


def test_replicates_are_those_of_the_photos_drawn_one_by_one():
    rng = np.random.default_rng(5)
    sigmas_m, errors_m, blocks = rng.uniform(1.0, 9.0, 40), rng.gamma(2.0, 10.0, 40), np.arange(40) // 4
    ranking = Ranking(sigmas_m, errors_m)
    copies = rng.integers(0, 4, (3, 10))[:, blocks[ranking.order]].astype(float)
    for row, area, kept in zip(copies, ranking.areas_m(copies), ranking.kept_means_m(copies, 0.8), strict=True):
        drawn = np.repeat(ranking.order, row.astype(int))
        again = Ranking(sigmas_m[drawn], errors_m[drawn])
        once = np.ones((1, len(drawn)))
        assert area == pytest.approx(again.areas_m(once)[0])
        assert kept == pytest.approx(again.kept_means_m(once, 0.8)[0])


@pytest.mark.slow
def test_thousands_of_photos_take_seconds():
    rng = np.random.default_rng(6)
    errors_m, sigmas_m, blocks = rng.gamma(2.0, 10.0, 3000), rng.uniform(1.0, 9.0, 3000), np.arange(3000) // 10
    started = time.process_time()
    metrics = risk_coverage_metrics(sigmas_m, errors_m, BlockBootstrap(blocks))
    assert time.process_time() - started < 10.0
    assert metrics.aurc_m.low < metrics.aurc_m.value < metrics.aurc_m.high
