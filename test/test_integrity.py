"""Each gate refuses with its name."""

import numpy as np
import pytest

from campus_visual_gps.estimation.integrity import (
    AMBIGUOUS,
    NOT_FINITE,
    OUT_OF_DISTRIBUTION,
    OUTSIDE_SITE,
    SIGMA,
    SPREAD,
    Gates,
    QualityIndicators,
    check,
    distance_outside_m,
)

SQUARE = np.array([[-10.0, -10.0], [10.0, -10.0], [10.0, 10.0], [-10.0, 10.0]])
COV = 25.0 * np.eye(2)


def _check(mean, gates=None, cov=COV, **indicators):
    gates = gates or Gates(site_margin_m=5.0, max_ensemble_spread_m=8.0)
    indicators = QualityIndicators(**({"spread_m": 0.0, "sigma_m": 5.0} | indicators))
    return check(gates, np.asarray(mean, dtype=float), cov, SQUARE, indicators)


def test_an_estimate_inside_the_site_stands():
    assert _check([3.0, -4.0]) is None


def test_the_margin_belongs_to_the_site():
    assert _check([14.9, 0.0]) is None
    assert _check([15.1, 0.0]) == OUTSIDE_SITE


def test_members_that_disagree_are_refused():
    assert _check([0.0, 0.0], spread_m=9.0) == SPREAD


@pytest.mark.parametrize(
    ("gate", "sign", "name"),
    [
        ("max_sigma_m", "sigma_m", SIGMA),
        ("max_mode_separation_m", "mode_separation_m", AMBIGUOUS),
        ("max_ood_score", "ood_score", OUT_OF_DISTRIBUTION),
    ],
)
def test_a_limit_refuses_what_is_beyond_it_by_its_name(gate, sign, name):
    gates = Gates(**{gate: 0.5})
    assert _check([0.0, 0.0], gates, **{"sigma_m": 0.0, sign: 0.5}) is None
    assert _check([0.0, 0.0], gates, **{"sigma_m": 0.0, sign: 0.51}) == name


def test_a_bundle_without_reference_photos_refuses_nothing_as_unfamiliar():
    assert _check([0.0, 0.0], Gates(max_ood_score=0.1), ood_score=np.nan) is None


@pytest.mark.parametrize("mean", [[np.nan, 0.0], [np.inf, 0.0], [1e6, 0.0]])
def test_a_position_off_the_globe_is_refused_whatever_the_gates(mean):
    assert _check(mean, gates=Gates(site_margin_m=None)) == NOT_FINITE


def test_a_covariance_with_a_nan_is_refused():
    assert _check([0.0, 0.0], cov=np.array([[np.nan, 0.0], [0.0, 1.0]])) == NOT_FINITE


def test_a_gate_can_be_switched_off():
    assert _check([500.0, 0.0], gates=Gates(site_margin_m=None)) is None


def test_distance_is_negative_inside():
    assert distance_outside_m(np.zeros(2), SQUARE) == pytest.approx(-10.0)
    assert distance_outside_m(np.array([13.0, 14.0]), SQUARE) == pytest.approx(5.0)
