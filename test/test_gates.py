"""The gates: what they measure, what they reject, and where their thresholds come from."""

import math
from time import perf_counter

import cv2
import numpy as np
import pytest
from helpers import make_bundle, textured_rgb

from campus_visual_gps import Localizer
from campus_visual_gps.bundle import load_bundle
from campus_visual_gps.errors import BundleError, ConfigError
from campus_visual_gps.estimation.integrity import (
    Gates,
    QualityIndicators,
    RejectionReason,
    brightness_and_sharpness,
    check,
)
from campus_visual_gps.retrieval.ood import OodDetector
from training.fit.gates import (
    MIN_PHOTOS,
    modes_limit_m,
    sigma_limit_m,
    with_image_gates,
    with_ood_gate,
    with_posterior_gates,
    with_spread_gate,
)

LIMITS = Gates(None, min_brightness=20.0, max_brightness=230.0, min_sharpness=5.0, max_repeated_images=3)
SQUARE = np.array([[-10.0, -10.0], [10.0, -10.0], [10.0, 10.0], [-10.0, 10.0]])


def check_image(gates, brightness=120.0, sharpness=50.0, repeat_count=0):
    """The verdict on an image whose estimate is beyond reproach."""
    indicators = QualityIndicators(0.0, 5.0, brightness=brightness, sharpness=sharpness, repeat_count=repeat_count)
    return check(gates, np.zeros(2), 25.0 * np.eye(2), SQUARE, indicators)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"brightness": 19.0}, RejectionReason.TOO_DARK),
        ({"brightness": 231.0}, RejectionReason.TOO_BRIGHT),
        ({"sharpness": 4.0}, RejectionReason.TOO_BLURRED),
        ({"repeat_count": 4}, RejectionReason.REPEATED_IMAGE),
        ({"repeat_count": 3}, None),
    ],
)
def test_each_gate_rejects_with_its_reason_and_without_thresholds_none_does(changed, reason):
    assert check_image(LIMITS, **changed) == reason
    assert check_image(Gates(), **changed) is None


def test_brightness_is_the_grey_level_and_blur_takes_sharpness_away():
    assert brightness_and_sharpness(np.full((64, 64, 3), 77, np.uint8)) == (77.0, 0.0)
    grainy = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(grainy, (0, 0), 3.0)
    assert brightness_and_sharpness(blurred)[1] < 0.05 * brightness_and_sharpness(grainy)[1]


def test_brightness_and_sharpness_cost_little():
    square = textured_rgb(320, 320)
    costs_s = []
    for _ in range(50):
        start = perf_counter()
        brightness_and_sharpness(square)
        costs_s.append(perf_counter() - start)
    assert min(costs_s) < 0.0003 * 5  # the best of many, and room for slower computers


def test_the_localizer_rejects_by_the_bundles_gates_and_gives_brightness_and_sharpness(tmp_path):
    bundle_dir = make_bundle(tmp_path / "bundle", gates=Gates(min_brightness=50.0))
    localizer = Localizer.load(bundle_dir, device="cpu", warm_up=False)
    estimate = localizer.localize(np.full((48, 64, 3), 10, np.uint8))
    assert (estimate.rejection_reason, estimate.indicators.brightness) == (RejectionReason.TOO_DARK, 10.0)
    assert estimate.indicators.sharpness == 0.0
    assert localizer.localize(textured_rgb()).rejection_reason is None


def test_a_bundle_without_some_gates_loads_and_one_with_infinite_limits_does_not(tmp_path):
    manifest = make_bundle(tmp_path / "bundle") / "bundle.yaml"
    text = manifest.read_text()
    dropped = ("min_", "max_brightness", "max_repeated")
    manifest.write_text("\n".join(line for line in text.splitlines() if not line.strip().startswith(dropped)))
    assert load_bundle(manifest.parent).gates == Gates()
    manifest.write_text(text.replace("min_brightness: null", "min_brightness: .inf"))
    with pytest.raises(BundleError, match="min_brightness"):
        load_bundle(manifest.parent)


def test_parameters_keep_replace_or_switch_off_a_gate():
    gates = LIMITS.overridden(min_brightness=math.nan, max_brightness=200.0, min_sharpness=-1.0)
    assert gates == Gates(None, min_brightness=20.0, max_brightness=200.0, max_repeated_images=3)
    with pytest.raises(ConfigError, match="max_brightness"):
        LIMITS.overridden(max_brightness=math.inf)


