"""The correlation time of errors is found from pairs of images, or not at all."""

import numpy as np
import pytest

from training.metrics.correlation_time import LIMITS_S, fit_correlation_time

RNG = np.random.default_rng


def errors(times_s, time_s, sigma_m=5.0, seed=0):
    """AR(1) errors (N, 2) at times (N,)."""
    rng = RNG(seed)
    values = rng.normal(size=(len(times_s), 2))
    for index in range(1, len(times_s)):
        keep = np.exp(-(times_s[index] - times_s[index - 1]) / time_s)
        values[index] = keep * values[index - 1] + np.sqrt(1.0 - keep**2) * values[index]
    return values * np.broadcast_to(sigma_m, len(times_s))[:, None]


def covariances(sigma_m, count):
    return np.broadcast_to(sigma_m, count)[:, None, None] ** 2 * np.eye(2)


def fitted_s(times_s, offsets_m, sigma_m=5.0, sessions=None):
    names = sessions if sessions is not None else ["a"] * len(times_s)
    found = fit_correlation_time(names, times_s, offsets_m, covariances(sigma_m, len(times_s)))
    return None if found is None else found.correlation_time_s


@pytest.mark.parametrize("time_s", [1.0, 4.0, 10.0])
@pytest.mark.parametrize("rate_hz", [1.0, 2.0, 10.0])
def test_the_time_of_a_drive_is_found_at_any_rate(time_s, rate_hz):
    times_s = np.arange(0.0, 600.0, 1.0 / rate_hz)
    found = [fitted_s(times_s, errors(times_s, time_s, seed=seed)) for seed in range(3)]
    assert np.mean(found) == pytest.approx(time_s, rel=0.3)


def test_uneven_times_sizes_and_directions_of_the_errors_do_not_matter():
    rng = RNG(1)
    times_s = np.sort(rng.uniform(0.0, 1200.0, 1200))
    sigma_m = rng.choice([2.0, 20.0], 1200)
    offsets_m = errors(times_s, 5.0, sigma_m)
    assert fitted_s(times_s, offsets_m, sigma_m) == pytest.approx(5.0, rel=0.3)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert fitted_s(times_s, offsets_m @ turn.T, sigma_m) == pytest.approx(fitted_s(times_s, offsets_m, sigma_m))


def test_some_wild_errors_do_not_decide():
    times_s = np.arange(0.0, 600.0, 0.5)
    offsets_m = errors(times_s, 5.0)
    wild = offsets_m.copy()
    wild[RNG(2).choice(1200, 20, replace=False)] = [300.0, -200.0]
    assert fitted_s(times_s, wild) == pytest.approx(fitted_s(times_s, offsets_m), rel=0.35)


def test_the_order_of_the_images_does_not_matter():
    times_s = np.arange(0.0, 300.0, 0.5)
    offsets_m, order = errors(times_s, 4.0), RNG(3).permutation(600)
    assert fitted_s(times_s[order], offsets_m[order]) == pytest.approx(fitted_s(times_s, offsets_m), rel=1e-9)


def test_images_of_two_sessions_make_no_pair():
    times_s = np.arange(0.0, 300.0, 0.5)
    offsets_m = errors(times_s, 4.0)
    both, names = np.tile(times_s, 2), np.repeat(["a", "b"], 600)
    assert fitted_s(both, np.tile(offsets_m, (2, 1)), sessions=names) == pytest.approx(fitted_s(times_s, offsets_m))


def test_an_offset_of_all_images_lasts_as_long_as_can_be():
    times_s = np.arange(0.0, 300.0, 0.5)
    assert fitted_s(times_s, np.full((600, 2), 4.0)) == pytest.approx(LIMITS_S[1])


def test_images_far_apart_cannot_tell_that_errors_are_independent():
    times_s = np.arange(0.0, 3000.0, 6.0)
    assert fitted_s(times_s, errors(times_s, 0.1)) == pytest.approx(2.0)


def test_images_without_a_time_or_an_error_are_left_out():
    times_s = np.arange(0.0, 300.0, 0.5)
    offsets_m = errors(times_s, 4.0)
    known = RNG(4).random(600) > 0.1
    half = np.where(known & (times_s < 150.0), times_s, np.where(known, times_s, np.nan))
    wrong = np.where(RNG(5).random(600)[:, None] < 0.05, np.nan, offsets_m)
    assert fitted_s(half, wrong) == pytest.approx(4.0, rel=0.5)


@pytest.mark.parametrize("count", [0, 1, 29])
def test_too_few_images_give_no_time(count):
    times_s = np.arange(count) * 0.5
    assert fitted_s(times_s, errors(times_s, 3.0).reshape(-1, 2)) is None


def test_images_minutes_apart_errors_of_zero_and_unknown_times_give_no_time():
    apart_s, near_s = np.arange(200) * 120.0, np.arange(200) * 0.5
    assert fitted_s(apart_s, errors(apart_s, 3.0)) is None
    assert fitted_s(near_s, np.zeros((200, 2))) is None
    assert fitted_s(np.full(200, np.nan), errors(near_s, 3.0)) is None


def test_what_was_fitted_is_told_by_lag():
    times_s = np.arange(0.0, 600.0, 0.5)
    found = fit_correlation_time(["a"] * 1200, times_s, errors(times_s, 5.0), covariances(5.0, 1200))
    assert len(found.lags_s) == len(found.correlations) == len(found.pairs)
    assert found.correlations[0] == pytest.approx(np.exp(-found.lags_s[0] / 5.0), abs=0.1)
    assert found.pairs[0] == 1199
