"""Each gate rejects with its reason."""

import numpy as np
import pytest

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.estimation.integrity import (
    Gates,
    QualityIndicators,
    RejectionReason,
    check,
    distance_outside_m,
)

SQUARE = np.array([[-10.0, -10.0], [10.0, -10.0], [10.0, 10.0], [-10.0, 10.0]])
COV = 25.0 * np.eye(2)
OFF = Gates(site_margin_m=None)


def _check(mean, gates=None, cov=COV, **indicators):
    gates = gates or Gates(site_margin_m=5.0, max_ensemble_spread_m=8.0)
    indicators = QualityIndicators(**({"ensemble_spread_m": 0.0, "sigma_m": 5.0} | indicators))
    return check(gates, np.asarray(mean, dtype=float), cov, SQUARE, indicators)


def test_an_estimate_inside_the_site_is_accepted():
    assert _check([3.0, -4.0]) is None


def test_the_margin_belongs_to_the_site():
    assert _check([14.9, 0.0]) is None
    assert _check([15.1, 0.0]) == RejectionReason.OUTSIDE_SITE


def test_members_that_disagree_are_rejected():
    assert _check([0.0, 0.0], ensemble_spread_m=9.0) == RejectionReason.ENSEMBLE_SPREAD


@pytest.mark.parametrize(
    ("gate", "indicator", "reason"),
    [
        ("max_ensemble_spread_m", "ensemble_spread_m", RejectionReason.ENSEMBLE_SPREAD),
        ("max_sigma_m", "sigma_m", RejectionReason.SIGMA),
        ("max_mode_separation_m", "mode_separation_m", RejectionReason.AMBIGUOUS),
        ("max_ood_score", "ood_score", RejectionReason.OUT_OF_DISTRIBUTION),
        ("max_brightness", "brightness", RejectionReason.TOO_BRIGHT),
        ("max_repeated_images", "repeat_count", RejectionReason.REPEATED_IMAGE),
    ],
)
def test_a_limit_rejects_what_is_above_it_with_its_reason(gate, indicator, reason):
    gates = Gates(site_margin_m=None, **{gate: 3})
    assert _check([0.0, 0.0], gates, **{"sigma_m": 0.0, indicator: 3}) is None
    assert _check([0.0, 0.0], gates, **{"sigma_m": 0.0, indicator: 4}) == reason
    assert _check([0.0, 0.0], OFF, **{indicator: 4}) is None


@pytest.mark.parametrize(
    ("gate", "indicator", "reason"),
    [
        ("min_brightness", "brightness", RejectionReason.TOO_DARK),
        ("min_sharpness", "sharpness", RejectionReason.TOO_BLURRED),
    ],
)
def test_a_limit_rejects_what_is_below_it_with_its_reason(gate, indicator, reason):
    gates = Gates(site_margin_m=None, **{gate: 3.0})
    assert _check([0.0, 0.0], gates, **{indicator: 3.0}) is None
    assert _check([0.0, 0.0], gates, **{indicator: 2.9}) == reason
    assert _check([0.0, 0.0], OFF, **{indicator: 2.9}) is None


def test_of_several_reasons_the_image_comes_before_the_estimate():
    gates = Gates(site_margin_m=0.0, max_sigma_m=1.0, min_brightness=50.0, max_ood_score=1.0)
    both = {"brightness": 10.0, "ood_score": 2.0}
    assert _check([500.0, 0.0], gates, **both) == RejectionReason.TOO_DARK
    assert _check([500.0, 0.0], gates, **both | {"brightness": 60.0}) == RejectionReason.OUT_OF_DISTRIBUTION
    assert _check([500.0, 0.0], gates, brightness=60.0) == RejectionReason.OUTSIDE_SITE
    assert _check([0.0, 0.0], gates, brightness=60.0) == RejectionReason.SIGMA


def test_an_indicator_that_was_not_measured_rejects_nothing():
    limits = Gates(
        max_ood_score=0.1, min_brightness=50.0, max_brightness=200.0, min_sharpness=5.0, max_repeated_images=0
    )
    assert _check([0.0, 0.0], limits) is None


@pytest.mark.parametrize("mean", [[np.nan, 0.0], [np.inf, 0.0], [1e6, 0.0]])
def test_a_position_that_the_local_frame_cannot_convert_is_rejected_whatever_the_gates(mean):
    assert _check(mean, gates=OFF) == RejectionReason.NOT_FINITE


def test_a_covariance_with_a_nan_is_rejected():
    assert _check([0.0, 0.0], cov=np.array([[np.nan, 0.0], [0.0, 1.0]])) == RejectionReason.NOT_FINITE


def test_a_gate_can_be_switched_off():
    assert _check([500.0, 0.0], gates=OFF) is None


def test_distance_is_negative_inside():
    assert distance_outside_m(np.zeros(2), SQUARE) == pytest.approx(-10.0)
    assert distance_outside_m(np.array([13.0, 14.0]), SQUARE) == pytest.approx(5.0)


def test_a_reason_is_written_in_snake_case():
    assert str(RejectionReason.OUTSIDE_SITE) == RejectionReason.OUTSIDE_SITE.value == "outside_site"
    assert f"{RejectionReason.TOO_DARK}" == "too_dark"
    assert all(reason.value == reason.name.lower() for reason in RejectionReason)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_a_threshold_that_is_no_number_of_0_or_more_is_an_error(value):
    with pytest.raises(ConfigError, match="max_sigma_m"):
        Gates(max_sigma_m=value)
