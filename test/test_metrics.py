"""Metrics of errors, and the intervals around them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.metrics.bootstrap import MIN_BLOCKS, BlockBootstrap, walk_blocks
from training.metrics.errors import THRESHOLDS_M, error_metrics, mean_error_ratio, position_errors_m, share_of
from training.metrics.estimate import UNKNOWN, Estimate

errors = arrays(np.float64, st.integers(1, 60), elements=st.floats(0.0, 500.0) | st.just(np.nan))


def each(n):
    return np.arange(n)


def coverage_of_interval(truth, intervals):
    return np.mean([low <= truth <= high for low, high in intervals])


@given(errors)
def test_counts_of_the_table_add_up_to_the_photos(errors_m):
    metrics = error_metrics(errors_m, each(len(errors_m)))
    assert metrics.within[20].count + metrics.beyond.count == metrics.n_photos == len(errors_m)
    assert tuple(metrics.within) == THRESHOLDS_M
    counts = [within.count for within in metrics.within.values()]
    assert counts == sorted(counts)
    for threshold, within in metrics.within.items():
        assert within.count == sum(error <= threshold for error in errors_m)
        assert within.share.value == pytest.approx(within.count / len(errors_m))


@given(errors)
def test_intervals_contain_their_value_and_nothing_is_nan(errors_m):
    metrics = error_metrics(errors_m, each(len(errors_m)))
    shares = [within.share for within in metrics.within.values()]
    for estimate in (metrics.mean_error_m, metrics.median_error_m, metrics.p90_error_m, *shares):
        assert all(value is None or np.isfinite(value) for value in (estimate.value, estimate.low, estimate.high))
    for estimate in (metrics.mean_error_m, *shares):
        if estimate.low is not None:
            assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9


def test_metrics_are_those_of_numpy():
    errors_m = np.random.default_rng(0).gamma(2.0, 5.0, 101)
    metrics = error_metrics(errors_m, each(101))
    assert metrics.mean_error_m.value == pytest.approx(errors_m.mean())
    assert metrics.median_error_m.value == pytest.approx(np.median(errors_m))
    assert metrics.p90_error_m.value == pytest.approx(np.percentile(errors_m, 90))
    assert metrics.max_error_m == errors_m.max()


def test_photo_without_a_position_is_beyond_the_table_and_outside_the_mean():
    metrics = error_metrics(np.array([1.0, 3.0, np.nan]), each(3))
    assert (metrics.n_without_position, metrics.mean_error_m.value, metrics.beyond.count) == (1, 2.0, 1)


def test_no_photos_have_unknown_metrics():
    metrics = error_metrics(np.array([]), each(0))
    assert metrics.n_photos == metrics.within[5].count == 0
    assert metrics.mean_error_m == metrics.within[5].share == UNKNOWN
    assert metrics.max_error_m is None


def test_an_estimate_has_none_for_what_is_not_finite():
    assert Estimate.of(np.float64(2.0), (np.nan, np.inf)) == Estimate(2.0, None, None)


def test_position_error_is_the_distance_in_the_plane():
    assert position_errors_m(np.array([[3.0, 4.0], [np.nan, 0.0]]), np.zeros((2, 2)))[0] == 5.0


# A percentile interval without the widening covers 88 % of ten values.
@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 40])
def test_interval_covers_the_mean_of_independent_normals_95_times_in_100(n):
    rng = np.random.default_rng(n)
    intervals = []
    for _ in range(500):
        bootstrap, values = BlockBootstrap(each(n), replicates=1000), rng.normal(20.0, 5.0, n)
        intervals.append(bootstrap.interval(bootstrap.means(values)))
    assert coverage_of_interval(20.0, intervals) == pytest.approx(0.95, abs=0.03)


@pytest.mark.slow
def test_interval_covers_the_mean_of_walks_whose_photos_move_together():
    rng = np.random.default_rng(7)
    blocks = np.repeat(np.arange(20), 8)
    by_block, by_photo = [], []
    for _ in range(250):
        values = np.repeat(rng.normal(0.0, 5.0, 20), 8) + rng.normal(0.0, 2.0, 160)
        for labels, intervals in ((blocks, by_block), (each(160), by_photo)):
            bootstrap = BlockBootstrap(labels, replicates=1000)
            intervals.append(bootstrap.interval(bootstrap.means(values)))
    assert coverage_of_interval(0.0, by_block) == pytest.approx(0.95, abs=0.03)
    assert coverage_of_interval(0.0, by_photo) < 0.7  # what drawing single photos would have promised


@given(arrays(np.float64, st.integers(1, 25), elements=st.floats(0, 100, width=32)), st.integers(0, 5), st.floats(0, 1))
def test_replicates_are_the_statistics_of_the_photos_drawn(values, seed, quantile):
    blocks = np.random.default_rng(seed).integers(0, 4, len(values))
    bootstrap = BlockBootstrap(blocks, replicates=7, seed=seed)
    _, block_of = np.unique(blocks, return_inverse=True)
    drawn = [np.repeat(values, counts[block_of].astype(int)) for counts in bootstrap._draws]
    np.testing.assert_allclose(bootstrap.means(values), [photos.mean() for photos in drawn], atol=1e-9)
    expected = [np.quantile(photos, quantile) for photos in drawn]
    np.testing.assert_allclose(bootstrap.quantiles(values, quantile), expected, atol=1e-9)


def test_same_photos_give_the_same_interval_every_time():
    values, blocks = np.random.default_rng(3).gamma(2.0, 9.0, 200), np.repeat(np.arange(20), 10)
    assert error_metrics(values, blocks) == error_metrics(values, blocks)


def test_too_few_blocks_have_no_interval():
    metrics = error_metrics(np.arange(40.0), np.repeat(np.arange(MIN_BLOCKS - 1), 10))
    assert metrics.mean_error_m == Estimate(19.5, None, None)
    assert metrics.within[10].share.low is None


def test_share_of_all_is_not_certain():
    share = share_of(np.ones(10, dtype=bool), BlockBootstrap(each(10)))
    assert share.high == 1.0
    assert share.low == pytest.approx(0.6915, abs=1e-3)  # Clopper and Pearson for 10 of 10
    none = share_of(np.zeros(10, dtype=bool), BlockBootstrap(each(10)))
    assert (none.low, none.high) == (0.0, pytest.approx(0.3085, abs=1e-3))


def test_ratio_of_paired_errors_is_tighter_than_of_unpaired():
    rng = np.random.default_rng(5)
    baseline = rng.gamma(1.0, 40.0, 100)
    paired = mean_error_ratio(0.5 * baseline, baseline, each(100))
    assert paired.low == pytest.approx(0.5) == paired.high
    unpaired = mean_error_ratio(rng.permutation(0.5 * baseline), baseline, each(100))
    assert unpaired.high - unpaired.low > 0.05
    assert mean_error_ratio(baseline, np.full(100, np.nan), each(100)) == UNKNOWN


def test_block_is_a_minute_of_a_session():
    times_s = np.concatenate([np.arange(0, 600, 5.0), np.arange(0, 600, 5.0)]) + 1.7e9
    sessions = ["a"] * 120 + ["b"] * 120
    blocks, length_s = walk_blocks(sessions, times_s)
    assert length_s == 60.0
    assert len(set(blocks)) == 20
    assert set(np.bincount(blocks)) == {12}
    assert not set(blocks[:120]) & set(blocks[120:])


def test_short_walk_gets_shorter_blocks_down_to_a_stop():
    assert walk_blocks(["a"] * 60, np.arange(60) * 6.0)[1] == 30.0
    assert walk_blocks(["a"] * 20, np.arange(20) * 2.0)[1] == 15.0


def test_photos_without_a_time_form_runs_in_their_order():
    times_s = np.full(200, np.nan)
    blocks, length_s = walk_blocks(["a"] * 200, times_s)
    assert length_s == 60.0
    assert blocks.tolist() == np.repeat(np.arange(20), 10).tolist()
    mixed, _ = walk_blocks(["a"] * 201, np.append(times_s, 1.7e9))
    assert mixed[-1] not in mixed[:-1]
