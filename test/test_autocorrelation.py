"""The autocorrelation of a drive's errors, and the inflation of the covariance that it requires."""

import numpy as np
import pytest
from scipy.signal import lfilter

from training.metrics.autocorrelation import AutocorrelationMetrics, autocorrelation, autocorrelation_metrics, inflation

TIMES_S = np.arange(4000) * 0.2


def ar1(phi, n=4000, seed=0):
    """Errors (n, 2) of an AR(1) process: each is phi times the last and something new."""
    return 10.0 * lfilter([1.0], [1.0, -phi], np.random.default_rng(seed).normal(size=(n, 2)), axis=0)


@pytest.mark.parametrize("phi", [0.3, 0.6, 0.9])
def test_inflation_of_an_ar1_process_is_that_of_theory(phi):
    assert inflation(phi ** np.arange(400)) == pytest.approx((1 + phi) / (1 - phi), rel=1e-6)
    found = [inflation(autocorrelation(ar1(phi, seed=seed))) for seed in range(20)]
    assert np.mean(found) == pytest.approx((1 + phi) / (1 - phi), rel=0.15)


def test_white_errors_need_no_inflation():
    found = [inflation(autocorrelation(ar1(0.0, seed=seed))) for seed in range(20)]
    assert np.mean(found) == pytest.approx(1.0, abs=0.08)
    assert min(found) >= 1.0


def test_mean_of_correlated_errors_is_as_uncertain_as_the_effective_number_says():
    runs = [ar1(0.8, n=1000, seed=seed) for seed in range(200)]
    factor = np.mean([inflation(autocorrelation(run)) for run in runs])
    naive = np.mean([(run**2).mean() / len(run) for run in runs])
    assert np.mean([run.mean(axis=0) ** 2 for run in runs]) == pytest.approx(factor * naive, rel=0.2)


def test_offset_that_lasts_the_drive_leaves_little_more_than_one_fix():
    metrics = autocorrelation_metrics(TIMES_S, np.full((4000, 2), 7.0))
    assert metrics.n_effective < 3.0
    assert metrics.lag1 > 0.99


def test_rate_at_which_fixes_are_nearly_independent_is_told_in_hertz():
    metrics = autocorrelation_metrics(TIMES_S, ar1(0.9))
    # 0.9^lag < 1/e from lag 10 on
    assert metrics.decorrelation_s == pytest.approx(2.0, abs=0.6)
    assert metrics.max_rate_hz == pytest.approx(1.0 / metrics.decorrelation_s)
    assert 1.0 <= metrics.inflation_at_max_rate < 4.0 < metrics.inflation


def test_missing_fixes_and_uneven_stamps_do_not_end_it():
    rng = np.random.default_rng(1)
    kept = np.sort(rng.choice(4000, 1500, replace=False))
    metrics = autocorrelation_metrics(TIMES_S[kept] + rng.uniform(0, 0.05, 1500), ar1(0.9)[kept])
    assert 0.2 < metrics.interval_s < 0.8
    assert 2.0 < metrics.inflation < 19.0


@pytest.mark.parametrize("n", [0, 1, 19])
def test_too_few_fixes_tell_nothing(n):
    metrics = autocorrelation_metrics(TIMES_S[:n], ar1(0.5)[:n])
    assert metrics == AutocorrelationMetrics(n)


def test_errors_that_are_all_zero_have_no_ar1():
    metrics = autocorrelation_metrics(TIMES_S[:50], np.zeros((50, 2)))
    assert metrics.inflation == 1.0
