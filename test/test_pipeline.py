"""The pipeline of one image: repeated images are counted, and an error becomes a rejection with a reason."""

import math
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from helpers import textured_rgb

from campus_visual_gps.errors import EstimateError, ImageError
from campus_visual_gps.estimation.integrity import QualityIndicators, RejectionReason
from campus_visual_gps.localizer import PositionEstimate
from campus_visual_gps.ros import pipeline
from campus_visual_gps.ros.image_queue import StampedImage
from campus_visual_gps.ros.pipeline import Pipeline, RepeatCounter, estimate_values, rejection_of

ESTIMATE = PositionEstimate(
    mean_enu_m=np.array([10.0, -20.0]),
    cov_enu_m2=np.diag([25.0, 16.0]),
    calibrated_cov_enu_m2=np.diag([25.0, 16.0]),
    latitude_deg=31.262,
    longitude_deg=34.802,
    altitude_m=300.0,
    altitude_sigma_m=5.0,
    member_means_enu_m=np.zeros((1, 2)),
    member_covs_enu_m2=np.zeros((1, 2, 2)),
    descriptor=np.zeros(4, np.float32),
    match_score=math.nan,
    indicators=QualityIndicators(ensemble_spread_m=1.5, sigma_m=4.5),
    grid_probs=None,
    modes=(),
    radius90_m=math.nan,
    radius95_m=12.0,
    rejection_reason=None,
    transform_s=0.0,
    ensemble_s=0.0,
    ensemble_processor_s=0.0,
)


def rgb8(rgb: np.ndarray) -> StampedImage:
    """An rgb8 message without ROS."""
    height, width = rgb.shape[:2]
    message = SimpleNamespace(
        height=height, width=width, encoding="rgb8", is_bigendian=0, step=3 * width, data=rgb.tobytes()
    )
    return StampedImage(message, 1, 0.0)


# Repeated images


def test_identical_images_are_counted_until_one_differs():
    first, other = textured_rgb(96, 128, seed=1), textured_rgb(96, 128, seed=2)
    counter = RepeatCounter()
    assert [counter.count(rgb.copy()) for rgb in (first, first, first, other, first, first)] == [0, 1, 2, 0, 0, 1]


def test_one_grey_level_of_one_pixel_makes_an_image_another_one():
    rgb = textured_rgb(96, 128)
    changed = rgb.copy()
    changed[33, 65, 1] += 1  # not among the pixels that are compared first
    counter = RepeatCounter()
    assert [counter.count(image) for image in (rgb, changed, changed.copy())] == [0, 0, 1]


def test_an_image_of_another_size_is_another_one():
    counter = RepeatCounter()
    assert [counter.count(np.zeros((size, size, 3), np.uint8)) for size in (32, 64, 64)] == [0, 0, 1]


def test_the_localizer_is_told_how_often_an_image_was_repeated():
    localizer = Mock()
    localizer.localize.return_value = ESTIMATE
    run = Pipeline(localizer)
    for seed in (1, 1, 2):
        run(rgb8(textured_rgb(48, 64, seed)))
    assert [call.kwargs["repeat_count"] for call in localizer.localize.call_args_list] == [0, 1, 0]


# Results


@pytest.mark.parametrize("altitude_m", [math.nan, 12.5])
def test_the_altitude_is_the_bundles_unless_the_parameter_sets_it(altitude_m):
    localizer = Mock()
    localizer.localize.return_value = ESTIMATE
    result = Pipeline(localizer, altitude_m)(rgb8(textured_rgb(48, 64)))
    assert result.rejection is None
    assert result.estimate.altitude_m == (300.0 if math.isnan(altitude_m) else altitude_m)


@pytest.mark.parametrize(
    ("error", "reason", "unusable"),
    [
        (ImageError("too small"), RejectionReason.BAD_IMAGE, True),
        (EstimateError("not finite"), RejectionReason.BAD_ESTIMATE, False),
        (RuntimeError("device\nlost"), RejectionReason.INTERNAL_ERROR, True),
        (MemoryError("no memory"), RejectionReason.OUT_OF_MEMORY, True),
    ],
)
def test_an_error_is_a_rejection_with_a_reason_in_one_line(error, reason, unusable, monkeypatch):
    monkeypatch.setattr(pipeline, "is_out_of_memory", lambda raised: isinstance(raised, MemoryError))
    localizer = Mock()
    localizer.localize.side_effect = error
    result = Pipeline(localizer)(rgb8(textured_rgb(48, 64)))
    assert result.estimate is None
    assert (result.rejection.reason, result.rejection.unusable) == (reason, unusable)
    assert "\n" not in result.rejection.text


def test_a_gates_rejection_keeps_the_estimate_and_names_the_values():
    rejected = replace(ESTIMATE, rejection_reason=RejectionReason.SIGMA)
    rejection = rejection_of(rejected)
    assert (rejection.reason, rejection.unusable) == (RejectionReason.SIGMA, False)
    assert "position 10.0 m east, -20.0 m north, sigma 4.5 m, ensemble spread 1.5 m" in rejection.text
    assert rejection_of(ESTIMATE) is None


def test_diagnostics_of_a_fix_leave_out_what_the_bundle_does_not_provide():
    assert estimate_values(ESTIMATE) == {"position_sigma_m": 5.0, "ensemble_spread_m": 1.5, "radius95_m": 12.0}
    full = replace(
        ESTIMATE,
        match_score=12.0,
        indicators=replace(ESTIMATE.indicators, ood_score=0.4, mode_separation_m=30.0),
        modes=(Mock(), Mock()),
    )
    values = estimate_values(full)
    assert (values["match_score"], values["ood_score"]) == (12.0, 0.4)
    assert (values["modes"], values["mode_separation_m"]) == (2, 30.0)
