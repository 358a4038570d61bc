"""Fixes with correlated errors give a filter as much information as they carry, whatever the rate of the images."""

import numpy as np
import pytest

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.estimation.correlated_errors import (
    IGNORE,
    INFLATE,
    THIN,
    THINNING,
    ErrorDecorrelator,
    inflated,
    inflation_factor,
)

NS = 1_000_000_000
RATES_HZ = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
TIME_S = 6.0


def stamps_ns(times_s):
    return (1_700_000_000 * NS + np.round(np.asarray(times_s) * 1e9).astype(np.int64)).tolist()


def factors(times_s, mode=INFLATE, time_s=TIME_S):
    stream = ErrorDecorrelator(mode, time_s)
    return [stream.factor(stamp) for stamp in stamps_ns(times_s)]


def information(times_s, **how):
    """In independent fixes."""
    return sum(1.0 / factor for factor in factors(times_s, **how) if factor is not None)


def random_times_s(rng, count=200):
    """Bursts, single images and gaps."""
    return np.cumsum(rng.choice([0.01, 0.033, 0.5, 2.0, 30.0], count) * rng.uniform(0.5, 1.5, count))


@pytest.mark.parametrize("mode", [INFLATE, THIN])
@pytest.mark.parametrize("time_s", [2.0, 6.0, 15.0])
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_information_per_second_does_not_depend_on_the_rate(rate_hz, time_s, mode):
    duration_s = 100.0 * time_s
    per_second = information(np.arange(0.0, duration_s, 1.0 / rate_hz), mode=mode, time_s=time_s) / duration_s
    assert per_second == pytest.approx(1.0 / (2.0 * time_s), rel=0.1)


def test_information_per_second_does_not_depend_on_how_images_are_spread_in_time():
    rng = np.random.default_rng(0)
    for rate_hz in (1.0, 4.0, 20.0):
        times_s = np.sort(rng.uniform(0.0, 600.0, int(600 * rate_hz)))
        assert information(times_s) / 600.0 == pytest.approx(1.0 / (2.0 * TIME_S), rel=0.12)


def test_inflated_fixes_carry_exactly_the_information_of_the_correlated_sequence():
    rng = np.random.default_rng(1)
    for _ in range(20):
        times_s = random_times_s(rng, 60)
        correlations = np.exp(-np.abs(times_s[:, None] - times_s) / TIME_S)
        assert information(times_s) == pytest.approx(np.linalg.solve(correlations, np.ones(60)).sum(), rel=1e-6)


def test_a_covariance_is_never_smaller_than_that_of_its_image():
    rng = np.random.default_rng(2)
    for _ in range(50):
        times_s = random_times_s(rng)
        times_s[rng.random(200) < 0.1] -= rng.choice([0.0, 0.02, 0.5, 50.0])
        own = np.array(factors(times_s, time_s=rng.uniform(0.1, 60.0)))
        assert np.isfinite(own).all() and (own >= 1.0).all()


def test_the_first_fix_and_one_after_a_long_gap_keep_the_covariance_of_their_image():
    first, second, after_gap = factors([0.0, 0.5, 60.0])
    assert (first, second) == (1.0, pytest.approx(24.0, rel=0.01))
    assert after_gap == pytest.approx(1.0, abs=1e-3)


def test_a_gap_counts_for_as_long_as_it_lasts():
    own = [factors([0.0, gap_s])[1] for gap_s in (0.1, 0.5, 2.0, 6.0, 20.0)]
    assert own == sorted(own, reverse=True)


def test_stamps_that_jump_back_begin_a_new_stream_and_a_small_step_back_does_not():
    assert factors([100.0, 100.5, 3.0, 3.5])[2:] == [1.0, pytest.approx(24.0, rel=0.01)]
    _, _, stepped_back, following = factors([100.0, 100.5, 100.1, 101.0])
    assert stepped_back > 1000.0
    assert following == pytest.approx(24.0, rel=0.01)
    assert factors([100.0, 3.0, 3.5], mode=THIN) == [1.0, 1.0, None]