def test_thresholds_lie_far_outside_of_what_the_photos_show():
    random = np.random.default_rng(3)
    brightness, sharpness = random.uniform(30.0, 200.0, 400), random.uniform(100.0, 900.0, 400)
    gates = with_image_gates(Gates(), brightness, sharpness)
    assert 10.0 < gates.min_brightness < 0.6 * brightness.min()
    assert 220.0 < gates.max_brightness < 245.0
    assert 15.0 < gates.min_sharpness < 0.5 * sharpness.min()
    assert gates.max_repeated_images is None
    for light, detail in zip(brightness, sharpness, strict=True):
        assert check_image(gates, light, detail) is None


def test_too_few_photos_measure_nothing():
    few = np.full(MIN_PHOTOS - 1, 100.0)
    assert with_image_gates(Gates(), few, few) == Gates()
    assert with_spread_gate(Gates(), few) == Gates()


def test_the_spread_gate_is_twice_the_widest_and_a_gate_that_is_set_stays():
    spreads_m = np.linspace(1.0, 30.0, 400)
    assert 58.0 < with_spread_gate(Gates(), spreads_m).max_ensemble_spread_m <= 60.0
    assert with_spread_gate(Gates(max_ensemble_spread_m=7.0), spreads_m).max_ensemble_spread_m == 7.0
    assert with_spread_gate(Gates(), np.zeros(400)).max_ensemble_spread_m is None


def test_the_limit_of_sigma_gives_the_error_that_was_asked_for():
    sigmas_m = np.random.default_rng(4).uniform(5.0, 50.0, 1000)
    errors_m = sigmas_m * np.abs(np.random.default_rng(5).normal(1.0, 0.3, 1000))
    limit = sigma_limit_m(errors_m, sigmas_m, 15.0)
    accepted = errors_m[sigmas_m <= limit]
    assert 14.0 < accepted.mean() <= 15.1 and 0.3 < len(accepted) / 1000 < 0.6
    assert sigma_limit_m(errors_m, sigmas_m, 100.0) is None
    assert sigma_limit_m(errors_m, sigmas_m, 0.1) is None


def test_modes_far_apart_are_rejected_where_their_errors_are_large():
    apart_m = np.r_[np.zeros(400), np.full(100, 50.0), np.full(100, 130.0)]
    errors_m = np.r_[np.full(400, 10.0), np.full(100, 12.0), np.full(100, 60.0)]
    assert modes_limit_m(errors_m, apart_m, 15.0) == 40.0
    assert modes_limit_m(errors_m, apart_m, 70.0) is None
    gates = with_posterior_gates(Gates(), errors_m, errors_m, apart_m, 15.0)
    assert gates.max_mode_separation_m == 40.0 and gates.max_sigma_m is None


def test_without_an_accepted_error_nothing_uncertain_is_rejected():
    values = np.linspace(1.0, 50.0, 600)
    assert with_posterior_gates(Gates(), values, values, values, None) == Gates()
    assert with_posterior_gates(Gates(), *(values[: MIN_PHOTOS - 1] for _ in range(3)), 15.0) == Gates()


def test_what_looks_like_no_photo_of_another_session_is_out_of_distribution():
    rng = np.random.default_rng(3)
    # three walks past the same things, in slightly other light
    things, sessions = rng.normal(size=(100, 8)), np.repeat(["a", "b", "c"], 100)
    features = np.concatenate([things + rng.normal(scale=0.05, size=things.shape) for _ in range(3)])
    limit = with_ood_gate(Gates(), features, sessions).max_ood_score
    detector = OodDetector(features)
    again = detector.score(things + rng.normal(scale=0.05, size=things.shape))
    elsewhere = detector.score(rng.normal(size=(100, 8)) + 4.0)
    assert np.mean(again > limit) <= 0.05 and np.mean(elsewhere > limit) >= 0.95


def test_one_session_alone_and_few_photos_measure_no_ood_gate():
    features = np.random.default_rng(3).normal(size=(100, 8))
    assert with_ood_gate(Gates(), features, np.full(100, "a")) == Gates()
    few = np.repeat(["a", "b"], MIN_PHOTOS // 2 - 1)
    assert with_ood_gate(Gates(), features[: len(few)], few) == Gates()
