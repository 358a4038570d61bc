"""The memory of a drive's errors, and what it asks of a filter."""

import numpy as np
import pytest
from scipy.signal import lfilter

from training.metrics.autocorrelation import autocorrelation, autocorrelation_figures, inflation

TIMES_S = np.arange(4000) * 0.2


def memory(phi, n=4000, seed=0):
    """Errors (n, 2) of an AR(1) process: each is phi times the last and something new."""
    return 10.0 * lfilter([1.0], [1.0, -phi], np.random.default_rng(seed).normal(size=(n, 2)), axis=0)


@pytest.mark.parametrize("phi", [0.3, 0.6, 0.9])
def test_inflation_of_an_ar1_process_is_that_of_theory(phi):
    assert inflation(phi ** np.arange(400)) == pytest.approx((1 + phi) / (1 - phi), rel=1e-6)
    found = [inflation(autocorrelation(memory(phi, seed=seed))) for seed in range(20)]
    assert np.mean(found) == pytest.approx((1 + phi) / (1 - phi), rel=0.15)


def test_white_errors_ask_for_no_inflation():
    found = [inflation(autocorrelation(memory(0.0, seed=seed))) for seed in range(20)]
    assert np.mean(found) == pytest.approx(1.0, abs=0.08)
    assert min(found) >= 1.0


def test_mean_of_correlated_errors_is_as_uncertain_as_the_effective_number_says():
    runs = [memory(0.8, n=1000, seed=seed) for seed in range(200)]
    factor = np.mean([inflation(autocorrelation(run)) for run in runs])
    naive = np.mean([(run**2).mean() / len(run) for run in runs])
    assert np.mean([run.mean(axis=0) ** 2 for run in runs]) == pytest.approx(factor * naive, rel=0.2)


def test_offset_that_lasts_the_drive_leaves_little_more_than_one_fix():
    figures = autocorrelation_figures(TIMES_S, np.full((4000, 2), 7.0))
    assert figures["autocorrelation.n_effective"] < 3.0
    assert figures["autocorrelation.lag1"] > 0.99


def test_rate_at_which_fixes_are_nearly_independent_is_told_in_hertz():
    figures = autocorrelation_figures(TIMES_S, memory(0.9))
    # 0.9^lag < 1/e from lag 10 on
    assert figures["autocorrelation.decorrelation_s"] == pytest.approx(2.0, abs=0.6)
    assert figures["autocorrelation.max_rate_hz"] == pytest.approx(1.0 / figures["autocorrelation.decorrelation_s"])
    assert 1.0 <= figures["autocorrelation.inflation_at_max_rate"] < 4.0 < figures["autocorrelation.inflation"]


def test_missing_fixes_and_uneven_stamps_do_not_end_it():
    rng = np.random.default_rng(1)
    kept = np.sort(rng.choice(4000, 1500, replace=False))
    figures = autocorrelation_figures(TIMES_S[kept] + rng.uniform(0, 0.05, 1500), memory(0.9)[kept])
    assert 0.2 < figures["autocorrelation.interval_s"] < 0.8
    assert 2.0 < figures["autocorrelation.inflation"] < 19.0


@pytest.mark.parametrize("n", [0, 1, 19])
def test_too_few_fixes_tell_nothing(n):
    figures = autocorrelation_figures(TIMES_S[:n], memory(0.5)[:n])
    assert figures.pop("autocorrelation.n_fixes") == n
    assert set(figures.values()) == {None}


def test_errors_that_are_all_zero_have_no_memory():
    figures = autocorrelation_figures(TIMES_S[:50], np.zeros((50, 2)))
    assert figures["autocorrelation.inflation"] == 1.0