def test_thinned_fixes_are_two_correlation_times_apart_and_keep_the_covariance_of_their_image():
    times_s = np.arange(0.0, 120.0, 0.1)
    kept = [time_s for time_s, factor in zip(times_s, factors(times_s, mode=THIN), strict=True) if factor is not None]
    assert {factor for factor in factors(times_s, mode=THIN)} == {None, 1.0}
    assert np.diff(kept) == pytest.approx(THINNING * TIME_S, abs=0.11)


def test_thinning_takes_no_fix_of_a_camera_that_is_slow_enough():
    times_s = np.arange(0.0, 600.0, 15.0) + np.random.default_rng(3).uniform(-1.0, 1.0, 40)
    assert factors(times_s, mode=THIN) == [1.0] * 40


def test_ignored_correlation_changes_nothing():
    assert factors(np.arange(0.0, 3.0, 0.1), mode=IGNORE) == [1.0] * 30


def test_what_was_held_back_and_the_last_factor_are_told():
    stream = ErrorDecorrelator(THIN, TIME_S)
    for stamp in stamps_ns(np.arange(0.0, 24.0, 1.0)):
        stream.factor(stamp)
    assert (stream.held_back_count, stream.last_factor) == (22, 1.0)
    stream = ErrorDecorrelator(INFLATE, TIME_S)
    for stamp in stamps_ns([0.0, 0.5]):
        stream.factor(stamp)
    assert stream.last_factor == inflation_factor(0.5, TIME_S)


def test_only_the_horizontal_part_of_a_covariance_grows():
    own = np.array([[4.0, 1.0, 0.0], [1.0, 9.0, 0.0], [0.0, 0.0, 25.0]])
    np.testing.assert_allclose(inflated(own, 3.0), [[12.0, 3.0, 0.0], [3.0, 27.0, 0.0], [0.0, 0.0, 25.0]])
    assert own[0, 0] == 4.0


@pytest.mark.parametrize(("mode", "time_s"), [("other", 3.0), (INFLATE, 0.0), (INFLATE, float("nan")), (THIN, -1.0)])
def test_an_unknown_mode_or_an_impossible_time_is_an_error(mode, time_s):
    with pytest.raises(ConfigError, match="correlat"):
        ErrorDecorrelator(mode, time_s)


# After a filter


def nees_after_a_filter(rate_hz, mode, sigma_m=5.0, time_s=TIME_S, noise_m2_s=1.0, runs=60, duration_s=300.0):
    """Mean NEES of a position that walks randomly and is fused from AR(1) errors by a Kalman filter that knows both."""
    rng = np.random.default_rng(20)
    dt = 1.0 / rate_hz
    keep = np.exp(-dt / time_s)
    truth, estimate = np.zeros((runs, 2)), np.zeros((runs, 2))
    error, variance, squared = sigma_m * rng.normal(size=(runs, 2)), 1e6, []
    for factor in factors(np.arange(0.0, duration_s, dt), mode=mode, time_s=time_s):
        truth += np.sqrt(noise_m2_s * dt) * rng.normal(size=(runs, 2))
        error = keep * error + sigma_m * np.sqrt(1.0 - keep**2) * rng.normal(size=(runs, 2))
        variance += noise_m2_s * dt
        if factor is not None:
            gain = variance / (variance + factor * sigma_m**2)
            estimate += gain * (truth + error - estimate)
            variance *= 1.0 - gain
        squared.append(((estimate - truth) ** 2).sum(axis=1).mean() / variance)
    return float(np.mean(squared))


@pytest.mark.parametrize("mode", [INFLATE, THIN])
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_filter_is_consistent_at_any_rate(rate_hz, mode):
    assert 1.0 < nees_after_a_filter(rate_hz, mode) < 4.0


def test_a_filter_that_takes_correlated_errors_as_independent_is_not():
    assert nees_after_a_filter(2.0, IGNORE) > 5.0
    assert nees_after_a_filter(30.0, IGNORE) > 12.0
